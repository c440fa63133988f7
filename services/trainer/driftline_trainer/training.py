"""What a job does: gathers the rows, has a model trained, passes it through the gate and publishes it."""

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec

from driftline.errors import Conflict, InvalidInput, NotFound, RefusedModel, StoreUnavailable
from driftline.fleet.reading import FleetView
from driftline.metrics import Metrics
from driftline.models.manifest import Manifest
from driftline.store.port import Store
from driftline.streams.definition import StreamDefinition
from driftline.versions.releases import Current, current, manifest_of
from driftline_trainer import fit
from driftline_trainer.claims import Claims
from driftline_trainer.jobs import JobState
from driftline_trainer.learned import Learned, carried, later
from driftline_trainer.parents import Parents, fits
from driftline_trainer.process import Fitting, TrainingProcess
from driftline_trainer.publisher import Publisher
from driftline_trainer.ray_cluster import RayCluster
from driftline_trainer.rollouts.trials import Trials
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.training_rows import TrainingRows
from driftline_trainer.trust import own_trust

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
        self._store = store
        self._streams = streams
        self._claims = claims
        self.rows = TrainingRows(settings, store, streams, clock, metrics)
        # What a refused or failed job has tried is not tried again until more has come.
        self._tried: dict[str, dict[str, str]] = {}
        self._fitting = _fitting(settings)
        signer = settings.signer()
        trust = own_trust(signer)
        self._parents = Parents(store, trust)
        trials = Trials(store, fleet, trust, clock)
        self._publisher = Publisher(store, trials, signer, clock, versions_kept=settings.versions_kept)
        if signer is None:
            log.warning("found no signing key: what is published here is unsigned, and the edge refuses it by default")

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
        self.rows.close()

    async def fresh(self, stream: StreamDefinition) -> int:
        """Archived records that the speed model could learn from and has not, as far as they were looked at; 0 where
        there is nothing to fine-tune. Raises StoreUnavailable."""
        learned = await self._learned(stream)
        return 0 if learned is None else self.rows.archives[stream.name].fresh(learned) * stream.window

    async def unlearned(self, stream: StreamDefinition) -> set[str]:
        """The keys of the windows that `fresh` counts. Raises StoreUnavailable."""
        learned = await self._learned(stream)
        return (
            set() if learned is None else {window.key for window in self.rows.archives[stream.name].unlearned(learned)}
        )

    async def _learned(self, stream: StreamDefinition) -> Learned | None:
        """What the speed model has learned from or tried; None where there is nothing to fine-tune."""
        try:
            speed = await current(self._store, stream.name, "speed")
            batch = await current(self._store, stream.name, "batch")
        except (RefusedModel, NotFound) as error:
            log.warning("no retraining of %s: %s", stream.name, error)
            return None
        if not (fits(speed, stream) or fits(batch, stream)):
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
        if job.trigger == "definition" and fits(before, stream):
            await self._claims.finish(stream.name, "batch", {})
            raise Conflict("a batch model of this definition was published meanwhile")
        speed = await current(self._store, stream.name, "speed")
        # To tell the series apart is enough there, and rows lie twice in memory while they are handed over.
        history = await self.rows.history(stream, job)
        rows, sampled_from = await asyncio.to_thread(history.rows.with_short_keys), history.sampled_from
        del history
        parent = await self._parents.model(stream, before)
        trained = await self._fitting.train(fit.Task(stream, rows, parent=parent, sampled_from=sampled_from))
        await self._publisher.pass_gate(stream, "batch", trained)
        manifest = await self._publisher.publish(
            stream, "batch", trained, before, before.version if before else None, {}
        )
        await self._claims.finish(stream.name, "batch", {})
        if not fits(speed, stream):
            # The speed model begins as the batch model, so that it is there from the first record on.
            await self._begin_speed(stream, trained, speed, manifest.version)
        return Publication(manifest, trained.report.beaten)

    async def _begin_speed(
        self, stream: StreamDefinition, trained: fit.Trained, before: Current | None, parent: str
    ) -> None:
        try:
            await self._publisher.publish(stream, "speed", trained, before, parent, {})
        except Conflict as error:
            log.warning("another trainer published a speed model first: %s", error)

    async def _train_speed(self, stream: StreamDefinition, job: JobState) -> Publication:
        archive = self.rows.archives[stream.name]
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
        self._tried[stream.name] = carried(self.rows.archives[stream.name].newest(), learned)
        return self._tried[stream.name]

    async def _tune(self, stream: StreamDefinition, job: JobState) -> Publication:
        before = await current(self._store, stream.name, "speed")
        parent = await self._parents.to_fine_tune(stream, before)
        weights = await self._parents.weights(stream, parent)
        model = await self._parents.model(stream, parent)
        archive = self.rows.archives[stream.name]
        rows = await self.rows.newest(stream)
        if job.trigger == "records" and before and not archive.fresh(await self._windows_of(stream, before)):
            raise RefusedModel("rows", "found no new window that can be used, expected some")
        newest = carried(archive.newest(), await self._windows_of(stream, before))
        trained = await self._fitting.train(fit.Task(stream, rows, weights, model))
        await self._publisher.pass_gate(stream, "speed", trained)
        return Publication(
            await self._publisher.publish(stream, "speed", trained, before, parent.version, newest),
            trained.report.beaten,
        )


def _fitting(settings: TrainerSettings) -> Fitting:
    if settings.train_on is None:
        return TrainingProcess(settings.train_device)
    return RayCluster(settings.train_on, at_once=settings.train_at_once, device=settings.train_device)
