"""A store that works in a thread of its own, so that its parsing and signing never hold up what the caller's loop does.

A call to S3 costs milliseconds of processor time; a record that waits for the loop meanwhile would feel each of them.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

import uvloop

from driftline.store.hints import Keys
from driftline.store.port import Listed, Store, Stored, clock_offset

T = TypeVar("T")

SWITCH_S = 0.0005
"""After so long the working thread gives the interpreter to one that waits; Python's own 5 ms is a long pause."""


class ThreadedStore:
    """See `driftline.store.port.Store`: `store`, in another thread, whose loop is the only one that ever touches it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="store", daemon=True)
        self._thread.start()
        sys.setswitchinterval(SWITCH_S)

    @property
    def clock_offset(self) -> float | None:
        """See `driftline.store.port.TellsTime`."""
        return clock_offset(self._store)

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        return await self._in_thread(self._store.get(key, unless=unless, limit=limit))

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        return await self._in_thread(self._store.put(key, body, if_absent=if_absent, if_match=if_match))

    async def delete(self, key: str) -> None:
        await self._in_thread(self._store.delete(key))

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        async def listed() -> list[Listed]:
            return [entry async for entry in self._store.list(prefix, after=after)]

        for entry in await self._in_thread(listed()):
            yield entry

    async def watch(self, prefix: str, *, suffix: str = "", poll: float) -> AsyncGenerator[Keys]:
        waking = self._store.watch(prefix, suffix=suffix, poll=poll)

        async def woken() -> Keys:
            return await anext(waking)

        try:
            while True:
                yield await self._in_thread(woken())
        finally:
            await self._in_thread(waking.aclose())

    async def check(self) -> None:
        await self._in_thread(self._store.check())

    async def close(self) -> None:
        await self._in_thread(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()

    async def _in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` in the store's thread; who is cancelled while waiting cancels it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
