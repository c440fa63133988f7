"""Fills windows with the messages of a partition, late ones and truths for earlier ones among them. Pure."""

from collections.abc import Callable
from typing import Generic

import msgspec

from driftline.bus.port import Envelope
from driftline.clock import astray
from driftline.worker.stream_step import Series, Timed
from driftline_ingest.known_ticks import KnownTicks
from driftline_ingest.open_windows import NEVER, ArchivedPartition, OpenWindow, RowLacking, merged
from driftline_ingest.packing import Columns, FullWindow, Packing


class WindowFilling(Generic[Timed]):
    """Of all partitions that it is given."""

    def __init__(self, packing: Packing[Timed], dropped: Callable[[str, str], None]) -> None:
        """dropped: called with the stream and reason of a message that is left out."""
        self._packing = packing
        self._dropped = dropped

    def add(self, partition: ArchivedPartition, envelope: Envelope[Timed]) -> list[FullWindow]:
        """Takes in a message of a series that is known, and returns the windows that are full with or before it."""
        message = envelope.value
        series = (message.stream, message.key)
        progress = partition.progress.get(series)
        last_t = partition.last_t(series)
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

    def close(self, partition: ArchivedPartition, series: Series) -> FullWindow:
        """What there is of a series, also if it is less than a full window."""
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

    def leave_behind(self, partition: ArchivedPartition, envelope: Envelope[Timed]) -> None:
        """Takes the times that can't be out of a series, as soon as a message has one that can."""
        series = (envelope.value.stream, envelope.value.key)
        last_t = partition.last_t(series)
        if last_t is None or envelope.value.t >= last_t or not self._is_lost(last_t, envelope):
            return
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

    def _is_lost(self, last_t: int, envelope: Envelope[Timed]) -> bool:
        """As in `driftline.worker.keyed`: whether a series stands at a time that can't be."""
        arrived, ahead = envelope.timestamp, self._packing.ahead(envelope.value.stream)
        return astray(last_t, arrived, ahead) and not astray(envelope.value.t, arrived, ahead)

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
        return [self.close(partition, series)]

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
        return [self.close(partition, series)] if full else []
