"""The pure step that brings observations onto the grid of their stream: they come in, records go out.

The readings of open periods are not saved: a restart reads them again, as the archive does with open windows. What is
saved is how far each series is, which changes once in a period. Only a period that is open for long is saved with its
readings, so that a stream that has ended does not hold the position back for ever.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import msgspec
import numpy as np

from driftline.bus.port import Assignment, Envelope, Output
from driftline.clock import astray
from driftline.messages import RECORDS, Observation, Record
from driftline.streams.catalog import PerStream
from driftline.streams.definition import StreamDefinition
from driftline.streams.gridded.rule import GridRule
from driftline.streams.gridded.series import OpenPeriod, SeriesProgress
from driftline.streams.gridded.stream import StreamGrid
from driftline.streams.period import LiveSteps
from driftline.worker.stream_step import Series

TIMES = "@/times"
"""The name under which the times lie among the states; no stream is named so."""
LONGEST_SPAN = 10_000
"""Messages of a partition after which the readings of an open period are saved."""
DROPPED = ("late", "astray")
"""Why an observation counts in no period, as a metric's label."""


class GridTimes(msgspec.Struct, frozen=True, array_like=True):
    """What is saved of a partition: the offset behind the newest message, and by stream its time."""

    next: int
    newest: dict[str, int]


@dataclass
class GridPartition:
    """What is known of a partition that is owned here."""

    grids: dict[str, StreamGrid] = field(default_factory=dict)
    waiting: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """States of streams that are not known here yet, or no more."""
    times: dict[str, int] = field(default_factory=dict)
    """By stream the time that was saved."""
    changed: dict[Series, None] = field(default_factory=dict)
    known: int = 0
    """Offset before which messages were worked off before a restart."""
    next: int = 0
    """Offset behind the newest message that was worked off."""
    saved: int = 0
    """The same when it was saved last."""

    def read_again(self) -> Iterator[tuple[str, str, int, OpenPeriod]]:
        """Open periods whose readings are not saved: of which stream, key and period, and what is known of it."""
        for stream, grid in self.grids.items():
            for key, series in grid.series.items():
                for number, period in series.open.items():
                    if period.offset is not None:
                        yield stream, key, number, period

    def count_from(self, offset: int) -> None:
        """The topic was made anew, and its first message has this offset: what goes by offsets is of no use."""
        self.known = self.next = offset
        self.saved = -1
        for *_, period in self.read_again():
            period.offset = offset
        for stream, grid in self.grids.items():
            for key, series in grid.series.items():
                series.progress.born = 0
                self.changed[stream, key] = None


