"""What the archive knows of a partition: how far each series is archived, and the windows that fill. Pure."""

from __future__ import annotations  # array[float] is a type for checkers only

from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from math import isnan, nan
from typing import NamedTuple

import msgspec

from driftline.worker.silence import Heard
from driftline.worker.stream_step import Series
from driftline_ingest.known_ticks import KnownTicks
from driftline_ingest.packing import Columns

NEVER = -1
"""Before all times."""


class Lacking(msgspec.Struct, frozen=True, array_like=True):
    """A time of a source of several targets, and those whose truth is still missing."""

    t: int
    columns: Columns


Awaited = int | Lacking
"""A time whose truth is still missing; where there is one target, it needs no name."""


def time_of(awaited: Awaited) -> int:
    return awaited.t if isinstance(awaited, Lacking) else awaited


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series: everything up to time `t` is archived."""

    next: int
    """Offset after the last archived message. What lies before it and is read again is no news to anybody."""
    t: int
    awaited: tuple[Awaited, ...] = ()
    """Archived messages without their truth."""
    truths: int = 0
    """Windows since then that held nothing but truths for what was archived before."""
    heard: int | None = None
    """When the series was heard of last; see `driftline.worker.silence`."""
    foreseen: int = 0
    """Offset after the last archived future, or of the first message: what comes before it is no news."""
    issued: int = NEVER
    """When the newest archived future was issued."""
    reissued: int = 0
    """Windows since then of futures that were not issued later."""
    ticks: tuple[int, ...] = ()
    """Which ticks are archived; see `driftline_ingest.known_ticks`. Nothing in states from before late records were."""

    def lacks(self, t: int, truths: Columns) -> Columns:
        """Whose truth is missing of an archived message of that time. truths: of all that may be."""
        one = next((one for one in self.awaited if time_of(one) == t), None)
        return one.columns if isinstance(one, Lacking) else truths if one is not None else ()

    def counted_anew(self) -> Progress:
        """For a topic that was made anew: what goes by its offsets is none of the new one's."""
        return msgspec.structs.replace(self, next=0, foreseen=0)


class RowLacking(NamedTuple):
    """Where a row is in its window, and whose truth it lacks."""

    row: int
    columns: Columns


@dataclass
class OpenFutures:
    """The window of futures that is being filled."""

    offset: int
    """Of its first message."""
    first: int
    """When the first was issued, and the last."""
    last: int
    next: int = 0
    """Offset after its newest message."""
    rows: list[array[float]] = field(default_factory=list)


def merged(before: array[float], row: array[float]) -> array[float]:
    """The row, and what only the one before has."""
    return array("d", [former if isnan(value) else value for former, value in zip_longest(before, row, fillvalue=nan)])


@dataclass
class OpenWindow:
    """The window that is being filled."""

    offset: int
    """Of its first message."""
    last: int
    """Offset of its newest message."""
    t: int
    group: str = ""
    """Of all its messages."""
    first_t: int | None = None
    """Time of the first message that no window has yet; None while there are only truths for what is archived."""
    rows: list[array[float]] = field(default_factory=list)
    lacking: dict[int, RowLacking] = field(default_factory=dict)
    """By time the rows without their truth."""
    brought: dict[int, Columns] = field(default_factory=dict)
    """Times of rows that are truths for windows that are written already, or late records among theirs, with what is
    missing of them still: readers take the row that has it."""

    def lacks(self, t: int, progress: Progress | None, truths: Columns) -> Columns:
        """Whose truth is missing of a message of that time. truths: of all that may be."""
        if t in self.lacking:
            return self.lacking[t].columns
        if t in self.brought:
            return self.brought[t]
        return progress.lacks(t, truths) if progress else ()

    def awaited(self, progress: Progress | None, truths: Columns) -> tuple[Awaited, ...]:
        """All messages so far without their truth. truths: of all that may be missing."""
        still = []
        for one in progress.awaited if progress else ():
            left = self.brought.get(time_of(one))
            if left is None:
                still.append(one)
            elif left:
                still.append(Lacking(time_of(one), left))
        known = {time_of(one) for one in progress.awaited} if progress else set()
        late = {t: left for t, left in self.brought.items() if left and t not in known}
        more = late | {t: row.columns for t, row in self.lacking.items()}
        fresh = more if len(truths) == 1 else (Lacking(t, columns) for t, columns in more.items())
        return tuple(sorted((*still, *fresh), key=time_of))

    def keep(self, wanted: Callable[[int], bool]) -> None:
        """Drops the rows of other times."""
        self.rows = [row for row in self.rows if wanted(int(row[0]))]
        times = [int(row[0]) for row in self.rows]
        self.brought = {t: columns for t, columns in self.brought.items() if t in times}
        fresh = [t for t in times if t not in self.brought]
        # Rows have moved up, so their places are others.
        self.lacking = {
            t: RowLacking(index, self.lacking[t].columns) for index, t in enumerate(times) if t in self.lacking
        }
        self.first_t = min(fresh, default=None)
        self.t = max(times, default=self.t)


def first_before(windows: Mapping[Series, OpenWindow | OpenFutures], offset: int) -> Series | None:
    """The series whose window began first, if that was before the offset. windows: in the order of first offsets."""
    first = next(iter(windows.items()), None)
    return first[0] if first is not None and first[1].offset < offset else None


@dataclass
class ArchivedPartition:
    """What is known of a partition that is owned here. `pending` is in the order of first offsets."""

    progress: dict[Series, Progress] = field(default_factory=dict)
    pending: OrderedDict[Series, OpenWindow] = field(default_factory=OrderedDict)
    futures: OrderedDict[Series, OpenFutures] = field(default_factory=OrderedDict)
    """As `pending`."""
    changed: set[Series] = field(default_factory=set)
    ticks: dict[Series, KnownTicks] = field(default_factory=dict)
    """Of the series in `progress` that were heard of since the start, also what is in open windows."""
    heard: dict[str, Heard] = field(default_factory=lambda: defaultdict(Heard))
    """By stream."""
    behind: int = 0
    """Offset before which messages are read again after a restart: until then nobody is known to be silent."""

    def count_from(self, offset: int) -> None:
        """The topic was made anew, and its first message has this offset. What waits in open windows came before it."""
        self.progress = {series: progress.counted_anew() for series, progress in self.progress.items()}
        self.changed.update(self.progress)
        self.behind = 0
        for window in self.pending.values():
            window.offset = offset
        for foreseen in self.futures.values():
            foreseen.offset = offset

    def oldest(self) -> int | None:
        """The offset of the first message that is in an open window."""
        # The first ones have the oldest offsets.
        firsts = (next(iter(self.pending.values()), None), next(iter(self.futures.values()), None))
        return min((window.offset for window in firsts if window is not None), default=None)

    def lacks(self, series: Series, t: int, truths: Columns) -> Columns:
        """Whose truth is missing of a message of that time. truths: of all that may be."""
        pending, progress = self.pending.get(series), self.progress.get(series)
        if pending is not None:
            return pending.lacks(t, progress, truths)
        return progress.lacks(t, truths) if progress else ()

    def last_t(self, series: Series) -> int | None:
        """Time of the newest message of a series that was taken in."""
        pending, progress = self.pending.get(series), self.progress.get(series)
        return pending.t if pending else progress.t if progress else None
