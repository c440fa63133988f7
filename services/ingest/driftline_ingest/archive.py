"""The pure step of the archive: messages in, windows of a series out, named by their offsets alone.

A window begins and ends at offsets that depend on the topic's content only, never on where a batch was cut, so what is
done again after a crash writes the same object under the same name.
"""

from __future__ import annotations  # array[float] is a type for checkers only

from array import array
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol
from urllib.parse import quote

import msgspec

from driftline.bus import Envelope
from driftline.clock import astray
from driftline.keyed import Series, Timed, Timed_contra

LONGEST_SPAN = 50_000
"""Messages of a partition after which a window is written although it isn't full: a series that went silent must not
hold the position back for ever."""


NEVER = -1
"""Before all times."""


class Packing(Protocol[Timed_contra]):
    """How messages lie in memory and in a file."""

    kind: str
    """The first part of the objects' names."""

    def size(self, stream: str) -> int:
        """Messages in a full window."""

    def ahead(self, stream: str) -> int:
        """Seconds by which a record may be ahead of the clock."""

    def patience(self, stream: str) -> int:
        """Messages that came without their truth and may still be completed."""

    def lacks(self, message: Timed_contra) -> bool:
        """Whether its truth is missing."""

    def pack(self, message: Timed_contra) -> array[float]:
        """A message as a few numbers, for the time until its window is full."""

    def encode(self, stream: str, key: str, rows: Sequence[array[float]]) -> bytes:
        """The file."""


