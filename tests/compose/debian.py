"""Debian's packages: installed, or unpacked in a folder where the machine is to stay as it is."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.compose.unfit import Unfit
from tests.conftest import ROOT


def install(*packages: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "packages.py", *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Unfit(done.stderr.strip())


def mirror() -> str:
    """Where this machine gets Debian's packages from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SUITE) $(REPO_URI)", "Created-By: Packages", "Origin: Debian"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return listed[0].split()[1].rstrip("/")


def unpack_from_next_release(folder: Path, *packages: str) -> None:
    """Into a folder of ours, never into the machine. Raises Unfit when they can't be had."""
    scratch = folder.with_name(f"{folder.name}.download")
    for needed in ("lists/partial", "cache/archives/partial", "root"):
        (scratch / needed).mkdir(parents=True, exist_ok=True)
    sources = scratch / "sources.list"
    sources.write_text(f"deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror()} trixie main\n")
    places = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::Lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(part for name, value in places.items() for part in ("-o", f"{name}={value}"))]
    for command in (["update"], ["download", *packages]):
        done = subprocess.run([*apt, *command], cwd=scratch, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unfit(f"{' and '.join(packages)} can't be had from Debian's next release: {done.stderr.strip()}")
    for package in scratch.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, scratch / "root"], check=True)
    (scratch / "root").rename(folder)
    shutil.rmtree(scratch)