class GridStep:
    """See `driftline.worker.step.Step`. dropped: gets the stream and the reason, one of DROPPED. on_period: gets a
    stream and what is wrong with its period, such as that most of its periods have no observation, or None.
    left_behind: gets the stream of a saved state that can't be read: its series begins again."""

    def __init__(
        self,
        streams: Mapping[str, StreamDefinition],
        dropped: Callable[[str, str], None],
        on_period: Callable[[str, str | None], None] = lambda *_: None,
        left_behind: Callable[[str], None] = lambda _: None,
        *,
        longest_span: int = LONGEST_SPAN,
    ) -> None:
        self._streams = streams
        self._rules = PerStream(streams, GridRule.of)
        self._dropped = dropped
        self._on_period = on_period
        self._left_behind = left_behind
        self._longest_span = longest_span
        self._partitions: dict[int, GridPartition] = {}
        self._steps: dict[str, LiveSteps] = {}
        self._kept: dict[int, int] = {}

    def step(self, batch: Sequence[Envelope[Observation]]) -> list[Output]:
        outputs: list[Output] = []
        touched: dict[tuple[int, str], None] = {}
        for envelope in batch:
            records = self._observe(envelope)
            outputs += [Output(envelope.partition, RECORDS, record) for record in records]
            touched[envelope.partition, envelope.value.stream] = None
        for partition, stream in touched:
            self._take_out(self._partitions[partition], stream)
        return outputs

    def _observe(self, envelope: Envelope[Observation]) -> list[Record]:
        partition, observation = self._partitions.setdefault(envelope.partition, GridPartition()), envelope.value
        partition.next = max(partition.next, envelope.offset + 1)
        definition = self._streams[observation.stream]
        grid = self._grid(partition, definition)
        is_astray = astray(observation.t, envelope.timestamp, definition.time.tolerance)
        if envelope.offset < partition.known:
            if not is_astray:
                grid.observe_again(observation, envelope.offset)
            return []
        if is_astray:
            self._dropped(observation.stream, "astray")
            return []
        records, in_time = grid.observe(observation, envelope.offset)
        if not in_time:
            self._dropped(observation.stream, "late")
        return records

    def _grid(self, partition: GridPartition, definition: StreamDefinition) -> StreamGrid:
        """That of a stream, with its states from before if it is known only now."""
        grid, rule = partition.grids.get(definition.name), self._rules[definition.name]
        if grid is not None:
            if grid.rule is not rule:
                # A stream more takes its columns from the source.
                grid.follow(rule)
            return grid
        grid = partition.grids[definition.name] = StreamGrid(rule)
        grid.set_time(partition.times.get(definition.name, 0))
        for key, state in partition.waiting.pop(definition.name, {}).items():
            try:
                grid.restore(key, msgspec.msgpack.decode(state, type=SeriesProgress))
            except msgspec.DecodeError:
                self._left_behind(definition.name)
        return grid

    def _take_out(self, partition: GridPartition, stream: str) -> None:
        """What the grid has to say beside its records."""
        grid = partition.grids[stream]
        for key in grid.changed:
            partition.changed[stream, key] = None
        grid.changed.clear()
        if grid.steps:
            self._judge(stream, grid.steps)
            grid.steps.clear()

    def _judge(self, stream: str, steps: Sequence[int]) -> None:
        if stream not in self._steps:
            self._steps[stream] = LiveSteps(
                self._streams[stream], lambda verdict: self._on_period(stream, verdict), of_a_grid=True
            )
        self._steps[stream].add(np.array(steps, dtype=np.int64))

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        owned = self._partitions.setdefault(partition, GridPartition())
        for name, state in states.items():
            if name == TIMES and state is not None:
                times = msgspec.msgpack.decode(state, type=GridTimes)
                owned.times, owned.known = dict(times.newest), times.next
                continue
            stream, key = name.split("/", 1)
            if state is None:
                owned.waiting.get(stream, {}).pop(key, None)
            else:
                owned.waiting.setdefault(stream, {})[key] = state

    def begin(self, assignment: Assignment) -> bool:
        owned = self._partitions[assignment.partition]
        owned.next = owned.known = max(owned.known, assignment.position)
        # What is silent from now on must be known as well.
        for stream in [stream for stream in owned.waiting if stream in self._streams]:
            if self._streams[stream].grid is not None:
                self._grid(owned, self._streams[stream])
        if assignment.rewound:
            owned.count_from(assignment.position)
        return assignment.rewound

    def begin_again(self, partition: int, position: int) -> None:
        """What is settled is known by time, which the new topic shares with the old one; offsets are counted anew."""
        self._partitions[partition].count_from(position)

    def replay(self, batch: Sequence[Envelope[Observation]]) -> None:
        raise AssertionError(f"found {len(batch)} answered messages, expected none: states are saved with the position")

    def begin_round(self, partition: int, restart: int) -> dict[str, bytes]:  # noqa: ARG002
        owned = self._partitions[partition]
        for stream, key, number, period in list(owned.read_again()):
            if period.offset is not None and owned.next - period.offset > self._longest_span:
                period.offset = None
                owned.grids[stream].series[key].progress.kept[number] = period.readings
                owned.changed[stream, key] = None
        if owned.saved == owned.next:
            return {}
        owned.saved = owned.next
        times = owned.times | {stream: grid.newest for stream, grid in owned.grids.items()}
        return {TIMES: msgspec.msgpack.encode(GridTimes(owned.next, times))}

    def left(self, partition: int) -> int:
        return len(self._partitions[partition].changed)

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        owned = self._partitions[partition]
        given = list(islice(owned.changed, limit))
        for series in given:
            del owned.changed[series]
        return {f"{stream}/{key}": self._saved(owned, stream, key) for stream, key in given}

    def unsaved(self, partition: int) -> int:
        return self.left(partition)

    @staticmethod
    def _saved(partition: GridPartition, stream: str, key: str) -> bytes | None:
        series = partition.grids[stream].series.get(key)
        return None if series is None else msgspec.msgpack.encode(series.progress)

    def resume_at(self, partition: int, consumed: int) -> int:
        """A restart reads again what is in open periods."""
        opened = self._partitions[partition].read_again()
        position = min((period.offset for *_, period in opened if period.offset is not None), default=consumed)
        self._kept[partition] = consumed - position
        return min(position, consumed)

    def kept(self, partition: int) -> int:
        """Messages that were worked off at the last checkpoint, and that a restart reads again all the same."""
        return self._kept.get(partition, 0)

    def release(self, partition: int) -> bool:
        self._partitions.pop(partition, None)
        self._kept.pop(partition, None)
        return False
