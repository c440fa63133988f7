"""The rows that jobs learn from: archived windows, day files, history files and futures, of all streams."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from driftline.errors import InvalidInput
from driftline.metrics import Metrics
from driftline.store.hints import Keys
from driftline.store.port import Listed, Store
from driftline.streams.catalog import PerStream
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer.archive import Archive, names_of
from driftline_trainer.futures import FutureFiles
from driftline_trainer.history import HistoryFiles, TrainingHistory
from driftline_trainer.jobs import JobState
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.window_index import WindowIndexes

log = logging.getLogger(__name__)


class TrainingRows:
    """Unpacks one job's rows at a time; a file that can't be used is set aside, and stops no other."""

    def __init__(
        self,
        settings: TrainerSettings,
        store: Store,
        streams: Mapping[str, StreamDefinition],
        clock: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._store = store
        self._reading = Reading(settings.means)
        self._history = HistoryFiles(store, settings.data_dir, self._reading, limit=settings.history_bytes)
        self._futures = FutureFiles(
            store, self._reading, limit=settings.history_bytes, window_limit=settings.window_bytes
        )
        self._aside = PerStream(streams, lambda stream: SetAside(store, stream, metrics, clock))
        self.indexes = WindowIndexes(store, metrics)
        self.archives = PerStream(streams, self._archive)
        # One at a time: they share the child that unpacks, and the memory that rows take.
        self._unpacking = asyncio.Lock()

    def _archive(self, stream: StreamDefinition) -> Archive:
        settings = self._settings
        return Archive(
            self._store,
            stream,
            self._aside[stream.name],
            self._reading,
            self.indexes,
            limit=settings.window_bytes,
            day_limit=settings.history_bytes,
        )

    def is_aside(self, stream: str, file: Listed) -> bool:
        """Whether a file is set aside."""
        return file in self._aside[stream]

    async def set_aside(self, stream: str, file: Listed, reason: str) -> None:
        await self._aside[stream].add(file, reason)

    def close(self) -> None:
        """Ends what is under way."""
        self._reading.close()

    async def look(self, streams: Sequence[StreamDefinition], keys: Keys = None) -> None:
        """Looks for windows of these streams: at all that there are, or at `keys` alone. Raises StoreUnavailable."""
        if keys is None:
            for stream in streams:
                await self._aside[stream.name].refresh()
        for name in dict.fromkeys(name for stream in streams for name in names_of(stream)):
            index = self.indexes.of(name)
            await (index.list_anew() if keys is None else index.look(keys))

    async def has_history(self, stream: StreamDefinition) -> bool:
        """Whether a batch model could learn from files in the store, or from as many archived records as a speed model
        is retrained on, as far as they were looked at. Raises StoreUnavailable."""
        archive = self.archives[stream.name]
        if archive.fresh({}) * stream.window >= stream.retraining.every or await archive.has_days():
            return True
        return await self._history.any(stream, self._aside[stream.name])

    async def history(self, stream: StreamDefinition, job: JobState) -> TrainingHistory:
        """What a batch model learns from. Raises InvalidInput, NotFound, StoreUnavailable."""
        async with self._unpacking:
            try:
                history = await self._records(stream, job)
                return replace(history, rows=await self._with_futures(stream, history.rows))
            finally:
                # Whatever it took to unpack them is given back.
                self._reading.close()

    async def newest(self, stream: StreamDefinition) -> Rows:
        """What a speed model learns from. Raises InvalidInput, StoreUnavailable."""
        async with self._unpacking:
            try:
                rows = await self.archives[stream.name].newest_rows(self._settings.training_rows)
                return await self._with_futures(stream, rows)
            finally:
                self._reading.rest()

    async def _records(self, stream: StreamDefinition, job: JobState) -> TrainingHistory:
        if job.trigger == "definition":
            return await self._all_rows(stream, job.history)
        if job.history is not None:
            return TrainingHistory(await self._history.named(stream, job.history))
        return await self._everything(stream)

    async def _with_futures(self, stream: StreamDefinition, rows: Rows) -> Rows:
        aside = self._aside[stream.name]
        return await self._futures.with_futures(rows, stream, aside, self._settings.training_rows)

    async def _everything(self, stream: StreamDefinition, named: Rows | None = None) -> TrainingHistory:
        archive, aside = self.archives[stream.name], self._aside[stream.name]
        await archive.refresh()
        return await self._history.everything(stream, archive, aside, self._settings.training_rows, named)

    async def _all_rows(self, stream: StreamDefinition, history: str | None) -> TrainingHistory:
        """Of the store, and of the file that the model before was made from, as far as it is still there."""
        if history is None:
            return await self._everything(stream)
        try:
            named = await self._history.named(stream, history)
        except InvalidInput as error:
            log.warning("trained without the history of the model before: %s", error, extra={"stream": stream.name})
            return await self._everything(stream)
        return await self._everything(stream, named)
