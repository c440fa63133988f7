"""What is written together or not at all, as the entries of a frame. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from driftline.bus.embedded.contents import (
    PartitionLog,
    SavedCheckpoint,
    label_of,
    position_of,
    states_of,
)
from driftline.bus.embedded.frames import ENTRY_BYTES, Entry, Kind


class CheckpointWrite(msgspec.Struct, frozen=True):
    """A checkpoint to be written. `restart`: from where on its input is stepped through again with the
    states."""

    saved: SavedCheckpoint
    position: int
    restart: int
    states: Mapping[str, bytes | None]


class Commit(msgspec.Struct, frozen=True):
    """Messages and a checkpoint in one. `time`: seconds since the epoch. `room`: bytes for which there must be space
    besides."""

    time: float
    messages: Sequence[tuple[PartitionLog, bytes]] = ()
    checkpoint: CheckpointWrite | None = None
    room: int = 0

    def size(self) -> int:
        """Bytes, about."""
        states = self.checkpoint.states.values() if self.checkpoint else ()
        return sum(len(payload) for _, payload in self.messages) + sum(len(state or b"") for state in states)


def parts(messages: Iterable[tuple[PartitionLog, bytes]], limit: int) -> Iterator[Sequence[tuple[PartitionLog, bytes]]]:
    """In their order, each of at most so many bytes, unless one message has more."""
    part: list[tuple[PartitionLog, bytes]] = []
    size = 0
    for message in messages:
        length = ENTRY_BYTES + len(message[1])
        if part and size + length > limit:
            yield part
            part, size = [], 0
        part.append(message)
        size += length
    if part:
        yield part


@dataclass
class FrameLayout:
    """The entries of several commits; offsets count on from what is on the disk."""

    entries: list[Entry] = field(default_factory=list)
    _ends: dict[int, int] = field(default_factory=dict)
    _labelled: set[int] = field(default_factory=set)

    def add(self, commit: Commit) -> None:
        for partition, payload in commit.messages:
            self._label(partition, commit.time)
            offset = self._ends.get(partition.label_id, partition.end)
            self._ends[partition.label_id] = offset + 1
            self.entries.append(Entry(Kind.MESSAGE, partition.label_id, offset, commit.time, payload))
        if (checkpoint := commit.checkpoint) is not None:
            self._label(checkpoint.saved, commit.time)
            self.entries += states_of(checkpoint.saved, checkpoint.states, commit.time)
            self.entries.append(position_of(checkpoint.saved, checkpoint.position, checkpoint.restart, commit.time))

    def _label(self, known: PartitionLog | SavedCheckpoint, now: float) -> None:
        if not known.is_named and known.label_id not in self._labelled:
            self._labelled.add(known.label_id)
            self.entries.append(label_of(known, now))
