"""Writes windows to the store. While it is away the archive waits, and the bus's retention is the spool."""

import asyncio
from collections.abc import Sequence
from typing import Any

import stamina

from driftline.errors import StoreUnavailable
from driftline.metrics import Metrics
from driftline.store import Store
from driftline_ingest.archive import Packing, Window


class WindowSink:
    """Returns from a call when every window is in the store, however long that takes."""

    def __init__(self, store: Store, packing: Packing[Any], metrics: Metrics) -> None:
        self._store = store
        self._packing = packing
        self._metrics = metrics

    async def __call__(self, windows: Sequence[Window]) -> None:
        for window in windows:
            body = await asyncio.to_thread(self._packing.encode, window.stream, window.key, window.rows)
            await self._put(window.name, body)
            self._metrics.windows_archived.labels(window.stream, window.kind).inc()

    @stamina.retry(on=StoreUnavailable, attempts=None, timeout=None, wait_max=30.0)
    async def _put(self, name: str, body: bytes) -> None:
        await self._store.put(name, body)
