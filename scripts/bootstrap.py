"""Makes .venv and installs what a requirements file lists, as constraints pin it. Needs Python 3.11 alone.

    python3 scripts/bootstrap.py requirements.txt
    python3 scripts/bootstrap.py requirements-tflite-runtime.txt .venv-tflite-runtime constraints-tflite-runtime.txt

Debian's Python may come without ensurepip; then pip is taken from where it can be had: the system's pip, the wheel of
Debian's package python3-pip-whl, or that package as apt-get downloads it, without installing anything on the machine.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS, VENV, CONSTRAINTS = (
    ROOT / (given or default)
    for given, default in zip_longest(sys.argv[1:4], ("requirements.txt", ".venv", "constraints.txt"))
)
PYTHON = VENV / "bin" / "python"
DEBIAN_WHEELS = Path("/usr/share/python-wheels")
PIP_INSTALL: list[str | Path] = [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main() -> None:
    if sys.version_info[:2] != (3, 11):
        sys.exit(f"found Python {sys.version.split()[0]}, expected 3.11, which every pinned package is made for")
    stamp = VENV / f"{REQUIREMENTS.name}.stamp"
    wanted = fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        venv.create(VENV, with_pip=False, symlinks=True)
    if run([PYTHON, "-m", "pip", "--version"], quiet=True):
        install_pip()
    say(f"installing {REQUIREMENTS.name}; the first time it takes some minutes")
    packages = ["-c", CONSTRAINTS, "-r", REQUIREMENTS]
    if not by_uv(packages) and run([*PIP_INSTALL, *packages]):
        sys.exit("pip could not install the packages; what it says stands above")
    stamp.write_text(wanted)


def by_uv(packages: list[str | Path]) -> bool:
    """With uv, which takes a tenth of pip's time. Not where pip is told of an index of somebody's own: uv reads other
    settings."""
    told = subprocess.run([PYTHON, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True)  # noqa: S603
    if any(setting in told.stdout for setting in ("index", "proxy")):
        return False
    if run([*PIP_INSTALL, "-c", ROOT / "constraints.txt", "uv"], quiet=True):
        return False
    settings = {"UV_HTTP_TIMEOUT": "180"} | ({"UV_SYSTEM_CERTS": "1"} if CERTIFICATES.exists() else {})
    return not run([PYTHON, "-m", "uv", "pip", "install", "-q", "--python", PYTHON, *packages], **settings)


def fingerprint() -> str:
    """Changes whenever what must be installed does."""
    projects = [ROOT / "core", ROOT / "cli", *sorted((ROOT / "services").iterdir())]
    files = [CONSTRAINTS, REQUIREMENTS, *(project / "pyproject.toml" for project in projects)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.exists())).hexdigest()


def say(text: str) -> None:
    print(f"driftline: {text}", flush=True)  # noqa: T201


def run(command: list[str | Path], *, quiet: bool = False, **environment: str) -> int:
    output = subprocess.DEVNULL if quiet else None
    found = subprocess.run(  # noqa: S603
        [str(part) for part in command],
        check=False,
        cwd=ROOT,
        stdout=output,
        stderr=output,
        env={**os.environ, **environment},
    )
    return found.returncode


def install_pip() -> None:
    """Tries one source of pip after the other."""
    sources = (from_ensurepip, from_system_pip, from_debian_wheel, from_apt)
    if not any(source() for source in sources):
        sys.exit("found no pip and no way to get one, expected python3-venv, python3-pip or apt-get to be there")


def from_ensurepip() -> bool:
    return not run([PYTHON, "-m", "ensurepip"], quiet=True)


def from_system_pip() -> bool:
    return not run([sys.executable, "-m", "pip", "--python", PYTHON, "install", "-q", "pip"], quiet=True)


def from_debian_wheel() -> bool:
    return any(from_wheel(wheel) for wheel in DEBIAN_WHEELS.glob("pip-*.whl"))


def from_wheel(wheel: Path, **environment: str) -> bool:
    """A wheel of pip can install pip."""
    command: list[str | Path] = [PYTHON, wheel / "pip", "install", "-q", "pip", "-c", CONSTRAINTS]
    return not run(command, **environment)


def from_apt() -> bool:
    """Downloads Debian's wheel of pip, and its certificates if the machine has none, into a folder of our own."""
    if shutil.which("apt-get") is None:
        return False
    say("this Python has no ensurepip: taking pip from Debian's package python3-pip-whl")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lists, cache = folder / "lists", folder / "cache"
        for needed in (lists / "partial", cache / "archives" / "partial"):
            needed.mkdir(parents=True)
        apt = ["apt-get", "-qq", "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"]
        if os.geteuid() == 0:
            apt += ["-o", "APT::Sandbox::User=root"]
        if run([*apt, "update"]):
            return False
        fetched = subprocess.run([*apt, "download", "python3-pip-whl", "ca-certificates"], check=False, cwd=folder)  # noqa: S603
        if fetched.returncode:
            return False
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)  # noqa: S603, S607
        wheels = list((folder / "root" / DEBIAN_WHEELS.relative_to("/")).glob("pip-*.whl"))
        return any(from_wheel(wheel, **certificates(folder)) for wheel in wheels)


def certificates(folder: Path) -> dict[str, str]:
    """Where pip finds certificates; our own bundle of Debian's when the machine has none."""
    if CERTIFICATES.exists() or "PIP_CERT" in os.environ:
        return {}
    bundle = VENV / "ca-certificates.crt"
    parts = sorted((folder / "root/usr/share/ca-certificates/mozilla").glob("*.crt"))
    bundle.write_bytes(b"\n".join(part.read_bytes() for part in parts))
    return {"PIP_CERT": str(bundle)}


if __name__ == "__main__":
    main()
