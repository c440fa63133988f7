"""The job that keeps the archive in few large files: it joins windows into day files, and removes those that are too
old."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from driftline.errors import Conflict, InvalidInput, StoreUnavailable
from driftline.metrics import Metrics, from_zero
from driftline.store.days import DAY_MS
from driftline.store.port import Store
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline_trainer.child import ProcessDied
from driftline_trainer.days.compaction import DayLimits, SourceCompaction
from driftline_trainer.days.files import day_files
from driftline_trainer.reading import Reading
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer
from driftline_trainer.window_index import WindowFile

log = logging.getLogger(__name__)

OUTCOMES = ("written", "full", "removed")
HELD_MS = 30 * DAY_MS
"""What a speed model would still learn from stays a window so long, counted by the records' times."""
NICENESS = 10


class DayCompactor:
    """See `driftline.service.app.BackgroundJob`. It waits while a job trains."""

    name = "day files"

    def __init__(
        self,
        settings: TrainerSettings,
        store: Store,
        streams: Streams,
        trainer: Trainer,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._streams = streams
        self._trainer = trainer
        self._metrics = metrics
        self._clock = clock
        self._stopping = asyncio.Event()
        # Of which file is said once that it can't be read.
        self._left: dict[str, int] = {}
        self._reading = Reading(settings.means, NICENESS)
        self._streams.on_every(self._count_from_zero)

    def _count_from_zero(self, stream: StreamDefinition) -> None:
        for name in dict.fromkeys((stream.source, stream.name)):
            from_zero(self._metrics.day_files, (name,), OUTCOMES)
            self._metrics.windows_compacted.labels(name)

    async def run(self) -> None:
        while not await self._stopped(self._settings.days_every):
            working = asyncio.create_task(self.compact())
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            # Whatever it was doing, the next one does again.
            for task in (working, stopping):
                task.cancel()
            await asyncio.wait({working, stopping})
            if not working.cancelled():
                working.result()

    async def stop(self) -> None:
        self._stopping.set()

    async def _stopped(self, seconds: float) -> bool:
        """After so many seconds, or sooner."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def compact(self) -> None:
        """Once, all that there is to join and to remove."""
        try:
            for name, stream in list(self._streams.of_records.items()):
                await self._keep(name, stream)
        finally:
            self._reading.close()

    async def _keep(self, name: str, stream: StreamDefinition) -> None:
        try:
            await self._compact(name, stream)
            await self._remove(name)
        except Conflict as error:
            log.info("another trainer writes day files: %s", error, extra={"stream": name})
        except (StoreUnavailable, ProcessDied, InvalidInput) as error:
            log.warning("windows stay as they are: %s", error, extra={"stream": name})

    async def _compact(self, name: str, stream: StreamDefinition) -> None:
        await self._trainer.idle()
        settings, index = self._settings, self._trainer.indexes.of(name)
        await index.list_anew()
        now = int(self._clock() * 1000)
        before = (now - int(settings.days_after * DAY_MS)) // DAY_MS * DAY_MS
        unlearned = await self._trainer.unlearned(name)
        windows = [window for window in index if self._may_go(name, window, unlearned, now)]
        limits = DayLimits(settings.window_bytes, settings.history_bytes, settings.day_unpacked)
        source = SourceCompaction(
            self._store,
            name,
            stream,
            self._reading,
            limits,
            self._metrics,
            refuse=partial(self._leave, name),
            forget=index.forget,
            pause=self._trainer.idle,
        )
        count = await source.run(windows, before)
        if count:
            log.info("windows joined into day files", extra={"stream": name, "count": count, "left": len(index)})

    def _may_go(self, name: str, window: WindowFile, unlearned: set[str], now: int) -> bool:
        if self._left.get(window.key) == window.listed.size:
            return False
        if self._trainer.is_aside(name, window.listed):
            return False
        return window.key not in unlearned or (bool(window.edge) and window.name.last < now - HELD_MS)

    async def _leave(self, name: str, window: WindowFile, reason: str) -> None:
        """It lies where it is until it is repaired. Where several streams learn from it, each sets it aside for itself:
        what one can't use may be good for the others."""
        self._left[window.key] = window.listed.size
        log.warning("window left as it is: %s", reason, extra={"key": window.key})
        await self._trainer.set_aside(name, window.listed, reason)

    async def _remove(self, name: str) -> None:
        if self._settings.days_kept is None:
            return
        oldest = int(self._clock() * 1000) - self._settings.days_kept * DAY_MS
        async for file in day_files(self._store, name):
            if file.name.ends <= oldest:
                await self._store.delete(file.key)
                self._metrics.day_files.labels(name, "removed").inc()
                log.info("day file removed by age", extra={"key": file.key})
