"""Packs what a Pi without Docker needs: one archive per architecture, from which install.sh installs without a network.

    python -m scripts.pi dist                  both, from the wheels in dist/ into dist/pi/
    python -m scripts.pi dist x86_64           this one alone

An archive holds wheels for every Python in PYTHONS, definitions, the unit and install.sh. The same input gives the same
archive: entries are sorted, and times, owners and modes are fixed.
"""

import gzip
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.version import stated

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy" / "pi"
MACHINES = ("aarch64", "x86_64")
"""As uname calls them."""
PYTHONS = {"3.13": "Debian 13", "3.11": "Debian 12"}
"""By version the system that has it; the first that a machine has is taken."""
WANTED = ("driftline-edge[litert,postgres]", "driftline-cli")
UNUSED = ("narwhals", "scipy")
"""The combiner takes ADWIN of river, which needs neither."""
GLIBC = 36
"""Of Debian 12: 2.36."""
OLD_GLIBCS = (5, 12, 17, 24, 26, 27, 28, 31, 34, 35)
PIN = re.compile(r"(?P<name>[\w.-]+)==\S+")
BYTECODE = 1.25
"""An installed package's size with its compiled modules, as a share of its files."""
SPARE_KB = 100_000
FIXED_TIME = 1_580_601_600
"""Of every file in an archive: 2 February 2020, as in the wheels that Hatchling builds."""


@dataclass(frozen=True)
class Target:
    """An interpreter that wheels are chosen for."""

    machine: str
    python: str

    @property
    def constraints(self) -> Path:
        return ROOT / "constraints" / f"{self.python}.txt"

    def platforms(self) -> Iterator[str]:
        """The tags of wheels that run there, as pip has to be given each."""
        for minor in (*OLD_GLIBCS, GLIBC):
            yield f"manylinux_2_{minor}_{self.machine}"
        yield f"manylinux2014_{self.machine}"


def resolve(target: Target, wheels: Path) -> list[str]:
    """The pins of all that is installed there, sorted."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "-q", "--no-header", "--no-annotate", "--no-build"]
    places = ["--find-links", str(wheels), "-c", str(target.constraints), "-"]
    system = [f"--python-version={target.python}", f"--python-platform={target.machine}-manylinux_2_{GLIBC}"]
    done = subprocess.run(  # noqa: S603
        [*command, *system, *places], input="\n".join(WANTED), text=True, check=True, stdout=subprocess.PIPE
    )
    return sorted(line for line in done.stdout.splitlines() if name_of(line) not in UNUSED)


def name_of(pin: str) -> str:
    """Raises ValueError for a line that pins nothing."""
    match = PIN.fullmatch(pin.strip())
    if match is None:
        raise ValueError(f"found {pin!r}, expected NAME==VERSION")
    return match["name"]


def installer(target: Target) -> str:
    """The pin of pip, which runs from its wheel and is not installed."""
    return next(line for line in target.constraints.read_text().splitlines() if line.startswith("pip=="))


def download(target: Target, pins: Iterable[str], wheels: Path, folder: Path) -> None:
    """Into `folder` a wheel for each pin."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    which = ["--only-binary=:all:", "--implementation=cp", f"--python-version={target.python}"]
    platforms = [f"--platform={platform}" for platform in target.platforms()]
    places = [f"--find-links={wheels}", f"--dest={folder}"]
    subprocess.run([*command, *which, *platforms, *places, *pins], check=True)  # noqa: S603


def unpacked_size(wheel: Path) -> int:
    """Bytes of its files."""
    with zipfile.ZipFile(wheel) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def fill(folder: Path, machine: str, wheels: Path) -> None:
    """Writes an archive's files."""
    (folder / "wheels").mkdir(parents=True)
    needed = 0
    for python in PYTHONS:
        target = Target(machine, python)
        pins = resolve(target, wheels)
        (folder / f"requirements-{python}.txt").write_text("\n".join(pins) + "\n")
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            own = Path(scratch)
            download(target, [*pins, installer(target)], wheels, own)
            needed = max(needed, sum(map(unpacked_size, own.glob("*.whl"))))
            for wheel in own.glob("*.whl"):
                shutil.copyfile(wheel, folder / "wheels" / wheel.name)
    for file in (*DEPLOY.iterdir(), ROOT / "LICENSE"):
        shutil.copy(file, folder)
    shutil.copytree(ROOT / "streams", folder / "streams")
    (folder / "release").write_text(release(machine, needed))
    (folder / "SHA256SUMS").write_text(sums(folder))


def release(machine: str, needed: int) -> str:
    """What install.sh reads; needed: bytes of the packages."""
    kilobytes = int(needed * BYTECODE / 1024) + SPARE_KB
    return f"VERSION={stated()}\nMACHINE={machine}\nPYTHONS='{' '.join(PYTHONS)}'\nKILOBYTES={kilobytes}\n"


def sums(folder: Path) -> str:
    """As sha256sum writes and checks them."""
    return "".join(
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(folder).as_posix()}\n"
        for file in files(folder)
    )


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def pack(folder: Path, archive: Path) -> None:
    """The folder with its name as a .tar.gz."""
    part = archive.with_name(f"{archive.name}.part")
    with (
        part.open("wb") as raw,
        # Level 1, since the wheels are compressed already.
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=raw, mtime=FIXED_TIME) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar,
    ):
        for file in files(folder):
            tar.add(file, f"{folder.name}/{file.relative_to(folder).as_posix()}", filter=fixed)
    part.rename(archive)


def fixed(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what differs from one checkout to the next."""
    entry.mtime = FIXED_TIME
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.mode & 0o100 else 0o644
    return entry


def build(wheels: Path, machine: str) -> Path:
    """The archive for that machine, in the folder `pi` next to the wheels."""
    packed = wheels / "pi"
    packed.mkdir(parents=True, exist_ok=True)
    name = f"driftline-{stated()}-{machine}"
    with tempfile.TemporaryDirectory(dir=packed) as scratch:
        folder = Path(scratch) / name
        fill(folder, machine, wheels)
        archive = packed / f"{name}.tar.gz"
        pack(folder, archive)
    return archive


def main() -> None:
    wheels, *machines = sys.argv[1:]
    for machine in machines or MACHINES:
        archive = build(Path(wheels).resolve(), machine)
        print(f"{archive}: {archive.stat().st_size / 1e6:.0f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
