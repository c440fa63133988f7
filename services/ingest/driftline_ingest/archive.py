"""The pure step of the archive: messages in, windows of a series out, named by their times.

A window begins and ends where the topic's content alone says, never where a batch was cut, so what is done again after
a crash is the same window under the same name. What is archived is known by time, not by offset: a topic that was made
anew counts from 0 again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic

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
from driftline_ingest.open_windows import ArchivedPartition, Progress, first_before
from driftline_ingest.packing import FullWindow, Packing
from driftline_ingest.window_filling import WindowFilling

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
        self._filling = WindowFilling(packing, dropped)
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
            self._filling.leave_behind(partition, envelope)
            self._explain(partition, envelope.value)
            windows += self._filling.add(partition, envelope)
        return windows

    def _overdue(self, partition: ArchivedPartition, offset: int) -> list[FullWindow]:
        windows = []
        while (series := first_before(partition.pending, offset - self._longest_span)) is not None:
            windows.append(self._filling.close(partition, series))
        while (series := first_before(partition.futures, offset - self._longest_span)) is not None:
            windows.append(close_futures(partition, series))
        return windows

    def _explain(self, partition: ArchivedPartition, message: Timed) -> None:
        """Reports what may be missing of a series before this message."""
        series = (message.stream, message.key)
        last_t = partition.last_t(series) if self._missed else None
        if last_t is None:
            return
        period = self._packing.period(message.stream)
        gap = self._missed.explain(series, self._packing.kind, last_t, message.t, period)
        if gap is not None:
            self._lost(gap)

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
                windows.append(self._filling.close(partition, (stream, key)))
            elif self._is_read_again(partition, (stream, key)):
                break
            else:
                self._partitions.forget(envelope.partition, (stream, key))
        return windows

    def _is_read_again(self, partition: ArchivedPartition, series: Series) -> bool:
        """Whether a restart reads messages of it again, which only its progress distinguishes from new ones."""
        oldest = partition.oldest()
        return oldest is not None and oldest < partition.progress[series].next

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
