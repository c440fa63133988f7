"""Makes .venv with the newest supported Python that it finds, and installs what a requirements file lists.

    python3 scripts/bootstrap.py requirements.txt
    python3 scripts/bootstrap.py requirements-tflite-runtime.txt .venv-tflite-runtime constraints/tflite-runtime

The folder of constraints has a file for each supported Python. PYTHON in the environment names the Python to take; an
environment of another version is then made anew. A Python that can't make an environment, or that packages can't be
installed for, is passed over for the next one.

Debian's Python may come without ensurepip; then pip is taken from where it can be had: the system's pip, the wheel of
Debian's package python3-pip-whl, or that package as apt-get downloads it, without installing anything on the machine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts import pythons
else:
    # It runs as a file, before anything is installed: then its folder is where Python looks.
    import pythons

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS, VENV, CONSTRAINTS = (
    ROOT / (given or default)
    for given, default in zip_longest(sys.argv[1:4], ("requirements.txt", ".venv", "constraints"))
)
PYTHON = VENV / "bin" / "python"
STAMP = VENV / f"{REQUIREMENTS.name}.stamp"
DEBIAN_WHEELS = Path("/usr/share/python-wheels")
PIP_INSTALL: list[str | Path] = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def main() -> None:
    version = kept()
    if version is None:
        make()
    elif not is_current(version) and not install(version):
        sys.exit("could not install the packages; the reason is above")


def kept() -> str | None:
    """The version of the environment that is there already; None where one must be made."""
    version = pythons.version_of(PYTHON)
    if version not in pythons.supported(CONSTRAINTS):
        return None
    named = os.environ.get("PYTHON")
    return version if not named or pythons.version_of(named) == version else None


def make() -> None:
    """An environment with the first Python that can have one."""
    failed = set()
    for version, python in pythons.available(CONSTRAINTS):
        if version in failed or not create(version, python):
            continue
        if install(version):
            return
        failed.add(version)
        say(f"passes over Python {version}: its packages can't be installed")
    shutil.rmtree(VENV, ignore_errors=True)
    expected = ", ".join(pythons.supported(CONSTRAINTS))
    sys.exit(
        f"found no Python that {REQUIREMENTS.name} can be installed for, expected one of {expected}, or PYTHON=path"
    )


def create(version: str, python: str) -> bool:
    """An empty environment."""
    say(f"makes {VENV.name} with Python {version} ({python})")
    shutil.rmtree(VENV, ignore_errors=True)
    if run([python, "-m", "venv", "--without-pip", VENV], quiet=True):
        say(f"passes over {python}: it can't make a virtual environment")
        return False
    return True


def install(version: str) -> bool:
    packages: list[str | Path] = ["-c", pins(version), "-r", REQUIREMENTS]
    if not any(source() for source in (has_pip, from_ensurepip, from_system_pip, from_debian_wheel, from_apt)):
        say(f"found no pip for Python {version}, expected python3-venv, python3-pip or apt-get to be there")
        return False
    STAMP.unlink(missing_ok=True)
    say(f"installs {REQUIREMENTS.name}")
    if not by_uv(version, packages) and run([*PIP_INSTALL, *packages]):
        return False
    STAMP.write_text(fingerprint(version))
    return True


def by_uv(version: str, packages: list[str | Path]) -> bool:
    """With uv, which takes a tenth of pip's time. Not where pip is told of an index of somebody's own: uv reads other
    settings."""
    config = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], check=False, capture_output=True, text=True)  # noqa: S603
    if any(setting in config.stdout for setting in ("index", "proxy")):
        return False
    program = shutil.which("uv")
    uv: list[str | Path] = [program] if program else [PYTHON, "-m", "uv"]
    if not program and run([*PIP_INSTALL, "-q", "-c", pins(version), "uv"], quiet=True):
        say("has no uv, which would be quicker: goes on with pip")
        return False
    settings = {"UV_HTTP_TIMEOUT": "180"}
    if CERTIFICATES.exists():
        settings["UV_SYSTEM_CERTS"] = "1"
    if sys.dont_write_bytecode:
        # Then no later run would keep it, and every process would compile all that it imports.
        settings["UV_COMPILE_BYTECODE"] = "1"
    return not run([*uv, "pip", "install", "--python", PYTHON, *packages], environment=settings)


def pins(version: str) -> Path:
    return CONSTRAINTS / f"{version}.txt"


def is_current(version: str) -> bool:
    return STAMP.exists() and STAMP.read_text() == fingerprint(version)


def fingerprint(version: str) -> str:
    """Changes whenever what must be installed does."""
    projects = [ROOT / "core", ROOT / "kernels", ROOT / "client", ROOT / "cli", *sorted((ROOT / "services").iterdir())]
    lists = sorted(ROOT.glob("requirements*.txt"))
    # These are compiled when they are installed.
    sources = [ROOT / "kernels" / "hatch_build.py", *sorted((ROOT / "kernels" / "src").glob("*.[ch]"))]
    files = [pins(version), *lists, *(project / "pyproject.toml" for project in projects), *sources]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.exists())).hexdigest()


def say(text: str) -> None:
    print(f"driftline: {text}", flush=True)  # noqa: T201


def run(command: list[str | Path], *, quiet: bool = False, environment: dict[str, str] | None = None) -> int:
    output = subprocess.DEVNULL if quiet else None
    try:
        process = subprocess.run(  # noqa: S603
            [str(part) for part in command],
            check=False,
            cwd=str(ROOT),
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
    except OSError:
        return 1
    return process.returncode


def has_pip() -> bool:
    return not run([PYTHON, "-m", "pip", "--version"], quiet=True)


def from_ensurepip() -> bool:
    return not run([PYTHON, "-m", "ensurepip"], quiet=True)


def from_system_pip() -> bool:
    return not run([sys.executable, "-m", "pip", "--python", PYTHON, "install", "-q", "pip"], quiet=True)


def from_debian_wheel() -> bool:
    return any(from_wheel(wheel) for wheel in DEBIAN_WHEELS.glob("pip-*.whl"))


def from_wheel(wheel: Path, environment: dict[str, str] | None = None) -> bool:
    """A wheel of pip can install pip."""
    return not run([PYTHON, wheel / "pip", "install", "-q", "pip"], environment=environment)


def from_apt() -> bool:
    """Downloads Debian's wheel of pip, and its certificates if the machine has none, into a folder of our own."""
    if shutil.which("apt-get") is None:
        return False
    say("this Python has no ensurepip: takes pip from Debian's package python3-pip-whl")
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
        return any(from_wheel(wheel, certificates(folder)) for wheel in wheels)


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
