"""Builds what the compose files run: our four images, and stand-ins for the official ones that can't be pulled.

python -m tests.compose.images
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from driftline_cli import broker
from tests.conftest import ROOT

EXTRAS = {"ingest": "[tables]", "inference": "[litert]", "combiner": "", "trainer": "[tables,litert]"}
STANDINS = Path(__file__).with_name("standins")
OFFICIAL = {
    "kafka": "apache/kafka:4.1.0",
    "versitygw": "versity/versitygw:v1.8.0",
    "prometheus": "prom/prometheus:v3.5.0",
    "alertmanager": "prom/alertmanager:v0.28.1",
    "caddy": "caddy:2.10",
}
VERSITYGW = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"


def run(*command: str, env: Mapping[str, str] | None = None) -> None:
    subprocess.run(command, check=True, env=env)


def build(tag: str, folder: Path, *options: str) -> None:
    run("docker", "build", "-q", "--network=host", "-t", tag, *options, str(folder))


def missing(tag: str) -> bool:
    if subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False).returncode == 0:
        return False
    return subprocess.run(["docker", "pull", "-q", tag], capture_output=True, check=False, timeout=600).returncode != 0


def standins(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copytree(STANDINS, folder, dirs_exist_ok=True)
        shutil.copytree(broker.jars(), folder / "libs")
        environment = os.environ | {"GOBIN": scratch, "CGO_ENABLED": "0"}
        run("go", "install", VERSITYGW, env=environment)
        for name in names:
            build(OFFICIAL[name], folder, "--target", name)


def main() -> None:
    for service, extras in EXTRAS.items():
        arguments = ("--build-arg", f"SERVICE={service}", "--build-arg", f"EXTRAS={extras}")
        build(f"driftline/{service}:0.1.0", ROOT, *arguments)
    absent = [name for name, tag in OFFICIAL.items() if missing(tag)]
    if absent:
        standins(absent)


if __name__ == "__main__":
    main()
