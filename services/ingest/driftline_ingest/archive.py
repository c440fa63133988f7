"""The pure step of the archive: messages in, windows of a series out, named by their times.

A window begins and ends where the topic's content alone says, never where a batch was cut, so what is done again after
a crash is the same window under the same name. What is archived is known by time, not by offset: a topic that was made
anew counts from 0 again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic

import msgspec

from driftline.bus.port import Assignment, Envelope
from driftline.clock import astray
from driftline.messages import Gap
from driftline.worker.silence import BEGINNING
from driftline.worker.stream_step import Series, Timed
from driftline_ingest.archived_futures import add_future, close_futures
from driftline_ingest.archived_partitions import ArchivedPartitions
from driftline_ingest.census import SeriesCounter, Uncounted
from driftline_ingest.known_ticks import KnownTicks
from driftline_ingest.missed import MissedMessages
from driftline_ingest.open_windows import (
    NEVER,
    ArchivedPartition,
    OpenWindow,
    Progress,
    RowLacking,
    first_before,
    merged,
)
from driftline_ingest.packing import Columns, FullWindow, Packing

LONGEST_SPAN = 50_000
"""Messages of a partition after which a window is written although it isn't full: a series that went silent must not
hold the position back for ever."""
SILENT_AT_ONCE = 10
"""Silent series that are looked at with one message, so that none takes long."""


class ArchiveStep(Generic[Timed]):
    """See `driftline.worker.step.Step`; its outputs are windows, for a sink that writes them."""

    def __init__(
        self,
        packing: Packing[Timed],
        dropped: Callable[[str, str], None],
        *,
        longest_span: int = LONGEST_SPAN,
        census: SeriesCounter | None = None,
        lost: Callable[[Gap], None] = lambda _: None,
    ) -> None:
        """dropped: called with the stream and reason of a message that is left out. lost: called with what the bus has
        dropped, as far as the series that it was of are heard of again."""
        self._packing = packing
        self._dropped = dropped
        self._longest_span = longest_span
        self._partitions = ArchivedPartitions(census or Uncounted())
        self._lost = lost
        self._missed = MissedMessages()

    def miss(self, messages: int) -> None:
        """The bus has dropped so many before they were read. Whose they were is seen by the next of each series."""
        self._missed.add(messages, self._partitions.series())

    def step(self, batch: Sequence[Envelope[Timed]]) -> list[FullWindow]:
        windows: list[FullWindow] = []
        for envelope in batch:
            partition = self._partitions.of(envelope.partition)
            # This order is part of the windows' content: old windows are closed before the message can enter one.
            windows += self._overdue(partition, envelope.offset)
            futures = self._packing.futures
            if futures is not None and (issued := futures.issued(envelope.value)) is not None:
                windows += add_future(partition, envelope, issued, futures)
                continue
            windows += self._silent(partition, envelope)
            self._meet(partition, envelope)
            windows += self._add(partition, envelope)
        return windows

    def _add(self, partition: ArchivedPartition, envelope: Envelope[Timed]) -> list[FullWindow]:
        message = envelope.value
        series = (message.stream, message.key)
        progress = partition.progress.get(series)
        last_t = partition.last_t(series)
        if last_t is not None and message.t < last_t and self._is_lost(last_t, envelope):
            # Changes the progress and the open window, so the newest time is looked up again.
            self._leave_behind(partition, series, envelope)
            last_t = partition.last_t(series)
        if self._missed and last_t is not None:
            self._explain(series, last_t, message.t)
        pending = partition.pending.get(series)
        if last_t is not None and message.t <= last_t:
            left = self._left(partition, series, message)
            if left is None and self._is_late(partition, envelope, last_t):
                return [
                    *self._of_other_group(partition, series, message),
                    *self._append(partition, series, envelope),
                ]
            if left is None:
                # A message from before is read again after a restart, and was counted then.
                if progress is None or envelope.offset >= progress.next:
                    self._dropped(message.stream, "repeated" if message.t == last_t else "out_of_order")
                return []
            if pending is not None and message.t in pending.lacking:
                # The record's own row still waits in the open window; otherwise the truth goes into the next one.
                self._complete(pending, message, left)
                return []
        return [*self._of_other_group(partition, series, message), *self._append(partition, series, envelope)]

    def _explain(self, series: Series, last_t: int, t: int) -> None:
        """Reports what may be missing of a series between two of its times."""
        gap = self._missed.explain(series, self._packing.kind, last_t, t, self._packing.period(series[0]))
        if gap is not None:
            self._lost(gap)

    def _is_late(self, partition: ArchivedPartition, envelope: Envelope[Timed], last_t: int) -> bool:
        """Whether it is a record that comes late, and no other of its period is archived. What is read again after a
        restart is none."""
        message = envelope.value
        series = (message.stream, message.key)
        if envelope.offset < partition.progress[series].next:
            return False
        if last_t - message.t > self._packing.longest_silence(message.stream):
            return False
        return not self._ticks(partition, series).knows(message.t)

    def _ticks(self, partition: ArchivedPartition, series: Series) -> KnownTicks:
        """Those of a series that is known."""
        ticks = partition.ticks.get(series)
        if ticks is None:
            progress = partition.progress[series]
            restored = KnownTicks.restored(self._packing.period(series[0]), progress.ticks, progress.t)
            ticks = partition.ticks[series] = restored
        return ticks

    def _of_other_group(self, partition: ArchivedPartition, series: Series, message: Timed) -> list[FullWindow]:
        """Writes what there is of a series that moves to another group: a window is of one."""
        pending = partition.pending.get(series)
        if pending is None or pending.group == self._packing.group(message):
            return []
        return [self._close(partition, series)]

    def _meet(self, partition: ArchivedPartition, envelope: Envelope[Timed]) -> None:
        """A series is known from its first message on, not only from its first window."""
        message = envelope.value
        series = (message.stream, message.key)
        if series not in partition.progress:
            # As if everything before its first message were archived.
            ticks = KnownTicks.beginning(self._packing.period(message.stream), message.t)
            progress = Progress(envelope.offset, message.t - 1, foreseen=envelope.offset, ticks=ticks.saved())
            self._partitions.meet(envelope.partition, series, progress, ticks)
        partition.heard[message.stream].hear(message.key, self._stream_time(envelope))

    def _stream_time(self, envelope: Envelope[Timed]) -> int:
        """As in `driftline.worker.keyed`: a time that can't be is no time of the stream."""
        message = envelope.value
        lost = astray(message.t, envelope.timestamp, self._packing.ahead(message.stream))
        return BEGINNING if lost else message.t

    def _silent(self, partition: ArchivedPartition, envelope: Envelope[Timed]) -> list[FullWindow]:
        """Writes what there is of silent series, and forgets them: SILENT_AT_ONCE at most with each message."""
        windows: list[FullWindow] = []
        stream, heard = envelope.value.stream, partition.heard[envelope.value.stream]
        if envelope.offset < partition.behind:
            return windows
        heard.advance(self._stream_time(envelope))
        for _ in range(SILENT_AT_ONCE):
            key = heard.first_silent(self._packing.longest_silence(stream))
            if key is None:
                break
            if (stream, key) in partition.futures:
                windows.append(close_futures(partition, (stream, key)))
            elif (stream, key) in partition.pending:
                # Written now, forgotten in the next turn: the key stays the first silent one until then.
                windows.append(self._close(partition, (stream, key)))
            elif self._is_read_again(partition, (stream, key)):
                break
            else:
                self._partitions.forget(envelope.partition, (stream, key))
        return windows

    def _is_read_again(self, partition: ArchivedPartition, series: Series) -> bool:
        """Whether a restart reads messages of it again, which only its progress distinguishes from new ones."""
        oldest = partition.oldest()
        return oldest is not None and oldest < partition.progress[series].next

    def _is_lost(self, last_t: int, envelope: Envelope[Timed]) -> bool:
        """As in `driftline.worker.keyed`: whether a series stands at a time that can't be."""
        arrived, ahead = envelope.timestamp, self._packing.ahead(envelope.value.stream)
        return astray(last_t, arrived, ahead) and not astray(envelope.value.t, arrived, ahead)

    def _leave_behind(self, partition: ArchivedPartition, series: Series, envelope: Envelope[Timed]) -> None:
        """Takes the times that can't be out of a series."""
        arrived, ahead = envelope.timestamp, self._packing.ahead(envelope.value.stream)
        progress, pending = partition.progress.get(series), partition.pending.get(series)
        self._ticks(partition, series).leave(lambda t: astray(t, arrived, ahead))
        if progress is not None and astray(progress.t, arrived, ahead):
            ticks = KnownTicks.restored(self._packing.period(series[0]), progress.ticks, progress.t)
            ticks.leave(lambda t: astray(t, arrived, ahead))
            partition.progress[series] = msgspec.structs.replace(
                progress, t=NEVER, awaited=(), truths=0, ticks=ticks.saved()
            )
            partition.changed.add(series)
        if pending is None:
            return
        pending.keep(lambda t: not astray(t, arrived, ahead))
        if not pending.rows:
            del partition.pending[series]

    def _left(self, partition: ArchivedPartition, series: Series, message: Timed) -> Columns | None:
        """What is missing of its time even with this message; None where it brings no truth that was missing."""
        truths = self._packing.truths(message.stream)
        lacking = partition.lacks(series, message.t, truths)
        missing = self._packing.lacks(message)
        left = tuple(name for name in lacking if name in missing)
        return None if left == lacking else left

    def _complete(self, pending: OpenWindow, message: Timed, left: Columns) -> None:
        index, _ = pending.lacking[message.t]
        row = self._packing.pack(message)
        if len(self._packing.truths(message.stream)) > 1:
            # It may bring one of several alone.
            row = merged(pending.rows[index], row)
        pending.rows[index] = row
        if left:
            pending.lacking[message.t] = RowLacking(index, left)
        else:
            del pending.lacking[message.t]

    def _append(self, partition: ArchivedPartition, series: Series, envelope: Envelope[Timed]) -> list[FullWindow]:
        message, progress = envelope.value, partition.progress.get(series)
        pending = partition.pending.get(series)
        if pending is None:
            pending = partition.pending[series] = OpenWindow(
                envelope.offset, envelope.offset, message.t, self._packing.group(message)
            )
        if progress is not None and message.t <= progress.t:
            # A truth for a window that is written, or a late record among its times: one more row, but no new time.
            left = self._left(partition, series, message)
            pending.brought[message.t] = self._packing.lacks(message) if left is None else left
            pending.t = max(pending.t, progress.t)
        else:
            # A record that no window has: from here on the window has times of its own.
            if pending.first_t is None or message.t < pending.first_t:
                pending.first_t = message.t
            if lacks := self._packing.lacks(message):
                pending.lacking[message.t] = RowLacking(len(pending.rows), lacks)
        pending.last, pending.t = envelope.offset, max(pending.t, message.t)
        pending.rows.append(self._packing.pack(message))
        self._ticks(partition, series).add(message.t)
        full = len(pending.rows) >= self._packing.size(message.stream)
        return [self._close(partition, series)] if full else []

    def _overdue(self, partition: ArchivedPartition, offset: int) -> list[FullWindow]:
        windows = []
        while (series := first_before(partition.pending, offset - self._longest_span)) is not None:
            windows.append(self._close(partition, series))
        while (series := first_before(partition.futures, offset - self._longest_span)) is not None:
            windows.append(close_futures(partition, series))
        return windows

    def _close(self, partition: ArchivedPartition, series: Series) -> FullWindow:
        pending, before = partition.pending.pop(series), partition.progress[series]
        # The oldest beyond the patience are given up.
        awaited = pending.awaited(before, self._packing.truths(series[0]))[-self._packing.patience(series[0]) :]
        # Without a new time, the n-th such window is named t to t + n, which no other window is.
        truths = 1 + before.truths if pending.first_t is None else 0
        heard = partition.heard[series[0]].at(series[1])
        partition.progress[series] = msgspec.structs.replace(
            before,
            next=pending.last + 1,
            t=pending.t,
            awaited=awaited,
            truths=truths,
            heard=heard,
            ticks=self._ticks(partition, series).saved(),
        )
        partition.changed.add(series)
        first = pending.t if pending.first_t is None else pending.first_t
        return FullWindow(self._packing.kind, *series, first, pending.t + truths, pending.rows, pending.group)

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        self._partitions.restore(partition, states)

    def begin(self, assignment: Assignment) -> bool:
        if assignment.rewound:
            self.begin_again(assignment.partition, assignment.position)
        return assignment.rewound

    def begin_again(self, partition: int, position: int) -> None:
        self._partitions.count_from(partition, position)

    def replay(self, batch: Sequence[Envelope[Timed]]) -> None:
        raise AssertionError(f"found {len(batch)} answered messages, expected none: see ArchiveWorkers")

    def begin_round(self, partition: int, restart: int) -> dict[str, bytes]:  # noqa: ARG002
        return {}

    def left(self, partition: int) -> int:
        return self._partitions.unsaved(partition)

    def unsaved(self, partition: int) -> int:
        return self._partitions.unsaved(partition)

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        return self._partitions.snapshot(partition, limit)

    def resume_at(self, partition: int, consumed: int) -> int:
        return self._partitions.resume_at(partition, consumed)

    def kept(self, partition: int) -> int:
        """See `ArchivedPartitions`."""
        return self._partitions.kept(partition)

    def release(self, partition: int) -> bool:
        self._partitions.release(partition)
        return False
