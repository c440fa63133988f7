"""What has changed in the store, for many who wait for it: one watch of the store for all of them."""

import asyncio
import secrets
from collections import deque
from contextlib import aclosing

from driftline.store.hints import Keys, between
from driftline.store.port import Store

REMEMBERED = 1000
"""Keys that changed last; whoever has missed more is woken for anything."""


class StoreChanges:
    """Hears of changes below `prefix`; see `driftline.service.app.BackgroundJob`.

    A cursor says up to where a reader knows them: it is good for this process alone.
    """

    def __init__(self, name: str, store: Store, prefix: str, *, poll: float) -> None:
        self.name = name
        self.prefix = prefix
        self._store = store
        self._poll = poll
        self._boot = secrets.token_hex(4)
        self._count = 0
        self._newest: deque[tuple[int, str]] = deque(maxlen=REMEMBERED)
        self._changed = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def cursor(self) -> str:
        return f"{self._boot}-{self._count}"

    async def run(self) -> None:
        self._running = asyncio.create_task(self._follow())
        await asyncio.wait({self._running})
        if not self._running.cancelled():
            self._running.result()

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def note(self, keys: Keys) -> None:
        """Wakes whoever waits for these. What may be anything is left to each reader's own poll: a store without
        events would wake all of them at every poll."""
        if keys is None:
            return
        for key in keys:
            self._count += 1
            self._newest.append((self._count, key))
        self._changed.set()
        self._changed = asyncio.Event()

    async def since(self, cursor: str, prefix: str, suffix: str, seconds: float) -> Keys:
        """Keys between `prefix` and `suffix` that changed after `cursor`, as soon as there are any, or none after so
        many seconds; None, which is any, where nobody knows any more what changed since then."""
        start = self._start(cursor)
        if start is None:
            return None
        try:
            async with asyncio.timeout(seconds):
                while not (keys := self._after(start, prefix, suffix)):
                    await self._changed.wait()
        except TimeoutError:
            return frozenset()
        return keys

    def _start(self, cursor: str) -> int | None:
        boot, _, count = cursor.partition("-")
        if boot != self._boot or not (count.isascii() and count.isdigit()):
            return None
        oldest = self._newest[0][0] if self._newest else self._count + 1
        return int(count) if oldest - 1 <= int(count) <= self._count else None

    def _after(self, start: int, prefix: str, suffix: str) -> frozenset[str]:
        return between((key for count, key in self._newest if count > start), prefix, suffix)

    async def _follow(self) -> None:
        async with aclosing(self._store.watch(self.prefix, poll=self._poll)) as waking:
            async for keys in waking:
                self.note(keys)
