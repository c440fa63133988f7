"""Where everything lies: of each partition its messages, of each checkpoint its position and states. Pure.

It is made by applying entries in the order in which they were written, and never ahead of the disk.
"""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct

import msgspec

from driftline.bus.embedded.frames import Entry, Kind

RESTART = Struct("<Q")
RESTART_AND_AGE = Struct("<QQ")
"""The age is given where a checkpoint is repeated: it is not that of the frame."""


class Location(msgspec.Struct, frozen=True, gc=False):
    """Where an entry lies: a segment's number, and a position in it."""

    segment: int
    position: int


@dataclass
class SegmentSpan:
    """The messages of one partition in one segment: positions of those from offset `first` on."""

    segment: int
    first: int
    positions: "array[int]" = field(default_factory=lambda: array("I"))

    @property
    def end(self) -> int:
        return self.first + len(self.positions)


class Label(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a label id means: a partition of a topic, or a group's checkpoint of it."""

    topic: str
    partition: int
    group: str | None = None


@dataclass
class PartitionLog:
    """The messages of a partition: those from `first` to before `end` are here."""

    label_id: int
    label: Label
    is_named: bool = False
    """Whether its label is written."""
    first: int = 0
    end: int = 0
    spans: list[SegmentSpan] = field(default_factory=list)
    staged: int = 0
    """Where the messages end that are about to be written; 0 where there are none."""

    @property
    def next(self) -> int:
        """The offset that the next message gets."""
        return max(self.end, self.staged)

    def note(self, segment: int, offset: int, position: int) -> None:
        """A message that lies there. One whose offset is known replaces that and all behind it."""
        if offset < self.end:
            self._rewind(offset)
        elif offset > self.end:
            self.begin_at(offset)
        if not self.spans or self.spans[-1].segment != segment:
            self.spans.append(SegmentSpan(segment, offset))
        self.spans[-1].positions.append(position)
        self.end = offset + 1

    def _rewind(self, offset: int) -> None:
        while self.spans and self.spans[-1].first >= offset:
            self.spans.pop()
        if self.spans:
            last = self.spans[-1]
            del last.positions[offset - last.first :]
        self.end = offset
        self.first = min(self.first, offset)

    def begin_at(self, offset: int) -> None:
        """Nothing before the offset is here any more."""
        self.spans.clear()
        self.first = self.end = offset

    def add(self, span: SegmentSpan) -> None:
        """What an index says of a segment that is newer than all before."""
        if span.first < self.end:
            self._rewind(span.first)
        elif span.first > self.end:
            self.begin_at(span.first)
        self.spans.append(span)
        self.end = span.end

    def drop_before(self, offset: int) -> None:
        self.first = max(self.first, min(offset, self.end))
        while self.spans and self.spans[0].end <= self.first:
            self.spans.pop(0)

    def span(self, start: int, limit: int) -> SegmentSpan | None:
        """Of the messages from `start` on, or from the first that is here, at most `limit` that lie in one segment;
        None behind the end."""
        start = max(start, self.first)
        number = bisect_right(self.spans, start, key=lambda span: span.first) - 1
        if start >= self.end or number < 0:
            return None
        whole = self.spans[number]
        begin = start - whole.first
        return SegmentSpan(whole.segment, start, whole.positions[begin : begin + limit])


@dataclass
class SavedCheckpoint:
    """What a group wrote last of a partition. `position` is None before its first checkpoint."""

    label_id: int
    label: Label
    is_named: bool = False
    position: int | None = None
    restart: int = 0
    """The input from here on must be stepped through again with the states; never behind `position`."""
    age: int = 0
    """Of the folder, when it was written, in ms."""
    states: dict[str, Location] = field(default_factory=dict)


class SegmentIndex(msgspec.Struct, frozen=True, array_like=True):
    """What one segment holds, so that it need not be read whole."""

    spans: list[tuple[int, int, bytes]]
    """Label id, first offset and positions."""
    states: list[tuple[int, str, int]]
    """Label id, series and position."""
    forgotten: list[tuple[int, str]]


class Contents:
    """What all segments hold."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, int], PartitionLog] = {}
        self.checkpoints: dict[tuple[str, str, int], SavedCheckpoint] = {}
        self._by_label_id: dict[int, PartitionLog | SavedCheckpoint] = {}
        self._forgotten: dict[int, set[tuple[int, str]]] = defaultdict(set)

    def log(self, topic: str, partition: int) -> PartitionLog:
        """That of a partition, which is new where nothing was written to it yet."""
        if (topic, partition) not in self.logs:
            self._add_log(PartitionLog(self._next_label_id(), Label(topic, partition)))
        return self.logs[topic, partition]

    def checkpoint(self, group: str, topic: str, partition: int) -> SavedCheckpoint:
        if (group, topic, partition) not in self.checkpoints:
            self._add_checkpoint(SavedCheckpoint(self._next_label_id(), Label(topic, partition, group)))
        return self.checkpoints[group, topic, partition]

    def _next_label_id(self) -> int:
        return max(self._by_label_id, default=0) + 1

    def _add_log(self, log: PartitionLog) -> None:
        self.logs[log.label.topic, log.label.partition] = self._by_label_id[log.label_id] = log

    def _add_checkpoint(self, saved: SavedCheckpoint) -> None:
        self.checkpoints[saved.label.group or "", saved.label.topic, saved.label.partition] = saved
        self._by_label_id[saved.label_id] = saved

    def apply(self, segment: int, age: int, placed: Iterable[tuple[int, Entry]]) -> None:
        """Entries of a segment with their positions."""
        for position, entry in placed:
            if entry.kind is Kind.NAME:
                self._name(entry)
            else:
                self._apply(Location(segment, position), age, entry)

    def _name(self, entry: Entry) -> None:
        if entry.label_id not in self._by_label_id:
            label = msgspec.json.decode(entry.payload, type=Label)
            if label.group is None:
                self._add_log(PartitionLog(entry.label_id, label))
            else:
                self._add_checkpoint(SavedCheckpoint(entry.label_id, label))
        self._by_label_id[entry.label_id].is_named = True

    def _apply(self, location: Location, age: int, entry: Entry) -> None:
        match self._by_label_id[entry.label_id], entry.kind:
            case PartitionLog() as log, Kind.MESSAGE:
                log.note(location.segment, entry.number, location.position)
            case PartitionLog() as log, Kind.END if entry.number > log.end:
                log.begin_at(entry.number)
            case SavedCheckpoint() as saved, Kind.POSITION:
                saved.position = entry.number
                saved.restart, saved.age = _restart_and_age(entry.payload, age)
            case SavedCheckpoint() as saved, Kind.STATE:
                saved.states[entry.payload[: entry.number].decode()] = location
            case SavedCheckpoint() as saved, Kind.FORGOTTEN:
                saved.states.pop(entry.payload.decode(), None)
                self._forgotten[location.segment].add((entry.label_id, entry.payload.decode()))

    def index(self, segment: int) -> SegmentIndex:
        """Of a segment to which nothing is added any more."""
        return SegmentIndex(
            [
                (log.label_id, span.first, span.positions.tobytes())
                for log in self.logs.values()
                for span in log.spans
                if span.segment == segment
            ],
            [(saved.label_id, name, location.position) for saved, name, location in self.states_in(segment)],
            sorted(self._forgotten[segment]),
        )

    def apply_index(self, segment: int, index: SegmentIndex) -> None:
        """Instead of the segment's entries; their labels must be known."""
        for label_id, first, positions in index.spans:
            log = self._by_label_id[label_id]
            if isinstance(log, PartitionLog):
                log.add(SegmentSpan(segment, first, array("I", positions)))
        for label_id, name in index.forgotten:
            self._states(label_id).pop(name, None)
            self._forgotten[segment].add((label_id, name))
        for label_id, name, position in index.states:
            self._states(label_id)[name] = Location(segment, position)

    def _states(self, label_id: int) -> dict[str, Location]:
        saved = self._by_label_id[label_id]
        return saved.states if isinstance(saved, SavedCheckpoint) else {}

    def states_in(self, segment: int) -> Iterator[tuple[SavedCheckpoint, str, Location]]:
        """The states that are the newest of their series, and lie in this segment."""
        for saved in self.checkpoints.values():
            for name, location in saved.states.items():
                if location.segment == segment:
                    yield saved, name, location

    def is_in(self, label_id: int, segment: int) -> bool:
        """Whether the newest messages of a partition lie in this segment."""
        log = self._by_label_id[label_id]
        return isinstance(log, PartitionLog) and bool(log.spans) and log.spans[-1].segment == segment

    def logs_in(self, segment: int) -> Sequence[PartitionLog]:
        return [log for log in self.logs.values() if any(part.segment == segment for part in log.spans)]

    def summary(self, now: float) -> list[Entry]:
        """What every segment begins with, so that those before it are not needed for it: labels, ends, positions."""
        named = [known for known in self._by_label_id.values() if known.is_named]
        return [
            *(label_of(known, now) for known in named),
            *(Entry(Kind.END, log.label_id, log.end, now, b"") for log in named if isinstance(log, PartitionLog)),
            *(
                _repeated(saved, saved.position, now)
                for saved in named
                if isinstance(saved, SavedCheckpoint) and saved.position is not None
            ),
        ]

    def drop(self, segment: int) -> None:
        """All that lies in the oldest segment is gone."""
        for log in self.logs.values():
            for span in [span for span in log.spans if span.segment == segment]:
                log.drop_before(span.end)
        self._forgotten.pop(segment, None)


def label_of(known: PartitionLog | SavedCheckpoint, now: float) -> Entry:
    return Entry(Kind.NAME, known.label_id, 0, now, msgspec.json.encode(known.label))


def position_of(saved: SavedCheckpoint, position: int, restart: int, now: float) -> Entry:
    return Entry(Kind.POSITION, saved.label_id, position, now, RESTART.pack(restart))


def _repeated(saved: SavedCheckpoint, position: int, now: float) -> Entry:
    return Entry(Kind.POSITION, saved.label_id, position, now, RESTART_AND_AGE.pack(saved.restart, saved.age))


def _restart_and_age(payload: bytes, age: int) -> tuple[int, int]:
    """age: of the frame."""
    if len(payload) == RESTART.size:
        return int(RESTART.unpack(payload)[0]), age
    restart, written = RESTART_AND_AGE.unpack(payload)
    return restart, written


def states_of(saved: SavedCheckpoint, states: Mapping[str, bytes | None], now: float) -> Iterator[Entry]:
    for name, state in states.items():
        if state is None:
            yield Entry(Kind.FORGOTTEN, saved.label_id, 0, now, name.encode())
        else:
            encoded = name.encode()
            yield Entry(Kind.STATE, saved.label_id, len(encoded), now, encoded + state)