@dataclass(frozen=True)
class Window:
    """Messages of one series, from offset `first` to `last`."""

    kind: str
    stream: str
    key: str
    first: int
    last: int
    rows: Sequence[array[float]]

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.stream}/{quote(self.key, safe='')}/{self.first:012d}-{self.last:012d}.parquet"


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series: everything before offset `next` is archived, up to time `t`. `awaited`: times of
    archived messages without their truth."""

    next: int
    t: int
    awaited: tuple[int, ...] = ()


@dataclass
class _Pending:
    """The window that is being filled."""

    first: int
    last: int
    t: int
    rows: list[array[float]] = field(default_factory=list)
    lacking: dict[int, int] = field(default_factory=dict)
    """By time the places of rows without their truth."""
    brought: set[int] = field(default_factory=set)
    """Times of rows that are truths for windows that are written already: readers take the row that has it."""

    def awaited(self, progress: Progress | None) -> tuple[int, ...]:
        """Times of all messages so far without their truth."""
        before = progress.awaited if progress else ()
        return (*(t for t in before if t not in self.brought), *self.lacking)


@dataclass
class _Partition:
    """What is known of a partition that is owned here. `pending` is in the order of first offsets."""

    progress: dict[Series, Progress] = field(default_factory=dict)
    pending: OrderedDict[Series, _Pending] = field(default_factory=OrderedDict)
    changed: set[Series] = field(default_factory=set)

    def last_t(self, series: Series) -> int | None:
        """Time of the newest message of a series that was taken in."""
        pending, progress = self.pending.get(series), self.progress.get(series)
        return pending.t if pending else progress.t if progress else None


class ArchiveStep(Generic[Timed]):
    """See `driftline.loop.Step`; its outputs are windows, for a sink that writes them."""

    def __init__(
        self, packing: Packing[Timed], dropped: Callable[[str, str], None], *, longest_span: int = LONGEST_SPAN
    ) -> None:
        self._packing = packing
        self._dropped = dropped
        self._longest_span = longest_span
        self._partitions: dict[int, _Partition] = {}

    def step(self, batch: Sequence[Envelope[Timed]]) -> list[Window]:
        windows: list[Window] = []
        for envelope in batch:
            partition = self._partitions.setdefault(envelope.partition, _Partition())
            windows += self._overdue(partition, envelope.offset)
            windows += self._add(partition, envelope)
        return windows

    def _add(self, partition: _Partition, envelope: Envelope[Timed]) -> list[Window]:
        message = envelope.value
        series = (message.stream, message.key)
        progress = partition.progress.get(series)
        if progress is not None and envelope.offset < progress.next:
            return []
        last_t = partition.last_t(series)
        if last_t is not None and message.t < last_t and self._is_lost(last_t, envelope):
            self._leave_behind(partition, series, envelope)
            last_t = partition.last_t(series)
        pending = partition.pending.get(series)
        if last_t is not None and message.t <= last_t:
            if not self._completes(partition, series, message):
                self._dropped(message.stream, "repeated" if message.t == last_t else "out_of_order")
                return []
            if pending is not None and message.t in pending.lacking:
                pending.rows[pending.lacking.pop(message.t)] = self._packing.pack(message)
                return []
        return self._append(partition, series, envelope)

    def _is_lost(self, last_t: int, envelope: Envelope[Timed]) -> bool:
        """As in `driftline.keyed`: whether a series stands at a time that can't be."""
        arrived, ahead = envelope.timestamp, self._packing.ahead(envelope.value.stream)
        return astray(last_t, arrived, ahead) and not astray(envelope.value.t, arrived, ahead)

    def _leave_behind(self, partition: _Partition, series: Series, envelope: Envelope[Timed]) -> None:
        """Takes the times that can't be out of a series."""
        arrived, ahead = envelope.timestamp, self._packing.ahead(envelope.value.stream)
        progress, pending = partition.progress.get(series), partition.pending.get(series)
        if progress is not None and astray(progress.t, arrived, ahead):
            partition.progress[series] = Progress(progress.next, NEVER)
            partition.changed.add(series)
        if pending is None:
            return
        pending.rows = [row for row in pending.rows if not astray(int(row[0]), arrived, ahead)]
        pending.lacking = {t: place for t, place in pending.lacking.items() if not astray(t, arrived, ahead)}
        if pending.rows:
            pending.t = int(max(row[0] for row in pending.rows))
        else:
            del partition.pending[series]

    def _completes(self, partition: _Partition, series: Series, message: Timed) -> bool:
        """Whether it brings a truth that was missing."""
        pending, progress = partition.pending.get(series), partition.progress.get(series)
        awaited = pending.awaited(progress) if pending else progress.awaited if progress else ()
        return message.t in awaited and not self._packing.lacks(message)

    def _append(self, partition: _Partition, series: Series, envelope: Envelope[Timed]) -> list[Window]:
        message, progress = envelope.value, partition.progress.get(series)
        pending = partition.pending.get(series)
        if pending is None:
            pending = partition.pending[series] = _Pending(envelope.offset, envelope.offset, message.t)
        if progress is not None and message.t <= progress.t:
            pending.brought.add(message.t)
            pending.t = max(pending.t, progress.t)
        elif self._packing.lacks(message):
            pending.lacking[message.t] = len(pending.rows)
        pending.last, pending.t = envelope.offset, max(pending.t, message.t)
        pending.rows.append(self._packing.pack(message))
        full = len(pending.rows) >= self._packing.size(message.stream)
        return [self._close(partition, series)] if full else []

    def _overdue(self, partition: _Partition, offset: int) -> list[Window]:
        windows = []
        while partition.pending:
            series, oldest = next(iter(partition.pending.items()))
            if offset - oldest.first <= self._longest_span:
                break
            windows.append(self._close(partition, series))
        return windows

    def _close(self, partition: _Partition, series: Series) -> Window:
        pending = partition.pending.pop(series)
        awaited = pending.awaited(partition.progress.get(series))[-self._packing.patience(series[0]) :]
        partition.progress[series] = Progress(pending.last + 1, pending.t, awaited)
        partition.changed.add(series)
        return Window(self._packing.kind, *series, pending.first, pending.last, pending.rows)

    def restore(self, partition: int, states: Mapping[str, bytes]) -> None:
        progress: dict[Series, Progress] = {}
        for name, data in states.items():
            stream, key = name.split("/", 1)
            progress[stream, key] = msgspec.msgpack.decode(data, type=Progress)
        self._partitions[partition] = _Partition(progress)

    def snapshot(self, partition: int) -> dict[str, bytes]:
        owned = self._partitions[partition]
        changed, owned.changed = owned.changed, set()
        return {f"{stream}/{key}": msgspec.msgpack.encode(owned.progress[stream, key]) for stream, key in changed}

    def resume_at(self, partition: int, consumed: int) -> int:
        """A restart reads again what is not in a window yet."""
        pending = self._partitions[partition].pending
        return next(iter(pending.values())).first if pending else consumed

    def release(self, partition: int) -> None:
        self._partitions.pop(partition, None)
