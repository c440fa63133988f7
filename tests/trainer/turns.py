"""A store on which several processes take turns, call by call, and may die between two calls."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from driftline.store.hints import Keys
from driftline.store.port import Listed, Store, Stored


class DiedError(Exception):
    """The process is dead: its call had an effect or had none, and nothing comes after it."""


class Turns:
    """Lets the calls that wait go on one at a time, in an order that `seed` chooses."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._waiting: list[asyncio.Future[None]] = []
        self._come = asyncio.Event()

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._come.set()
        await turn
        yield

    async def run(self, *processes: Coroutine[Any, Any, None]) -> None:
        """Until all of them have ended; raises what one of them raises."""
        tasks = [asyncio.create_task(process) for process in processes]
        handing = asyncio.create_task(self._hand_out())
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in (*tasks, handing):
                task.cancel()
            await asyncio.wait({*tasks, handing})

    async def _hand_out(self) -> None:
        while True:
            await self._come.wait()
            self._come.clear()
            while self._waiting:
                turn = self._waiting.pop(self.random.randrange(len(self._waiting)))
                if not turn.done():
                    turn.set_result(None)
                # So that whoever went on may come again before the next one is chosen.
                await asyncio.sleep(0)


class TurnStore:
    """See `driftline.store.port.Store`: `store` as one process sees it. dies_at: the call in which it dies."""

    def __init__(self, store: Store, turns: Turns, dies_at: int | None = None) -> None:
        self._store = store
        self._turns = turns
        self._left = dies_at

    async def _call(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async with self._turns.taken():
            if self._left is not None:
                self._left -= 1
                if self._left < 0 or (self._left == 0 and self._turns.random.random() < 0.5):
                    self._left = -1
                    raise DiedError
            answer = await work()
            if self._left == 0:
                raise DiedError
            return answer

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        stored: Stored | None = await self._call(lambda: self._store.get(key, unless=unless, limit=limit))
        return stored

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        etag: str = await self._call(lambda: self._store.put(key, body, if_absent=if_absent, if_match=if_match))
        return etag

    async def delete(self, key: str) -> None:
        await self._call(lambda: self._store.delete(key))

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        async def listed() -> list[Listed]:
            return [entry async for entry in self._store.list(prefix, after=after)]

        for entry in await self._call(listed):
            yield entry

    def watch(self, prefix: str, *, suffix: str = "", poll: float) -> AsyncGenerator[Keys]:
        return self._store.watch(prefix, suffix=suffix, poll=poll)

    async def check(self) -> None:
        await self._store.check()

    async def close(self) -> None:
        """It holds nothing."""


async def until_dead(process: Coroutine[Any, Any, Any]) -> None:
    with suppress(DiedError):
        await process
