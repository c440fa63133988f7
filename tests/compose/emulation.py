"""Lets this machine run what is made for arm64, as long as the test lasts, with QEMU from Debian's next release.

Debian 12's own QEMU (7.2) shows programs the machine's /proc/cpuinfo as it is; LiteRT, which reads there what an arm64
processor has to say, ends with a segmentation fault. Later ones show that of the processor that they emulate.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import run

from tests.compose.debian import unpack_from_next_release
from tests.compose.unfit import Unfit

KNOWN = Path("/proc/sys/fs/binfmt_misc")
NAME = "driftline-aarch64"
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
"""The head of a 64-bit little-endian program for AArch64; see the kernel's binfmt-misc.rst."""


@contextmanager
def emulation(home: Path) -> Iterator[bool]:
    """home: where QEMU is kept. Gives whether the kernel took it; what it was told before is as it was afterwards."""
    folder = home / "qemu"
    if not (KNOWN / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", KNOWN], capture_output=True, check=False)
    try:
        if not folder.exists():
            unpack_from_next_release(folder, "qemu-user")
        _forget()
        # F: opened now, so that containers, which have no such file, run with it, too.
        (KNOWN / "register").write_text(f":{NAME}:M::{MAGIC}:{MASK}:{folder}/usr/bin/qemu-aarch64:F")
    except (OSError, Unfit):
        yield False
        return
    try:
        yield True
    finally:
        _forget()


def _forget() -> None:
    handler = KNOWN / NAME
    if handler.exists():
        handler.write_text("-1")
