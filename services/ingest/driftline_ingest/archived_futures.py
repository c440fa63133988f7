"""Windows of what was known ahead: one issue of a series lies in one window, whose name says the issues. Pure."""

import msgspec

from driftline.bus.port import Envelope
from driftline.worker.stream_step import Series, Timed
from driftline_ingest.open_windows import ArchivedPartition, OpenFutures
from driftline_ingest.packing import FUTURES, FullWindow, FuturePacking

FUTURES_SIZE = 1000
"""Futures of a series after which a window of them is written, as soon as a further issue comes."""


def add_future(
    partition: ArchivedPartition, envelope: Envelope[Timed], issued: int, packing: FuturePacking[Timed]
) -> list[FullWindow]:
    """Takes in a future of a series that is known, and returns the window that is full before it, if any."""
    series = (envelope.value.stream, envelope.value.key)
    progress = partition.progress.get(series)
    if progress is None or envelope.offset < progress.foreseen:
        return []
    windows: list[FullWindow] = []
    pending = partition.futures.get(series)
    if pending is not None and len(pending.rows) >= FUTURES_SIZE and issued > pending.last:
        windows.append(close_futures(partition, series))
        pending = None
    if pending is None:
        pending = partition.futures[series] = OpenFutures(envelope.offset, issued, issued)
    pending.first, pending.last = min(pending.first, issued), max(pending.last, issued)
    pending.next = envelope.offset + 1
    pending.rows.append(packing.pack(envelope.value))
    return windows


def close_futures(partition: ArchivedPartition, series: Series) -> FullWindow:
    """What there is of a series, also if it cuts an issue."""
    pending, before = partition.futures.pop(series), partition.progress[series]
    newest = max(before.issued, pending.last)
    # Where one issue was cut or corrected, the n-th such window ends n later: no other has its name.
    again = before.reissued + 1 if pending.last <= before.issued else 0
    partition.progress[series] = msgspec.structs.replace(before, foreseen=pending.next, issued=newest, reissued=again)
    partition.changed.add(series)
    return FullWindow(FUTURES, *series, pending.first, newest + again, pending.rows)
