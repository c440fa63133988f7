"""Waiting for a hint or for the slow poll, whichever comes first. How every watch of a store wakes its reader."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any

Listen = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""Sets the event at every hint, until it is cancelled."""


async def hints(listen: Listen | None, *, poll: float) -> AsyncGenerator[None]:
    """Wakes at once, at every hint, and every `poll` seconds. Hints that come meanwhile are merged into one."""
    hinted = asyncio.Event()
    listening = asyncio.create_task(listen(hinted)) if listen else None
    try:
        while True:
            yield
            with suppress(TimeoutError):
                async with asyncio.timeout(poll):
                    await hinted.wait()
            hinted.clear()
    finally:
        if listening is not None:
            listening.cancel()
