"""Puts what comes one by one together, as much of it as has come meanwhile."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    """Of what came; error: the reason where that is no good end."""

    error: Exception | None = None


async def gathered(source: AsyncIterable[T], most: int) -> AsyncIterator[list[T]]:
    """All that the source has brought since the last list was taken, at least one and at most so many of it. As many
    again are waiting at most: then the source is not read on."""
    waiting: asyncio.Queue[T | _End] = asyncio.Queue(maxsize=most)
    filling = asyncio.create_task(_fill(source, waiting))
    try:
        while True:
            parts = [await waiting.get()]
            while len(parts) < most and not waiting.empty():
                parts.append(waiting.get_nowait())
            if items := [part for part in parts if not isinstance(part, _End)]:
                yield items
            if isinstance(end := parts[-1], _End):
                if end.error is not None:
                    raise end.error
                return
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


async def _fill(source: AsyncIterable[T], waiting: "asyncio.Queue[T | _End]") -> None:
    try:
        async for item in source:
            await waiting.put(item)
    except Exception as error:  # noqa: BLE001 - it is raised where the items are read
        await waiting.put(_End(error))
    else:
        await waiting.put(_End())
