"""Writes windows to the store. While it is away the archive waits, and the bus's retention is the spool."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import stamina

from driftline.errors import StoreUnavailable
from driftline.keyed import Series
from driftline.metrics import Metrics
from driftline.store import Store
from driftline_ingest.archive import Packing, Window

AT_ONCE = 8
"""Series whose windows are on their way to the store: a slow link then costs one way and back for all of them."""


class WindowSink:
    """Returns from a call when every window is in the store, however long that takes. Those of one series are written
    in their order, so that whoever reads finds no gap."""

    def __init__(self, store: Store, packing: Packing[Any], metrics: Metrics) -> None:
        self._store = store
        self._packing = packing
        self._metrics = metrics
        self._places = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, windows: Sequence[Window]) -> None:
        by_series: dict[Series, list[Window]] = defaultdict(list)
        for window in windows:
            by_series[window.stream, window.key].append(window)
        async with asyncio.TaskGroup() as group:
            for ordered in by_series.values():
                group.create_task(self._write(ordered))

    async def _write(self, ordered: Sequence[Window]) -> None:
        async with self._places:
            for window in ordered:
                body = await asyncio.to_thread(self._packing.encode, window.stream, window.key, window.rows)
                await self._put(window.name, body)
                self._metrics.windows_archived.labels(window.stream, window.kind).inc()

    @stamina.retry(on=StoreUnavailable, attempts=None, timeout=None, wait_max=30.0)
    async def _put(self, name: str, body: bytes) -> None:
        await self._store.put(name, body)
