"""Which times of each series were acknowledged already.

A courtesy that answers clients what they sent twice: it forgets at a restart and knows nothing of other replicas. The
guarantee is downstream, where every reader drops what it has seen.
"""

from __future__ import annotations  # array[int] is a type for checkers only

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice

import msgspec

from driftline.clock import shown
from driftline.messages import Record
from driftline.streams.definition import StreamDefinition
from driftline.worker.stream_step import Series
from driftline_ingest import runs as sorted_runs

BEGINNING = -(2**62)
"""Before all times."""
LARGEST = 100_000
"""Series that are remembered; the one that was silent longest is forgotten first."""
LARGEST_RUNS = 400_000
"""Runs of times that are remembered of all series together, 16 bytes each."""
FEWEST_RUNS = 4
MOST_RUNS = 1000
"""Between these lies what one series gets of them. A sensor that keeps to its period has a run for each gap, and one
that doesn't has a run for each record."""


class Memory(Enum):
    """What is known of a time that is not newer than the newest of its series."""

    REPEATED = "it was acknowledged"
    SKIPPED = "it was not, as far as is known, and later ones were"
    FORGOTTEN = "it is too long ago to know"


class Times:
    """The times of one series that were acknowledged, as far back as there is room: runs on the grid of its period."""

    __slots__ = ("_firsts", "_floor", "_lasts", "_period")

    def __init__(self, period: int) -> None:
        """period: milliseconds."""
        self._period = period
        # Of earlier times nothing is known any more.
        self._floor = BEGINNING
        self._firsts = array("q")
        self._lasts = array("q")

    @property
    def runs(self) -> int:
        return len(self._firsts)

    def add(self, t: int) -> int:
        """Takes in a time that is newer than all before. Returns 0, or how many runs there are when one has begun."""
        lasts = self._lasts
        if lasts and t - lasts[-1] == self._period:
            lasts[-1] = t
            return 0
        self._firsts.append(t)
        lasts.append(t)
        return len(lasts)

    def insert(self, t: int) -> None:
        """Takes in a time that was skipped."""
        firsts, lasts = self._firsts, self._lasts
        behind = bisect_right(firsts, t)
        if behind and t < lasts[behind - 1]:
            self._split(behind - 1, t)
        sorted_runs.insert(firsts, lasts, t, self._period)

    def _split(self, run: int, t: int) -> None:
        """Makes two of a run, before and after a time that is not on its grid."""
        first, last = self._firsts[run], self._lasts[run]
        before = t - (t - first) % self._period
        self._lasts[run] = before
        self._firsts.insert(run + 1, before + self._period)
        self._lasts.insert(run + 1, last)

    def shorten(self, runs: int) -> int:
        """Forgets the oldest, so that at most so many are left, and returns how many that were."""
        surplus = max(0, len(self._firsts) - runs)
        del self._firsts[:surplus]
        del self._lasts[:surplus]
        if surplus:
            self._floor = self._firsts[0]
        return surplus

    def recall(self, t: int) -> Memory:
        run = bisect_right(self._firsts, t) - 1
        if run < 0:
            return Memory.FORGOTTEN if t < self._floor else Memory.SKIPPED
        first, last = self._firsts[run], self._lasts[run]
        return Memory.REPEATED if t <= last and (t - first) % self._period == 0 else Memory.SKIPPED


Lacking = tuple[int, tuple[str, ...]]
"""A time, and the targets that are still missing."""
Newest = tuple[int, tuple[Lacking, ...]]
"""The last acknowledged time of a series, and what is still missing of the times not long ago."""


NOTHING: Newest = (-1, ())


@dataclass(slots=True)
class _Known:
    """What was acknowledged of a series."""

    newest: Newest
    times: Times


class Sifted(msgspec.Struct, frozen=True):
    """Records that are new, and how many were not. late: how many of the new ones came after later ones of their
    series. out_of_order: too old to be taken. forgotten: how many of those may as well be repeated, but too long ago to
    know. latest: of the last record that was not new, the key and the newest time of its series."""

    fresh: list[Record]
    repeated: int = 0
    out_of_order: int = 0
    forgotten: int = 0
    late: int = 0
    latest: tuple[str, int] | None = None

    @property
    def detail(self) -> str | None:
        """Why nothing is new, in a sentence, where that needs one."""
        if self.fresh or self.latest is None:
            return None
        key, newest = self.latest
        skipped = self.out_of_order - self.forgotten
        forgotten = f", {self.forgotten} out of order or repeated after too long to know" if self.forgotten else ""
        counts = f"{self.repeated} repeated, {skipped} out of order{forgotten}"
        return f"nothing new: {counts}; the newest record of {key!r} is of {shown(newest / 1000)}"


