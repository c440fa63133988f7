"""Joins windows into day files: reads some, puts their rows into the files of their days, and removes them then.

Whatever ends it in between, nothing is lost and nothing is there twice: a window is removed only when each of its rows
is in a day file, and a row that is put into a day file again is united with itself. Day files are put on the condition
that they are as they were when they were read, so of two trainers one begins again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from driftline.errors import Conflict, InvalidInput, NotFound, TooLarge, Unstorable
from driftline.metrics import Metrics
from driftline.store.days import DAY_MS, MOST_PARTS, DayName, day_of
from driftline.store.port import Store, Stored, read
from driftline.streams.definition import StreamDefinition
from driftline_trainer.days.files import day_files
from driftline_trainer.days.table import DayTable, joined
from driftline_trainer.days.uniting import stamp_of
from driftline_trainer.days.unpacking import Merged, merge, unpack_window
from driftline_trainer.reading import Reading
from driftline_trainer.unpacking import Packed
from driftline_trainer.window_index import WindowFile

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Windows that are on their way from the store, or are being removed."""


@dataclass(frozen=True)
class DayLimits:
    """window: bytes of one in the store; day: of a day file there; unpacked: of a day file's rows in memory, and of
    those that are on their way into day files."""

    window: int
    day: int
    unpacked: int


class SourceCompaction:
    """Of what was archived under one name. stream: the definition of that source."""

    def __init__(
        self,
        store: Store,
        name: str,
        stream: StreamDefinition,
        reading: Reading,
        limits: DayLimits,
        metrics: Metrics,
        *,
        refuse: Callable[[WindowFile, str], Awaitable[None]],
        forget: Callable[[str], None],
        pause: Callable[[], Awaitable[None]],
    ) -> None:
        """refuse: gets what can't be read; forget: gets the keys that are removed; pause: awaited between two files."""
        self._store = store
        self._name = name
        self._stream = stream
        self._reading = reading
        self._limits = limits
        self._metrics = metrics
        self._refuse = refuse
        self._forget = forget
        self._pause = pause

    async def run(self, windows: Iterable[WindowFile], before: int) -> int:
        """Joins those of `windows` whose rows are all from before `before`, milliseconds since the epoch; returns how
        many. Raises Conflict when another trainer is at it, and StoreUnavailable."""
        count = 0
        by_edge: dict[str, list[WindowFile]] = {}
        for window in windows:
            if not window.edge or window.name.last < before:
                by_edge.setdefault(window.edge, []).append(window)
        for edge, some in sorted(by_edge.items()):
            # A day's rows come together, and of one series after the other.
            ordered = sorted(some, key=lambda window: (window.name.last // DAY_MS, window.series, window.name.order))
            count += await self._join(edge, ordered, before)
        return count

    async def _join(self, edge: str, windows: list[WindowFile], before: int) -> int:
        batch: list[tuple[WindowFile, DayTable]] = []
        size = count = 0
        for first in range(0, len(windows), AT_ONCE):
            await self._pause()
            some = windows[first : first + AT_ONCE]
            tables = await asyncio.gather(*map(self._unpacked, some))
            for window, table in zip(some, tables, strict=True):
                if table is None or int(table.t.max()) >= before:
                    continue
                if batch and size + table.size > self._limits.unpacked:
                    count += await self._move(edge, batch)
                    batch, size = [], 0
                batch.append((window, table))
                size += table.size
        return count + (await self._move(edge, batch) if batch else 0)

    async def _unpacked(self, window: WindowFile) -> DayTable | None:
        try:
            body = await read(self._store, window.key, self._limits.window)
            packed = Packed(body, self._stream, window.key, window.folder)
            return await self._reading.unpacked(partial(unpack_window, stamp_of(window.name)), packed)
        except NotFound:
            self._forget(window.key)
        except (TooLarge, InvalidInput) as error:
            await self._refuse(window, str(error))
        return None

    async def _move(self, edge: str, batch: list[tuple[WindowFile, DayTable]]) -> int:
        rows = joined([table for _, table in batch])
        days = rows.t // DAY_MS
        for day in np.unique(days).tolist():
            await self._pause()
            await self._put(DayName(day_of(day * DAY_MS), edge), rows.take(days == day))
        # All of their rows lie in day files now.
        for first in range(0, len(batch), AT_ONCE):
            keys = [window.key for window, _ in batch[first : first + AT_ONCE]]
            await asyncio.gather(*map(self._store.delete, keys))
            for key in keys:
                self._forget(key)
        self._metrics.windows_compacted.labels(self._name).inc(len(batch))
        return len(batch)

    async def _put(self, first: DayName, rows: DayTable) -> None:
        """Into the last file of the day, or into a further one where that is full, or can't be used. Raises
        Conflict."""
        name = await self._last(first)
        stored, merged = await self._merged(name, rows)
        if not merged.fits:
            self._count("full")
            if name.part == MOST_PARTS:
                raise Conflict(f"{name.key(self._name)}: found the last file that a day may have, expected fewer")
            name = DayName(name.day, name.edge, name.part + 1)
            stored, merged = await self._merged(name, rows)
        if merged.body is None:
            return
        key = name.key(self._name)
        try:
            if stored is None:
                await self._store.put(key, merged.body, if_absent=True)
            else:
                await self._store.put(key, merged.body, if_match=stored.etag)
        except Unstorable as error:
            raise Conflict(f"{key}: {error}") from error
        self._count("written")
        log.info("day file written", extra={"key": key, "rows": len(rows), "bytes": len(merged.body)})

    async def _last(self, first: DayName) -> DayName:
        begin = first.format().removesuffix(".parquet")
        names = [file.name async for file in day_files(self._store, self._name, begin)]
        return max((name for name in names if (name.day, name.edge) == (first.day, first.edge)), default=first)

    async def _merged(self, name: DayName, rows: DayTable) -> tuple[Stored | None, Merged]:
        """The file as it is, and with these rows."""
        key = name.key(self._name)
        try:
            stored = await self._store.get(key, limit=self._limits.day)
        except NotFound:
            stored = None
        except TooLarge:
            return None, Merged(None, fits=False)
        packed = Packed(stored.body if stored else b"", self._stream, key)
        try:
            return stored, await self._reading.unpacked(partial(merge, rows, self._limits.unpacked), packed)
        except InvalidInput as error:
            if stored is None:
                raise
            log.warning("a day file can't be used, a further one is written: %s", error, extra={"key": key})
            return stored, Merged(None, fits=False)

    def _count(self, outcome: str) -> None:
        self._metrics.day_files.labels(self._name, outcome).inc()
