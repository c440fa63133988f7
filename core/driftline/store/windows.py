"""The names of archived windows: one form by offsets, as they were named first, and one by times and edge. Pure.

windows/<stream>/<key>/000000000000-000000000249.parquet
windows/<stream>/<key>/001420070400000-001420219800000-4f2a91.parquet
"""

import re
from dataclasses import dataclass

SUFFIX = ".parquet"
OFFSET_DIGITS = 12
TIME_DIGITS = 15
LARGEST = 2**63 - 1
"""Offsets and times are 64 bits wide; a name that says more is none of ours."""
FORM = re.compile(r"([0-9]{12,19})-([0-9]{12,19})(?:-([A-Za-z0-9]{1,64}))?\.parquet")


@dataclass(frozen=True)
class WindowName:
    """What a window's name says: its first and last offset, or time in milliseconds since the epoch and edge."""

    first: int
    last: int
    edge: str | None
    """The edge that archived it; None for a name by offsets."""

    @property
    def order(self) -> tuple[bool, int, int, str]:
        """Sorts windows by time: those by offsets are older than all that are named by times."""
        return (self.edge is not None, self.last, self.first, self.edge or "")

    def format(self) -> str:
        """The last part of an object's key."""
        if self.edge is None:
            return f"{self.first:0{OFFSET_DIGITS}d}-{self.last:0{OFFSET_DIGITS}d}{SUFFIX}"
        return f"{self.first:0{TIME_DIGITS}d}-{self.last:0{TIME_DIGITS}d}-{self.edge}{SUFFIX}"


def parse(name: str) -> WindowName | None:
    """What the last part of an object's key says, or None for a name that none of us gave."""
    match = FORM.fullmatch(name)
    if match is None:
        return None
    window = WindowName(int(match[1]), int(match[2]), match[3])
    if window.first > window.last or window.last > LARGEST or window.format() != name:
        return None
    return window