class _Sifting:
    """What is known of a body's records, while they are looked at one after the other."""

    def __init__(self) -> None:
        self.fresh: list[Record] = []
        self.late = 0
        self._memories: list[Memory] = []
        self._last: Record | None = None
        self._taken: set[tuple[str, str, int]] = set()
        self._indexed = 0

    def has(self, record: Record) -> bool:
        """Whether a fresh one of its time is before it. Costs nothing where nobody asks."""
        self._taken.update((one.stream, one.key, one.t) for one in islice(self.fresh, self._indexed, None))
        self._indexed = len(self.fresh)
        return (record.stream, record.key, record.t) in self._taken

    def leave_out(self, record: Record, memory: Memory) -> None:
        self._memories.append(memory)
        self._last = record

    def sifted(self, newest: Callable[[Series], Newest]) -> Sifted:
        last = self._last
        if last is None:
            return Sifted(self.fresh, late=self.late)
        repeated, forgotten = self._memories.count(Memory.REPEATED), self._memories.count(Memory.FORGOTTEN)
        latest, _ = newest((last.stream, last.key))
        out_of_order = len(self._memories) - repeated
        return Sifted(self.fresh, repeated, out_of_order, forgotten, self.late, (last.key, latest))


class Seen:
    """What was acknowledged of each series."""

    def __init__(
        self, streams: Mapping[str, StreamDefinition], largest: int = LARGEST, largest_runs: int = LARGEST_RUNS
    ) -> None:
        self._streams = streams
        self._largest = largest
        self._largest_runs = largest_runs
        self._known: OrderedDict[Series, _Known] = OrderedDict()
        self._runs = 0
        self._share = MOST_RUNS
        """Runs of one series at most."""

    @property
    def runs(self) -> int:
        """How many are remembered, of all series together."""
        return self._runs

    def sift(self, records: Sequence[Record]) -> Sifted:
        """Leaves out repeated records and those that are too old. A record that brings a target that was missing is
        new, and so is a late one: of a time that nothing was acknowledged of, not longer ago than the stream remembers
        series."""
        sifting = _Sifting()
        newest: dict[Series, Newest] = {}
        for record in records:
            series = (record.stream, record.key)
            former = newest.get(series) or self._newest(series)
            after = self._after(former, record) or self._late(former, record, sifting)
            if after is not None:
                newest[series] = after
                sifting.fresh.append(record)
        return sifting.sifted(lambda series: newest.get(series) or self._newest(series))

    def _late(self, former: Newest, record: Record, sifting: _Sifting) -> Newest | None:
        """What is known after a record that is not newer than the newest of its series, or None where it is none that
        was skipped."""
        memory = Memory.REPEATED if sifting.has(record) else self._recall(record)
        last, awaited = former
        stream = self._streams[record.stream]
        if memory is not Memory.SKIPPED or last - record.t > stream.longest_silence:
            sifting.leave_out(record, memory)
            return None
        sifting.late += 1
        missing = _missing(stream, record)
        return (last, tuple(sorted((*awaited, (record.t, missing))))[-stream.patience :]) if missing else former

    def _recall(self, record: Record) -> Memory:
        known = self._known.get((record.stream, record.key))
        return known.times.recall(record.t) if known else Memory.SKIPPED

    def remember(self, records: Sequence[Record]) -> None:
        """Call it when they are acknowledged, and not before: a client sends again what was not."""
        for record in records:
            series = (record.stream, record.key)
            known = self._known.get(series) or self._begin(series)
            after = self._after(known.newest, record)
            if after is None:
                self._remember_late(known, record)
                continue
            if after[0] != known.newest[0] and known.times.add(record.t):
                self._count(known, 1)
            known.newest = after
            self._known.move_to_end(series)
        while len(self._known) > self._largest or self._runs > self._largest_runs:
            _, forgotten = self._known.popitem(last=False)
            self._runs -= forgotten.times.runs

    def _remember_late(self, known: _Known, record: Record) -> None:
        if known.times.recall(record.t) is not Memory.SKIPPED:
            return
        before, (last, awaited) = known.times.runs, known.newest
        known.times.insert(record.t)
        self._count(known, known.times.runs - before)
        stream = self._streams[record.stream]
        if missing := _missing(stream, record):
            known.newest = (last, tuple(sorted((*awaited, (record.t, missing))))[-stream.patience :])

    def _count(self, known: _Known, more: int) -> None:
        """Keeps count of runs; negative where two became one."""
        self._runs += more
        if more > 0 and known.times.runs > self._share:
            # More than it must, so that what is left moves seldom.
            self._runs -= known.times.shorten(self._share - self._share // 8)

    def _begin(self, series: Series) -> _Known:
        stream, _ = series
        known = self._known[series] = _Known(NOTHING, Times(self._streams[stream].time.period * 1000))
        self._share = max(FEWEST_RUNS, min(MOST_RUNS, self._largest_runs // len(self._known)))
        return known

    def _newest(self, series: Series) -> Newest:
        known = self._known.get(series)
        return known.newest if known else NOTHING

    def _after(self, former: Newest, record: Record) -> Newest | None:
        """What is known after the record, or None when it brings nothing new."""
        stream, (last, awaited) = self._streams[record.stream], former
        missing = _missing(stream, record)
        if record.t > last:
            return record.t, (*awaited, (record.t, missing))[-stream.patience :] if missing else awaited
        lacking = next((names for t, names in awaited if t == record.t), ())
        left = tuple(name for name in lacking if name in missing)
        if left == lacking:
            return None
        others = ((t, left if t == record.t else names) for t, names in awaited)
        return last, tuple((t, names) for t, names in others if names)


def _missing(stream: StreamDefinition, record: Record) -> tuple[str, ...]:
    """The targets that it lacks."""
    values = record.values
    if not stream.targets:
        return () if values[stream.target] is not None else (stream.target,)
    return tuple([name for name in stream.targets if values[name] is None])
