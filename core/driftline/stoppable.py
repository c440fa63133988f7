"""Work without an end of its own, which goes on until it is stopped."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


async def until_set(event: asyncio.Event, seconds: float) -> None:
    """Returns once the event is set, or after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class StoppableWork:
    """What a background job does; see `driftline.service.app.BackgroundJob`."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Returns when the work has ended or was stopped. Raises what it raises."""
        self._task = asyncio.create_task(work)
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    async def stop(self) -> None:
        """Ends it; nothing happens when there is none."""
        if self._task is not None:
            self._task.cancel()
