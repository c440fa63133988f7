"""One series on its way onto the grid: the periods that are open, and what is known of those before. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from driftline.streams.gridded.counters import CounterState
from driftline.streams.gridded.rule import GridRule

Columns = dict[str, dict[int, float]]
"""By column its readings by time."""
Values = dict[str, float | None]


class SeriesProgress(msgspec.Struct, array_like=True):
    """What a restart must find again, except for readings that are read again. Periods: see `GridRule`."""

    born: int
    """Offset of the first observation."""
    length: int
    """Of a period, in milliseconds."""
    group: str = ""
    settled: int | None = None
    """The newest period that is closed: what comes for it, or for one before, is late."""
    behind: int | None = None
    """The newest period of the stream that was over when the series last brought something for one that was; None where
    it never did."""
    opened: dict[int, int] = {}
    """By open period that was over when it was opened, the newest one of the stream that was."""
    held: dict[str, tuple[int, float]] = {}
    """By column the newest reading in a closed period, and its time."""
    counters: dict[str, CounterState] = {}
    kept: dict[int, Columns] = {}
    """By open period the readings that are not read again."""


@dataclass
class OpenPeriod:
    """A period that is being filled. offset: of its first observation; None where its readings are saved."""

    offset: int | None
    readings: Columns = field(default_factory=dict)


class GridSeries:
    """The series of one key."""

    def __init__(self, rule: GridRule, progress: SeriesProgress) -> None:
        self.rule = rule
        self.progress = progress
        self.open: dict[int, OpenPeriod] = {n: OpenPeriod(None, columns) for n, columns in progress.kept.items()}

    @property
    def newest(self) -> int:
        """The newest period that anything is known of."""
        return max([self.progress.settled or 0, self.progress.behind or 0, *self.open])

    def put(self, period: int, offset: int, t: int, values: Values) -> None:
        """Takes readings in; of two of a column for one time the first counts."""
        opened = self.open.get(period)
        if opened is None:
            opened = self.open[period] = OpenPeriod(offset)
        for name, value in values.items():
            if value is not None and name in self.rule.takes:
                opened.readings.setdefault(name, {}).setdefault(t, value)

    def due(self, over: int) -> int | None:
        """The newest open period that is to be closed, with all before it, once period `over` of the stream is over."""
        opened, waits = self.progress.opened, self.rule.waits
        return max((n for n in self.open if n <= over and (n not in opened or over > opened[n] + waits)), default=None)

    def close(self, until: int) -> Iterator[tuple[int, Values]]:
        """Closes all up to an open period, and gives those that have values."""
        for period in sorted(n for n in self.open if n <= until):
            yield from self.fill(period - 1)
            readings = self.open.pop(period).readings
            self.progress.opened.pop(period, None)
            self.progress.kept.pop(period, None)
            values = {name: self._value(name, readings.get(name), period) for name in self.rule.takes}
            self.progress.settled = period
            if any(value is not None for value in values.values()):
                yield period, values

    def quiet(self, over: int) -> Iterator[tuple[int, Values]]:
        """The same of periods without an observation that are over."""
        settled, behind = self.progress.settled, self.progress.behind
        if not self.rule.fills or settled is None:
            return
        # A series that brings what is long over may go on with that: its silence counts from then on.
        if behind is not None and settled < behind and over <= behind + self.rule.waits:
            return
        yield from self.fill(min([over, *(period - 1 for period in self.open)]))

    def fill(self, until: int) -> Iterator[tuple[int, Values]]:
        """Closes all up to a period, before any that is open, with the values that the series keeps."""
        settled, held = self.progress.settled, self.progress.held
        if not self.rule.fills or settled is None or until <= settled:
            return
        longest = max((t + self.rule.hold for t, _ in held.values()), default=0) // self.rule.period
        for period in range(settled + 1, min(until, longest) + 1):
            values = {name: self._kept(name, period) for name in self.rule.takes}
            if any(value is not None for value in values.values()):
                yield period, values
        # What is silent for longer may still bring what it has remembered meanwhile.
        self.progress.settled = max(settled, min(until, longest))

    def _value(self, name: str, readings: dict[int, float] | None, period: int) -> float | None:
        if not readings:
            return self._kept(name, period) if self.rule.fills else None
        if self.rule.takes[name] == "difference":
            value = self._counted(name, [readings[t] for t in sorted(readings)], period)
        else:
            value = self.rule.values[name](readings)
        newest = max(readings)
        self.progress.held[name] = (newest, readings[newest])
        return value

    def _counted(self, name: str, readings: list[float], period: int) -> float | None:
        counter = self.progress.counters.get(name)
        if counter is None:
            first, *others = readings
            counter = self.progress.counters[name] = CounterState(period, first)
            # What was counted in the period before its first reading is not known.
            counter.take(others, period, 0)
            return None
        return counter.take(readings, period, max(1, self.rule.hold // self.rule.period))

    def _kept(self, name: str, period: int) -> float | None:
        """The value of a period without a reading: as if the sensor had said again what it said last."""
        t, value = self.progress.held.get(name, (None, 0.0))
        if t is None or period * self.rule.period - t > self.rule.hold:
            return None
        take, counter = self.rule.takes[name], self.progress.counters.get(name)
        if take == "difference":
            return counter.rest(period) if counter is not None else None
        return 0.0 if take == "sum" else value
