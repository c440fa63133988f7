"""Writes the objects that the Helm chart installs: each overlay as kustomize renders it.

make helm
"""

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.golang import go_program

KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.1"
OVERLAYS = ("edge-centric", "cloud-centric", "edge", "cloud")


def rendered_path(overlay: str) -> Path:
    return ROOT / "helm" / "driftline" / "rendered" / f"{overlay}.yaml"


def render(kustomize: str, overlay: str) -> str:
    """The objects of an overlay. kustomize: the program."""
    folder = ROOT / "k8s" / "overlays" / overlay
    return subprocess.run([kustomize, "build", str(folder)], capture_output=True, text=True, check=True).stdout


def main() -> int:
    kustomize = go_program("kustomize", KUSTOMIZE)
    for overlay in OVERLAYS:
        rendered_path(overlay).write_text(render(kustomize, overlay), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
