"""Prints Driftline's version, or sets it in every place that states it.

python scripts/version.py [0.2.0]
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACES = (
    *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("services/*/pyproject.toml")),
    "core/pyproject.toml",
    "kernels/pyproject.toml",
    "client/pyproject.toml",
    "cli/pyproject.toml",
    "edge/pyproject.toml",
    "Dockerfile",
    "Makefile",
    "docker-bake.hcl",
    "compose/.env.example",
    "compose/parts.yaml",
    "docs/raspberry-pi.md",
    "k8s/base/combiner.yaml",
    "k8s/base/inference.yaml",
    "k8s/base/ingest.yaml",
    "k8s/trainer/trainer.yaml",
    "tests/compose/arm64.yaml",
)


def stated() -> str:
    """The core's; all distributions have one version."""
    version: str = tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]["version"]
    return version


def pattern(version: str) -> re.Pattern[str]:
    """The version by itself, not as a part of a longer one."""
    return re.compile(rf"(?<![\w.]){re.escape(version)}(?![\w.]*\d)")


def change(version: str) -> None:
    former = pattern(stated())
    for path in PLACES:
        file = ROOT / path
        text, times = former.subn(version, file.read_text())
        if not times:
            sys.exit(f"{path}: found no {stated()}, expected it there")
        file.write_text(text)


def main() -> None:
    if len(sys.argv) > 1:
        change(sys.argv[1])
    print(stated())  # noqa: T201


if __name__ == "__main__":
    main()
