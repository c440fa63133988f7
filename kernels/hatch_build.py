"""Compiles src/*.c into the wheel, with the compiler that comes as the package ziglang: no machine needs one of its
own, and each can build for the others.

DRIFTLINE_MACHINE names another machine than this one, as uname calls it. Where the system is not one of SYSTEMS the
wheel is without the library, and the steps compute with NumPy.
"""

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MACHINES = ("aarch64", "x86_64")
GLIBC = "2.28"
"""Of Debian 10 and newer."""
FLAGS = (
    "-std=c11",
    "-O3",
    # A product and a sum in one instruction would be rounded once instead of twice: other bits on other machines.
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fPIC",
    "-shared",
    "-s",
)


class KernelsBuildHook(BuildHookInterface[Any]):
    """One library for all Pythons: it knows none of them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        machine = os.environ.get("DRIFTLINE_MACHINE") or platform.machine()
        if not sys.platform.startswith("linux") or machine not in MACHINES:
            return
        root = Path(self.root)
        name = f"driftline_kernels/kernels-{machine}.so"
        # An editable install has it where the package is.
        library = root / name
        sources = sorted(map(str, (root / "src").glob("*.c")))
        target = f"{machine}-linux-gnu.{GLIBC}"
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", target]
        # Who has the former one loaded keeps it.
        fresh = library.with_suffix(f".{os.getpid()}")
        subprocess.run([*compiler, *FLAGS, "-o", str(fresh), *sources, "-lm"], check=True)  # noqa: S603
        fresh.replace(library)
        build_data["force_include"][str(library)] = name
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux_{GLIBC.replace('.', '_')}_{machine}"
