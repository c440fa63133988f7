"""What a job does: finds the rows, has a model trained, passes it through the gate and publishes it."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from driftline.errors import Conflict, InvalidInput, NotFound, RefusedModel, StoreUnavailable
from driftline.fleet.quarantine import quarantine_of
from driftline.fleet.reading import FleetView
from driftline.metrics import Metrics
from driftline.models import manifest as manifests
from driftline.models.manifest import Manifest
from driftline.store.hints import Keys
from driftline.store.port import Listed, Store
from driftline.streams.catalog import PerStream
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.versions.files import MODEL_LIMIT, WEIGHTS_LIMIT, file_of
from driftline.versions.releases import Current, current, manifest_of
from driftline_trainer import fit
from driftline_trainer.archive import Archive, names_of
from driftline_trainer.claims import Claims
from driftline_trainer.futures import FutureFiles
from driftline_trainer.history import HistoryFiles, TrainingHistory
from driftline_trainer.jobs import JobState
from driftline_trainer.learned import Learned, carried, later
from driftline_trainer.process import Fitting, TrainingProcess
from driftline_trainer.prune import prune
from driftline_trainer.publish import publish
from driftline_trainer.ray_cluster import RayCluster
from driftline_trainer.reading import Reading
from driftline_trainer.rollouts.rollouts import own_trust
from driftline_trainer.rollouts.trials import Trials
from driftline_trainer.set_aside import SetAside
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.window_index import WindowIndexes

log = logging.getLogger(__name__)


class Publication(msgspec.Struct, frozen=True):
    """What was published, and what it has beaten at the gate."""

    manifest: Manifest
    beaten: str


class TrainingRun:
    """Trains models of all streams, as many at once as its `Fitting` takes."""

    def __init__(
        self,
        settings: TrainerSettings,
        store: Store,
        streams: Mapping[str, StreamDefinition],
        claims: Claims,
        clock: Callable[[], float],
        metrics: Metrics,
        fleet: FleetView,
    ) -> None:
        self._settings = settings
        self._store = store
        self._streams = streams
        self._claims = claims
        self._clock = clock
        self._reading = Reading(settings.means)
        self._history = HistoryFiles(store, settings.data_dir, self._reading, limit=settings.history_bytes)
        self._futures = FutureFiles(
            store, self._reading, limit=settings.history_bytes, window_limit=settings.window_bytes
        )
        self._aside = PerStream(streams, lambda stream: SetAside(store, stream, metrics, clock))
        self.indexes = WindowIndexes(store, metrics)
        self._archives = PerStream(streams, self._archive)
        # What a refused or failed job has tried is not tried again until more has come.
        self._tried: dict[str, dict[str, str]] = {}
        self._fitting = _fitting(settings)
        # One at a time: they share the child that unpacks, and the memory that rows take.
        self._unpacking = asyncio.Lock()
        self._signer = settings.signer()
        self._trust = own_trust(self._signer)
        self._trials = Trials(store, fleet, self._trust, clock)
        if self._signer is None:
            log.warning("found no signing key: what is published here is unsigned, and the edge refuses it by default")

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

    def aside(self, stream: str, file: Listed) -> bool:
        """Whether a file is set aside."""
        return file in self._aside[stream]

    async def set_aside(self, stream: str, file: Listed, reason: str) -> None:
        await self._aside[stream].add(file, reason)

    @property
    def pid(self) -> int | None:
        """Process id of the child that trains, while there is one."""
        return self._fitting.pid

    @property
    def at_once(self) -> int:
        """So many jobs may be under way."""
        return self._fitting.at_once

    def close(self) -> None:
        """Ends what is under way."""
        self._fitting.close()
        self._reading.close()

    async def look(self, streams: Sequence[StreamDefinition], keys: Keys = None) -> None:
        """Looks for windows of these streams: at all that there are, or at `keys` alone. Raises StoreUnavailable."""
        if keys is None:
            for stream in streams:
                await self._aside[stream.name].refresh()
        for name in dict.fromkeys(name for stream in streams for name in names_of(stream)):
            index = self.indexes.of(name)
            await (index.list_anew() if keys is None else index.look(keys))

    async def fresh(self, stream: StreamDefinition) -> int:
        """Archived records that the speed model could learn from and has not, as far as they were looked at; 0 where
        there is nothing to fine-tune. Raises StoreUnavailable."""
        learned = await self._learned(stream)
        return 0 if learned is None else self._archives[stream.name].fresh(learned) * stream.window

    async def unlearned(self, stream: StreamDefinition) -> set[str]:
        """The keys of the windows that `fresh` counts. Raises StoreUnavailable."""
        learned = await self._learned(stream)
        return set() if learned is None else {window.key for window in self._archives[stream.name].unlearned(learned)}

    async def _learned(self, stream: StreamDefinition) -> Learned | None:
        """What the speed model has learned from or tried; None where there is nothing to fine-tune."""
        try:
            speed = await current(self._store, stream.name, "speed")
            batch = await current(self._store, stream.name, "batch")
        except (RefusedModel, NotFound) as error:
            log.warning("no retraining of %s: %s", stream.name, error)
            return None
        if not (_fits(speed, stream) or _fits(batch, stream)):
            return None
        return later(self._tried.get(stream.name, {}), await self._windows_of(stream, speed))

    async def _windows_of(self, stream: StreamDefinition, speed: Current | None) -> dict[str, str]:
        """The windows that the newest speed model has learned from, also while that is on trial: otherwise it would be
        retrained on them again and again."""
        if speed is None or speed.pointer.trial is None:
            return speed.manifest.windows if speed else {}
        try:
            tried = await manifest_of(self._store, stream.name, "speed", speed.pointer.trial.version)
        except (RefusedModel, NotFound):
            return speed.manifest.windows
        return later(speed.manifest.windows, tried.windows)

    async def replaceable(self, stream: StreamDefinition) -> Current | None:
        """The batch model, where it was made for another definition, or from other inputs than this release makes."""
        try:
            batch = await current(self._store, stream.name, "batch")
        except (RefusedModel, NotFound) as error:
            log.warning("the batch model of %s is not looked at: %s", stream.name, error)
            return None
        return None if batch is None or batch.manifest.definition == stream.fingerprint else batch

    async def has_history(self, stream: StreamDefinition) -> bool:
        """Whether a batch model could learn from files in the store, or from as many archived records as a speed model
        is retrained on, as far as they were looked at. Raises StoreUnavailable."""
        archive = self._archives[stream.name]
        if archive.fresh({}) * stream.window >= stream.retraining.every or await archive.has_days():
            return True
        return await self._history.any(stream, self._aside[stream.name])

    async def train(self, job: JobState) -> Publication:
        """Raises RefusedModel, Conflict when another trainer is at it, InvalidInput, NotFound, ProcessDied and
        StoreUnavailable."""
        if job.stream not in self._streams:
            # Another trainer took it in, which knew more.
            raise InvalidInput(f"found stream {job.stream!r}, expected one of {sorted(self._streams)}")
        stream = self._streams[job.stream]
        try:
            return await (self._train_batch(stream, job) if job.member == "batch" else self._train_speed(stream, job))
        except StoreUnavailable:
            # Nothing is wrong with what was tried: the next wake may try it again.
            self._tried.pop(stream.name, None)
            raise

    async def _train_batch(self, stream: StreamDefinition, job: JobState) -> Publication:
        await self._claims.take(stream.name, "batch", {}, again=True)
        before = await current(self._store, stream.name, "batch")
        if job.trigger == "definition" and _fits(before, stream):
            await self._claims.finish(stream.name, "batch", {})
            raise Conflict("a batch model of this definition was published meanwhile")
        speed = await current(self._store, stream.name, "speed")
        # To tell the series apart is enough there, and rows lie twice in memory while they are handed over.
        history = await self._rows(stream, job)
        rows, sampled_from = await asyncio.to_thread(history.rows.with_short_keys), history.sampled_from
        del history
        parent = await self._model(stream, before)
        trained = await self._fitting.train(fit.Task(stream, rows, parent=parent, sampled_from=sampled_from))
        await self._pass_gate(stream, "batch", trained)
        manifest = await self._publish(stream, "batch", trained, before, before.version if before else None, {})
        await self._claims.finish(stream.name, "batch", {})
        if not _fits(speed, stream):
            # The speed model begins as the batch model, so that it is there from the first record on.
            await self._begin_speed(stream, trained, speed, manifest.version)
        return Publication(manifest, trained.report.beaten)

    async def _rows(self, stream: StreamDefinition, job: JobState) -> TrainingHistory:
        async with self._unpacking:
            try:
                history = await self._records(stream, job)
                return replace(history, rows=await self._with_futures(stream, history.rows))
            finally:
                # Whatever it took to unpack them is given back.
                self._reading.close()

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
        archive, aside = self._archives[stream.name], self._aside[stream.name]
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

    async def _begin_speed(
        self, stream: StreamDefinition, trained: fit.Trained, before: Current | None, parent: str
    ) -> None:
        try:
            await self._publish(stream, "speed", trained, before, parent, {})
        except Conflict as error:
            log.warning("another trainer published a speed model first: %s", error)

    async def _train_speed(self, stream: StreamDefinition, job: JobState) -> Publication:
        archive = self._archives[stream.name]
        if job.trigger != "records":
            # Whoever counted the records has looked.
            await archive.refresh()
        speed = await current(self._store, stream.name, "speed")
        learned = speed.manifest.windows if speed else {}
        newest = carried(archive.newest(), learned)
        if not archive.newest() and not await archive.has_days():
            raise InvalidInput(f"found no archived window of {stream.name}, expected some to learn from")
        self._tried[stream.name] = newest
        await self._claims.take(stream.name, "speed", newest, again=job.trigger == "demand")
        try:
            publication = await self._tune(stream, job)
        except (RefusedModel, InvalidInput):
            # Whoever tried them next would find the same.
            await self._claims.finish(stream.name, "speed", self._try(stream, learned))
            raise
        await self._claims.finish(stream.name, "speed", self._try(stream, learned))
        return publication

    def _try(self, stream: StreamDefinition, learned: Learned) -> dict[str, str]:
        """What was tried, without what was set aside meanwhile: no window that can't be used may hide others."""
        self._tried[stream.name] = carried(self._archives[stream.name].newest(), learned)
        return self._tried[stream.name]

    async def _tune(self, stream: StreamDefinition, job: JobState) -> Publication:
        before = await current(self._store, stream.name, "speed")
        parent = await self._parent(stream, before)
        key = manifests.weights_key(stream.name, parent.manifest.member, parent.version)
        weights = await file_of(self._store, key, WEIGHTS_LIMIT, "parent")
        model = await self._model(stream, parent)
        archive = self._archives[stream.name]
        async with self._unpacking:
            try:
                rows = await self._with_futures(stream, await archive.newest_rows(self._settings.training_rows))
            finally:
                self._reading.rest()
        if job.trigger == "records" and before and not archive.fresh(await self._windows_of(stream, before)):
            raise RefusedModel("rows", "found no new window that can be used, expected some")
        newest = carried(archive.newest(), await self._windows_of(stream, before))
        trained = await self._fitting.train(fit.Task(stream, rows, weights, model))
        await self._pass_gate(stream, "speed", trained)
        return Publication(
            await self._publish(stream, "speed", trained, before, parent.version, newest), trained.report.beaten
        )

    async def _parent(self, stream: StreamDefinition, speed: Current | None) -> Current:
        """What is fine-tuned: what all edges run, never a version on trial, whose faults later ones would inherit. One
        that was taken back is no good beginning. Raises RefusedModel."""
        batch = await current(self._store, stream.name, "batch")
        good = [version if await self._is_good(stream, version) else None for version in (speed, batch)]
        parent = _newer(*good)
        if parent is None:
            raise RefusedModel(
                "parent",
                "found no model of this stream's definition, expected one to fine-tune from: train a batch model",
            )
        return parent

    async def _is_good(self, stream: StreamDefinition, version: Current | None) -> bool:
        if version is None or not _fits(version, stream):
            return False
        name = (stream.name, version.manifest.member, version.version)
        return await quarantine_of(self._store, *name, self._trust) is None

    async def _pass_gate(self, stream: StreamDefinition, member: str, trained: fit.Trained) -> None:
        """Raises RefusedModel, and keeps the candidate with its report, when it is not good enough."""
        extra = {"stream": stream.name, "member": member}
        if trained.report.passed:
            log.info("candidate passed the gate: %s", trained.report.beaten, extra=extra)
            return
        report = msgspec.json.format(msgspec.json.encode(trained.report), indent=1)
        for name, body in (("model.tflite", trained.model), ("report.json", report)):
            await self._store.put(manifests.refused_key(stream.name, member, trained.model, name), body)
        raise RefusedModel("gate", trained.report.reason)

    async def _model(self, stream: StreamDefinition, version: Current | None) -> bytes | None:
        """The model behind a version, when it can be compared with a new one."""
        if version is None or not _fits(version, stream):
            return None
        key = manifests.model_key(stream.name, version.manifest.member, version.version)
        return await file_of(self._store, key, MODEL_LIMIT, "parent")

    async def _publish(
        self,
        stream: StreamDefinition,
        member: str,
        trained: fit.Trained,
        before: Current | None,
        parent: str | None,
        windows: dict[str, str],
    ) -> Manifest:
        manifest = await publish(
            self._store,
            stream,
            member,
            trained,
            signer=self._signer,
            before=before,
            parent=parent,
            windows=windows,
            now=self._clock(),
            trial=await self._trials.of(stream, member, before),
        )
        await self._prune(stream.name, member)
        return manifest

    async def _prune(self, stream: str, member: str) -> None:
        """What can't be removed now is removed after the next publication."""
        try:
            newest = await current(self._store, stream, member)
            if newest is not None:
                await prune(self._store, stream, member, newest, keep=self._settings.versions_kept)
        except (StoreUnavailable, RefusedModel, NotFound) as error:
            log.warning("old versions not removed: %s", error, extra={"stream": stream, "member": member})


def _fitting(settings: TrainerSettings) -> Fitting:
    if settings.train_on is None:
        return TrainingProcess(settings.train_device)
    return RayCluster(settings.train_on, at_once=settings.train_at_once, device=settings.train_device)


def _fits(version: Current | None, stream: StreamDefinition) -> bool:
    """Whether it was made for the stream as it is defined now, by a trainer, so that it can be trained on."""
    if version is None or version.manifest.architecture == manifests.IMPORTED:
        return False
    return version.manifest.definition == stream.fingerprint


def _newer(speed: Current | None, batch: Current | None) -> Current | None:
    """The speed model goes on from itself, until a batch model takes over that came to all edges after it was made."""
    if speed is None or batch is None:
        return speed or batch
    tuned = datetime.fromisoformat(speed.manifest.created).timestamp()
    # Whole seconds, as manifests have them. A batch model may have been on trial for long after it was made.
    return batch if int(batch.since) > tuned else speed
