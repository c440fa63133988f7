"""Which columns data have that no definition describes, and of which kind they are. Pure."""

import re
from dataclasses import dataclass

from driftline.arrays import Floats, Ints

TIME_NAMES = re.compile(
    r"time|date|zeit|datum|stamp|seen|changed|updated|(^|[._])(ts|t|at|dt|tst|when)$", re.IGNORECASE
)
"""Only where several columns hold times, or a header is looked for."""
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
"""A number as text."""


@dataclass(frozen=True)
class TimeColumn:
    """t: [n] milliseconds since the epoch, UTC, 0 where it is empty. zone: what the times carry, None for none. format:
    how they are written, as a definition says it, where that must be said. is_days: no time has a time of day. date:
    the column that the day is in, where the times' own has the time of day alone."""

    name: str
    t: Ints
    zone: str | None
    empty: int
    format: str | None = None
    is_days: bool = False
    date: str | None = None


@dataclass(frozen=True)
class NumberColumn:
    """values: [n], NaN missing. whole: of integers. text: written as text in JSON."""

    name: str
    values: Floats
    whole: bool
    text: bool = False


@dataclass(frozen=True)
class TextColumn:
    """codes: [n] the same number for the same text, -1 where it is empty. distinct: how many different texts.
    not_time: one that is no time, where others are."""

    name: str
    codes: Ints
    distinct: int
    samples: tuple[str, ...]
    not_time: str | None = None


@dataclass(frozen=True)
class OtherColumn:
    """Neither a time nor a number nor text; kind: Arrow's name of it, `null` for a column without any value."""

    name: str
    kind: str


Column = TimeColumn | NumberColumn | TextColumn | OtherColumn


@dataclass(frozen=True)
class Survey:
    """What a file holds. source: its name in errors; names: of all columns. is_nested: whether those are ways through
    JSON; rows_in: the way to the list that the rows are in, None where they are on their own. key: the column that
    names the series, where the format says so."""

    source: str
    rows: int
    columns: tuple[Column, ...]
    is_nested: bool = False
    rows_in: str | None = None
    key: str | None = None
    encoding: str | None = None
    """Of text that is not in UTF-8."""

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def times(self) -> list[TimeColumn]:
        return [column for column in self.columns if isinstance(column, TimeColumn)]

    @property
    def numbers(self) -> list[NumberColumn]:
        return [column for column in self.columns if isinstance(column, NumberColumn)]

    @property
    def texts(self) -> list[TextColumn]:
        return [column for column in self.columns if isinstance(column, TextColumn)]
