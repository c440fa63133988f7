"""What the tests install: the archive that `make pi` made, a later version of it, and one whose service can't start."""

import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

from scripts.pi import PYTHONS, sums
from tests.conftest import ROOT

FOLDER = "DRIFTLINE_PI"
"""The variable that says where the archives are."""
VERSION = version("driftline")
LATER = "0.9.9"
"""A version that is not this one's."""
PROJECTS = ("core", "kernels", "client", "cli", "edge", "services/ingest", "services/inference", "services/combiner")
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info")


def unpacked(machine: str, folder: Path) -> Path:
    name = f"driftline-{VERSION}-{machine}"
    with tarfile.open(Path(os.environ[FOLDER]) / f"{name}.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    return folder / name


def later(archive: Path, folder: Path) -> Path:
    """The same with our wheels of another version."""
    copy = linked(archive, folder / "archive")
    for wheel in (copy / "wheels").glob("driftline*.whl"):
        wheel.unlink()
    tree = folder / "tree"
    for project in PROJECTS:
        shutil.copytree(ROOT / project, tree / project, ignore=IGNORED)
        restate(tree / project / "pyproject.toml")
    pip = ("pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
    command = [sys.executable, "-m", *pip, "-w", str(copy / "wheels"), *(f"./{project}" for project in PROJECTS)]
    subprocess.run(command, cwd=tree, check=True)
    for name in ("release", *(f"requirements-{python}.txt" for python in PYTHONS)):
        restate(copy / name)
    sign(copy)
    return copy


def restate(file: Path) -> None:
    """Gives it the later version wherever it has this one's, of ours alone."""
    lines = file.read_text().splitlines()
    ours = ("driftline", "version", "VERSION", '    "driftline', "litert", "tflite")
    file.write_text("\n".join(line.replace(VERSION, LATER) if line.startswith(ours) else line for line in lines) + "\n")


def without_service(archive: Path, folder: Path) -> Path:
    """The same as another build of its version, whose service ends at once."""
    copy = linked(archive, folder)
    unit = copy / "driftline-edge.service"
    unit.write_text(unit.read_text().replace("ExecStart=/opt", "ExecStart=/bin/false /opt"))
    sign(copy)
    return copy


def torn(archive: Path, folder: Path) -> Path:
    """The same, cut in the middle of its largest wheel."""
    copy = linked(archive, folder)
    wheel = max((copy / "wheels").iterdir(), key=lambda file: file.stat().st_size)
    half = wheel.read_bytes()[: wheel.stat().st_size // 2]
    wheel.unlink()
    wheel.write_bytes(half)
    return copy


def linked(archive: Path, folder: Path) -> Path:
    """A copy of it. Wheels are large, and nobody writes to them."""
    shutil.copytree(archive, folder, copy_function=_link_or_copy)
    (folder / "install.sh").chmod(0o755)
    return folder


def _link_or_copy(source: str, target: str) -> None:
    if source.endswith(".whl"):
        Path(target).hardlink_to(source)
    else:
        shutil.copyfile(source, target)


def sign(folder: Path) -> None:
    """Makes its sums those of its files."""
    listed = folder / "SHA256SUMS"
    listed.unlink()
    listed.write_text(sums(folder))
