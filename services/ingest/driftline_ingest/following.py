"""Sends what waited for the store once that answers: the newest first, and no faster than at a given rate.

So new windows and heartbeats keep their share of a thin link. See `driftline.service.app.BackgroundJob`.
"""

import asyncio
import logging

from driftline.errors import StoreUnavailable
from driftline.metrics import Metrics
from driftline.stoppable import StoppableWork
from driftline_ingest.backlog import Backlog
from driftline_ingest.sink import WindowArchive

log = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Between two looks whether the store answers again: twice as long each time."""


class BacklogJob:
    """rate: bytes a second."""

    name = "backlog"

    def __init__(
        self, backlog: Backlog, archive: WindowArchive, metrics: Metrics, rate: float, *, wait: float = FIRST_WAIT_S
    ) -> None:
        self._backlog = backlog
        self._archive = archive
        self._rate = rate
        self._first_wait = self._wait = wait
        self._work = StoppableWork()
        metrics.backlog_windows.set_function(lambda: backlog.windows)
        metrics.backlog_bytes.set_function(lambda: backlog.size)

    async def run(self) -> None:
        await self._work.run(self._follow())

    async def stop(self) -> None:
        await self._work.stop()

    async def _follow(self) -> None:
        await self._until_open()
        while True:
            await self._backlog.filled()
            await asyncio.sleep(await self.send_newest())

    async def _until_open(self) -> None:
        while True:
            try:
                return await self._backlog.open()
            except StoreUnavailable as error:
                log.warning("the folder of what waits for the store can't be read: %s", error)
                await asyncio.sleep(LONGEST_WAIT_S)

    async def send_newest(self) -> float:
        """Sends one window; returns the seconds until the next one may go."""
        name = self._backlog.newest()
        try:
            body = await self._backlog.read(name)
            if body is None:
                return 0.0
            await self._archive.put(name, body)
            await self._backlog.remove(name)
        except StoreUnavailable as error:
            log.debug("what waits goes on waiting: %s", error)
            wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT_S)
            return wait
        self._wait = self._first_wait
        return len(body) / self._rate
