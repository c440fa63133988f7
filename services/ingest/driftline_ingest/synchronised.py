"""Whether this machine's clock is synchronised, as far as Linux says so."""

import ctypes
import sys
from pathlib import Path

UNSYNCHRONISED = 0x0040
"""STA_UNSYNC of <sys/timex.h>."""
TIMESYNCD = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd, which `timedatectl` asks, touches it when it has set the clock."""


class _Timex(ctypes.Structure):
    """The beginning of `struct timex`, as adjtimex(2) has it, and room for the rest."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    ]


def is_synchronised() -> bool:
    """Whether nothing speaks against it: a machine that can't say is believed."""
    return not sys.platform.startswith("linux") or TIMESYNCD.exists() or not _is_unsynchronised()


def _is_unsynchronised() -> bool:
    adjtimex = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if adjtimex is None:
        return False
    state = _Timex()
    # Nothing is set, so it needs no right; where it is forbidden all the same, nobody knows.
    if adjtimex(ctypes.byref(state)) < 0:
        return False
    return bool(state.status & UNSYNCHRONISED)
