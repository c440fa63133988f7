"""Blends as a reader gets them who is not beside the broker: server-sent events of the combiner."""

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import Self

import aiohttp

from tests.bench.measure import Sightings


class LiveReader(Sightings):
    """Sees every blend after time `after`, over one connection for each series."""

    def __init__(self, url: str, stream: str, keys: Iterable[str], after: int) -> None:
        super().__init__()
        self._url = url
        self._asked = [{"stream": stream, "key": key, "after": str(after)} for key in keys]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        unbounded = aiohttp.ClientTimeout(total=None)
        self._client = aiohttp.ClientSession(self._url, connector=aiohttp.TCPConnector(limit=0), timeout=unbounded)
        answers = await asyncio.gather(*(self._client.get("/v1/live", params=asked) for asked in self._asked))
        for asked, answer in zip(self._asked, answers, strict=True):
            answer.raise_for_status()
            self._tasks.append(asyncio.create_task(self._read(asked["key"], answer)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def _read(self, key: str, answer: aiohttp.ClientResponse) -> None:
        async for line in answer.content:
            if line.startswith(b"id: "):
                self.note([f"{key}/{int(line[4:])}"])
