"""The job that reconciles with the store: on every hint of a change, and on a slow poll when no hint ever comes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from driftline.errors import StoreUnavailable
from driftline.store import Store

log = logging.getLogger(__name__)


class StoreWatch:
    """Calls `reconcile` at start, on hints under `prefix`, and at least every `poll` seconds.

    While the store is away nothing changes; any other error ends the job, and with it the process.
    """

    def __init__(
        self, name: str, store: Store, prefix: str, *, poll: float, reconcile: Callable[[], Awaitable[None]]
    ) -> None:
        self.name = name
        self._store = store
        self._prefix = prefix
        self._poll = poll
        self._reconcile = reconcile
        self._watching: asyncio.Task[None] | None = None

    async def run(self) -> None:
        self._watching = asyncio.create_task(self._watch())
        await asyncio.wait({self._watching})
        if not self._watching.cancelled():
            self._watching.result()

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        async for _ in self._store.watch(self._prefix, poll=self._poll):
            try:
                await self._reconcile()
            except StoreUnavailable as error:
                log.warning("the store is away, nothing changes until it is back: %s", error)
