"""Writes windows to the store. While it is away they go into the backlog; without one the archive waits, and what waits
for it lies on the bus."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import stamina

from driftline.errors import Conflict, StoreUnavailable, Unstorable
from driftline.metrics import Metrics
from driftline.store.port import Store
from driftline.worker.stream_step import Series
from driftline_ingest.backlog import Backlog
from driftline_ingest.packing import FUTURES, FullWindow, Packing

log = logging.getLogger(__name__)

REASONS: Final = ("repeated", "never")
"""Why a window is left out, as a metric's label."""
AT_ONCE = 8
"""Series whose windows are on their way to the store: a slow link then costs one way and back for all of them."""


class WindowArchive:
    """The archived windows in the store.

    What lies there under a window's name stays: it is that window, from before a restart. What the store will never
    take is left out and logged. is_away: whether the store did not answer the last time.
    """

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics
        self.is_away = False

    async def put(self, name: str, body: bytes) -> None:
        """Raises StoreUnavailable."""
        kind, stream = name.split("/")[:2]
        try:
            await self._store.put(name, body, if_absent=True)
        except StoreUnavailable:
            self.is_away = True
            raise
        except Conflict:
            self._metrics.windows_left_out.labels(stream, kind, "repeated").inc()
            log.info("window left out: the store has it", extra={"window": name})
        except Unstorable as error:
            self._metrics.windows_left_out.labels(stream, kind, "never").inc()
            log.error("window left out: the store will never take it: %s", error, extra={"window": name})  # noqa: TRY400
        else:
            self._metrics.windows_archived.labels(stream, kind).inc()
        self.is_away = False


class WindowSink:
    """Returns from a call when every window is safe: in the store, or in the backlog while the store does not answer;
    without a backlog it waits, however long that takes. Those of one series are written in their order, so that whoever
    reads finds no gap but while the store was away. edge: gives the id of the edge that archives.
    """

    def __init__(
        self,
        archive: WindowArchive,
        packing: Packing[Any],
        edge: Callable[[], Awaitable[str]],
        backlog: Backlog | None = None,
    ) -> None:
        self._archive = archive
        self._packing = packing
        self._edge = edge
        self._backlog = backlog
        self._places = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, windows: Sequence[FullWindow]) -> None:
        by_series: dict[Series, list[FullWindow]] = defaultdict(list)
        for window in windows:
            by_series[window.stream, window.key].append(window)
        async with asyncio.TaskGroup() as group:
            for ordered in by_series.values():
                group.create_task(self._write(ordered))

    async def _write(self, ordered: Sequence[FullWindow]) -> None:
        async with self._places:
            for window in ordered:
                body = await asyncio.to_thread(self._encode, window)
                await self._put(window.name(await self._edge()), body)

    def _encode(self, window: FullWindow) -> bytes:
        if window.kind == FUTURES and self._packing.futures is not None:
            return self._packing.futures.encode(window.stream, window.key, window.rows)
        return self._packing.encode(window.stream, window.key, window.rows, window.group)

    @stamina.retry(on=StoreUnavailable, attempts=None, timeout=None, wait_max=30.0)
    async def _put(self, name: str, body: bytes) -> None:
        if self._backlog is None:
            await self._archive.put(name, body)
            return
        if not self._archive.is_away:
            with suppress(StoreUnavailable):
                await self._archive.put(name, body)
                return
        await self._backlog_add(self._backlog, name, body)

    async def _backlog_add(self, backlog: Backlog, name: str, body: bytes) -> None:
        try:
            await backlog.add(name, body)
        except Unstorable as error:
            # The disk may take no name that long although the store does.
            raise StoreUnavailable(f"{name}: {error}") from error
        except StoreUnavailable:
            # Without room here, whether the store answers is worth a look at each try.
            self._archive.is_away = False
            raise
