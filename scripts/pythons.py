"""Which Pythons can run Driftline here, the newest first: one line each, with its version and its path.

    python3 scripts/pythons.py [constraints/tflite-runtime]

A version is supported when the folder of constraints has a file for it. PYTHON in the environment names the one to
take; otherwise it is looked for on PATH and where pyenv and uv keep theirs. Older Pythons can run this, to say so.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROBE = (
    "import sys, sysconfig as s, venv;"
    "usable = sys.implementation.name == 'cpython' and not s.get_config_var('Py_GIL_DISABLED');"
    "print('%d.%d' % sys.version_info[:2] if usable else sys.implementation.name)"
)


def supported(constraints: Path) -> list[str]:
    """The versions that the folder has constraints for, the newest first."""
    versions = [path.stem for path in constraints.glob("3.*.txt")]
    return sorted(versions, key=lambda version: int(version.split(".")[1]), reverse=True)


def version_of(python: str | Path) -> str:
    """Such as 3.13; what else it is where no packages are made for it; empty where it does not run."""
    try:
        process = subprocess.run([str(python), "-c", PROBE], check=False, capture_output=True, text=True)  # noqa: S603
    except OSError:
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""


def available(constraints: Path) -> Iterator[tuple[str, str]]:
    """The Pythons that may be taken: version and path."""
    versions = supported(constraints)
    named = os.environ.get("PYTHON")
    if named:
        version = version_of(named)
        if version not in versions:
            sys.exit(f"PYTHON={named}: found {version or 'none that runs'}, expected Python {' or '.join(versions)}")
        yield version, named
        return
    for version in versions:
        for path in places(version):
            if version_of(path) == version:
                yield version, str(path)


def places(version: str) -> Iterator[Path]:
    """Where a Python of this version may be, each place once."""
    name = f"python{version}"
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    candidates = [Path(sys.executable), *(folder / name for folder in folders), *kept(name)]
    seen = set()
    for path in candidates:
        if path.exists() and path.resolve() not in seen:
            seen.add(path.resolve())
            yield path


def kept(name: str) -> Iterator[Path]:
    """Pythons that pyenv or uv installed, the newest first."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    for root in (
        Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python"),
    ):
        yield from sorted(root.glob(f"*/bin/{name}"), key=patch, reverse=True)


def patch(python: Path) -> int:
    """7 of .../3.11.7/bin/python3.11, or of .../cpython-3.11.7-linux-x86_64-gnu/bin/python3.11."""
    match = re.search(r"\d+\.\d+\.(\d+)", python.parent.parent.name)
    return int(match.group(1)) if match else 0


def main() -> None:
    printed = set()
    folder = sys.argv[1] if len(sys.argv) > 1 else "constraints"
    for version, path in available(ROOT / folder):
        if version not in printed:
            printed.add(version)
            print(version, path)  # noqa: T201


if __name__ == "__main__":
    main()
