"""The compiled kernels on emulated arm64: `tests/kernels`, which compares them with NumPy, is run there.

Debian's packages are only unpacked. To install them is emulated, too, and takes most of an hour.
"""

import os
import shutil
import subprocess
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.compose.debian import install, mirror
from tests.compose.emulation import emulation
from tests.conftest import ROOT
from tests.pi import archives

pytestmark = [
    pytest.mark.skipif("DRIFTLINE_ARM64" not in os.environ, reason="needs emulated arm64: make pi-test"),
    pytest.mark.timeout(3600),
]

RELEASE, PYTHON = "bookworm", "python3.11"
INCLUDED = "python3,libstdc++6,libgomp1"
COPIED = ("cli", "core", "data", "kernels", "services", "streams", "tests")
TOOLS = ("pytest", "pytest-asyncio", "pytest-timeout")
THEIRS = ("pluggy", "iniconfig", "packaging", "pygments")
"""What these import."""
SEEN = "import platform, driftline_kernels as k; print(platform.machine(), k.LIBRARY is not None)"
INSIDE = """
mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
root=$1; shift
exec env -i HOME=/tmp LC_ALL=C.UTF-8 PYTHONPATH=/opt/packages:/opt/driftline chroot "$root" "$@"
"""


def unpack_debian(root: Path) -> None:
    install("mmdebstrap", "arch-test")
    options = ("--quiet", "--skip=check/qemu", "--variant=extract", "--arch=arm64", f"--include={INCLUDED}")
    subprocess.run(["mmdebstrap", *options, RELEASE, root, mirror()], check=True)


def bring_packages(archive: Path, site: Path) -> None:
    """Those of the archive for a Pi, and pytest, which has no machine code."""
    for wheel in (archive / "wheels").glob("*.whl"):
        if "-cp313-" not in wheel.name:
            zipfile.ZipFile(wheel).extractall(site)
    for name in (*TOOLS, *THEIRS):
        for file in distribution(name).files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), site / file)


def bring_tests(work: Path) -> None:
    for name in COPIED:
        shutil.copytree(ROOT / name, work / name, ignore=archives.IGNORED)
    shutil.copyfile(ROOT / "pyproject.toml", work / "pyproject.toml")


def test_what_is_compiled_for_arm64_computes_what_numpy_does(tmp_path: Path):
    root = tmp_path / "root"
    unpack_debian(root)
    bring_packages(archives.unpacked("aarch64", tmp_path), root / "opt" / "packages")
    bring_tests(root / "opt" / "driftline")
    spaces = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    python = (*spaces, "sh", "-euc", INSIDE, "sh", str(root), f"/usr/bin/{PYTHON}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "engine"
    with emulation(cache) as possible:
        assert possible, "this kernel does not run what is made for arm64"
        seen = subprocess.run([*python, "-c", SEEN], capture_output=True, text=True, check=True).stdout
        assert seen.split() == ["aarch64", "True"]
        tests = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "/opt/driftline/tests/kernels")
        done = subprocess.run([*python, *tests], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
