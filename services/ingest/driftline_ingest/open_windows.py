"""What the archive knows of a partition: how far each series is archived, and the windows that fill. Pure."""

from __future__ import annotations  # array[float] is a type for checkers only

from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from driftline.worker.silence import Heard
from driftline.worker.stream_step import Series

NEVER = -1
"""Before all times."""


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series: everything up to time `t` is archived."""

    next: int
    """Offset after the last archived message. What lies before it and is read again is no news to anybody."""
    t: int
    awaited: tuple[int, ...] = ()
    """Times of archived messages without their truth."""
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

    def counted_anew(self) -> Progress:
        """For a topic that was made anew: what goes by its offsets is none of the new one's."""
        return msgspec.structs.replace(self, next=0, foreseen=0)


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
    lacking: dict[int, int] = field(default_factory=dict)
    """By time the places of rows without their truth."""
    brought: set[int] = field(default_factory=set)
    """Times of rows that are truths for windows that are written already: readers take the row that has it."""

    def awaited(self, progress: Progress | None) -> tuple[int, ...]:
        """Times of all messages so far without their truth."""
        before = progress.awaited if progress else ()
        return (*(t for t in before if t not in self.brought), *self.lacking)

    def keep(self, wanted: Callable[[int], bool]) -> None:
        """Drops the rows of other times."""
        self.rows = [row for row in self.rows if wanted(int(row[0]))]
        times = [int(row[0]) for row in self.rows]
        self.brought &= set(times)
        fresh = [t for t in times if t not in self.brought]
        # Rows have moved up, so their places are others.
        self.lacking = {t: index for index, t in enumerate(times) if t in self.lacking}
        self.first_t = min(fresh, default=None)
        self.t = max(times, default=self.t)


@dataclass
class ArchivedPartition:
    """What is known of a partition that is owned here. `pending` is in the order of first offsets."""

    progress: dict[Series, Progress] = field(default_factory=dict)
    pending: OrderedDict[Series, OpenWindow] = field(default_factory=OrderedDict)
    futures: OrderedDict[Series, OpenFutures] = field(default_factory=OrderedDict)
    """As `pending`."""
    changed: set[Series] = field(default_factory=set)
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

    def last_t(self, series: Series) -> int | None:
        """Time of the newest message of a series that was taken in."""
        pending, progress = self.pending.get(series), self.progress.get(series)
        return pending.t if pending else progress.t if progress else None
