"""The job that reconciles with the store: on every hint of a change, and on a slow poll when no hint ever comes."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from driftline.errors import StoreUnavailable
from driftline.stoppable import StoppableWork
from driftline.store import s3_events
from driftline.store.hints import Hints, Keys
from driftline.store.port import Store

log = logging.getLogger(__name__)


class Hinted(Protocol):
    """Takes hints that something in the store has changed."""

    def hint(self, event: bytes) -> bool:
        """Takes an S3 event notification of any dialect; returns whether it may concern it."""

    def wake(self) -> None:
        """Has the store looked at soon."""


class AllHinted:
    """Several that take hints, as one."""

    def __init__(self, *hinted: Hinted) -> None:
        self._hinted = hinted

    def hint(self, event: bytes) -> bool:
        # All of them, not only up to the first that it concerns.
        concerned = [hinted.hint(event) for hinted in self._hinted]
        return any(concerned)

    def wake(self) -> None:
        for hinted in self._hinted:
            hinted.wake()


class StoreReconciler:
    """Calls `reconcile` at start, on hints about keys between `prefix` and `suffix`, on events that others report, and
    at least every `poll` seconds; with the keys that may have changed, or None for any.

    Where to look at everything is dear, `relist` seconds pass at least before a poll does so again, once events have
    named keys: until then it calls with no keys.

    While the store is away nothing changes; any other error ends the job, and with it the process.
    """

    def __init__(
        self,
        name: str,
        store: Store,
        prefix: str,
        *,
        suffix: str = "",
        poll: float,
        reconcile: Callable[[Keys], Awaitable[None]],
        base: str = "",
        hints: Hints | None = None,
        relist: float = 0.0,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """base: in front of every key as events name it. hints: others may add theirs. ticks: seconds that never
        jump."""
        self.name = name
        self._store = store
        self._prefix = prefix
        self._suffix = suffix
        self._poll = poll
        self._reconcile = reconcile
        self._base = base
        self._hints = hints or Hints()
        self._relist = relist
        self._ticks = ticks
        self._looked = float("-inf")
        self._heard = False
        self._one_at_a_time = asyncio.Lock()
        self._work = StoppableWork()

    def hint(self, event: bytes) -> bool:
        """Takes an S3 event notification of any dialect as a hint; returns whether it may concern this reconciler."""
        keys = s3_events.concerned(event, self._base + self._prefix, self._suffix)
        self._hints.add(keys and frozenset(key.removeprefix(self._base) for key in keys))
        return keys is None or bool(keys)

    def wake(self) -> None:
        """Has the store looked at soon."""
        self._hints.wake()

    async def run(self) -> None:
        await self._work.run(self._follow())

    async def stop(self) -> None:
        await self._work.stop()

    async def _follow(self) -> None:
        await asyncio.gather(self._follow_store(), self._follow_events())

    async def _follow_store(self) -> None:
        async for keys in self._store.watch(self._prefix, suffix=self._suffix, poll=self._poll):
            await self._look(frozenset() if keys is None and self._need_not_look() else keys)

    def _need_not_look(self) -> bool:
        return self._heard and self._ticks() - self._looked < self._relist

    async def _follow_events(self) -> None:
        while True:
            await self._hints.come()
            await self._look(self._hints.take())

    async def _look(self, keys: Keys) -> None:
        async with self._one_at_a_time:
            self._heard = self._heard or bool(keys)
            try:
                await self._reconcile(keys)
                if keys is None:
                    self._looked = self._ticks()
            except StoreUnavailable as error:
                # What was named now may have been missed, so the next poll looks at everything.
                self._looked = float("-inf")
                log.warning("the store is away, nothing changes until it is back: %s", error)
