"""Writes windows to the store. While it is away the archive waits, and the bus's retention is the spool."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import stamina

from driftline.errors import Conflict, StoreUnavailable, Unstorable
from driftline.metrics import Metrics
from driftline.store.port import Store
from driftline.worker.stream_step import Series
from driftline_ingest.packing import FUTURES, FullWindow, Packing

log = logging.getLogger(__name__)

REASONS: Final = ("repeated", "never")
"""Why a window is left out, as a metric's label."""
AT_ONCE = 8
"""Series whose windows are on their way to the store: a slow link then costs one way and back for all of them."""


class WindowSink:
    """Returns from a call when every window is in the store, however long that takes. Those of one series are written
    in their order, so that whoever reads finds no gap.

    What lies there under a window's name stays: it is that window, from before a restart. What the store will never
    take is left out and logged, and the rest goes on. edge: gives the id of the edge that archives.
    """

    def __init__(
        self, store: Store, packing: Packing[Any], metrics: Metrics, edge: Callable[[], Awaitable[str]]
    ) -> None:
        self._store = store
        self._packing = packing
        self._metrics = metrics
        self._edge = edge
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
                await self._archive(window)

    async def _archive(self, window: FullWindow) -> None:
        body = await asyncio.to_thread(self._encode, window)
        name = window.name(await self._edge())
        try:
            await self._put(name, body)
        except Conflict:
            self._leave_out(window, "repeated")
            log.info("window left out: the store has it", extra={"window": name})
        except Unstorable as error:
            self._leave_out(window, "never")
            log.error("window left out: the store will never take it: %s", error, extra={"window": name})  # noqa: TRY400
        else:
            self._metrics.windows_archived.labels(window.stream, window.kind).inc()

    def _encode(self, window: FullWindow) -> bytes:
        if window.kind == FUTURES and self._packing.futures is not None:
            return self._packing.futures.encode(window.stream, window.key, window.rows)
        return self._packing.encode(window.stream, window.key, window.rows, window.group)

    def _leave_out(self, window: FullWindow, reason: str) -> None:
        self._metrics.windows_left_out.labels(window.stream, window.kind, reason).inc()

    @stamina.retry(on=StoreUnavailable, attempts=None, timeout=None, wait_max=30.0)
    async def _put(self, name: str, body: bytes) -> None:
        await self._store.put(name, body, if_absent=True)
