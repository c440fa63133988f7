"""The names of day files, which hold what one edge archived of a source's series on one day of UTC. Pure.

days/<source>/2015-01-01-4f2a91.parquet
days/<source>/2015-01-01-4f2a91.0002.parquet         the second, of a day whose rows are too many for one file
days/<source>/2015-01-01.parquet                     of windows that were named by offsets, before edges had ids
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta

from driftline.store.windows import SUFFIX

DAYS = "days"
DAY_MS = 86_400_000
MOST_PARTS = 9999
EPOCH = date(1970, 1, 1)
FORM = re.compile(r"(\d{4}-\d{2}-\d{2})(?:-([A-Za-z0-9]{1,64}))?(?:\.(\d{4}))?\.parquet", re.ASCII)


@dataclass(frozen=True, order=True)
class DayName:
    """What a day file's name says. day: as in 2015-01-01; edge: "" for windows by offsets; part: counts from 1."""

    day: str
    edge: str = ""
    part: int = 1

    def format(self) -> str:
        """The last part of an object's key."""
        edge = f"-{self.edge}" if self.edge else ""
        part = f".{self.part:04d}" if self.part > 1 else ""
        return f"{self.day}{edge}{part}{SUFFIX}"

    def key(self, source: str) -> str:
        return f"{DAYS}/{source}/{self.format()}"

    @property
    def begins(self) -> int:
        """Its first millisecond since the epoch."""
        return (date.fromisoformat(self.day) - EPOCH).days * DAY_MS

    @property
    def ends(self) -> int:
        """The first millisecond after it."""
        return self.begins + DAY_MS


def parse_day(name: str) -> DayName | None:
    """What the last part of an object's key says, or None for a name that no trainer gave."""
    match = FORM.fullmatch(name)
    if match is None:
        return None
    try:
        date.fromisoformat(match[1])
    except ValueError:
        return None
    day = DayName(match[1], match[2] or "", int(match[3] or 1))
    return day if day.part >= 1 and day.format() == name else None


def day_of(t: int) -> str:
    """The day of a time in milliseconds since the epoch."""
    return (EPOCH + timedelta(days=t // DAY_MS)).isoformat()
