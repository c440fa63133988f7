"""Waiting for a hint or for the slow poll, whichever comes first. How every watch of a store wakes its reader."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any

Keys = frozenset[str] | None
"""What may have changed; None: anything."""


def between(keys: Iterable[str], prefix: str, suffix: str) -> frozenset[str]:
    """Those that begin and end so."""
    return frozenset(key for key in keys if key.startswith(prefix) and key.endswith(suffix))


class Hints:
    """Hints that come while the reader is busy are merged into one."""

    def __init__(self) -> None:
        self._keys: Keys = frozenset()
        self._come = asyncio.Event()

    def add(self, keys: Keys) -> None:
        if keys is None or keys:
            self._keys = None if keys is None or self._keys is None else self._keys | keys
            self._come.set()

    def wake(self) -> None:
        """Anything may have changed."""
        self.add(None)

    def take(self) -> Keys:
        """All that has come since the last time."""
        self._come.clear()
        keys, self._keys = self._keys, frozenset()
        return keys

    async def come(self) -> None:
        """Returns when there is something to take."""
        await self._come.wait()


Listen = Callable[[Hints], Coroutine[Any, Any, None]]
"""Adds hints, until it is cancelled."""


async def hinted(listen: Listen | None, *, poll: float) -> AsyncGenerator[Keys]:
    """Wakes at once, at every hint with the keys that it names, and every `poll` seconds."""
    hints = Hints()
    listening = asyncio.create_task(listen(hints)) if listen else None
    keys: Keys = None
    try:
        while True:
            yield keys
            try:
                async with asyncio.timeout(poll):
                    await hints.come()
                keys = hints.take()
            except TimeoutError:
                keys = None
    finally:
        if listening is not None:
            listening.cancel()
