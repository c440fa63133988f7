"""The trainer: one job at a time, in a child process, so that its own event loop is always free."""

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from driftline import manifest as manifests
from driftline.definition import StreamDefinition
from driftline.errors import Conflict, InvalidInput, NotFound, RefusedModel, StoreUnavailable
from driftline.hints import Keys
from driftline.manifest import Manifest
from driftline.members import MODELS
from driftline.metrics import Metrics
from driftline.store import Store
from driftline.tables import Rows
from driftline_trainer import fit
from driftline_trainer.history import Archive, everything, named
from driftline_trainer.process import ProcessDied, TrainingProcess
from driftline_trainer.prune import prune
from driftline_trainer.publish import Current, current, publish, read
from driftline_trainer.settings import TrainerSettings

log = logging.getLogger(__name__)

State = Literal["queued", "running", "published", "refused", "failed"]
ENDED: frozenset[State] = frozenset({"published", "refused", "failed"})


class JobState(msgspec.Struct, frozen=True):
    """A training job, as it stands. Times in seconds since the epoch."""

    id: str
    stream: str
    member: str
    history: str | None
    state: State
    submitted: float
    started: float | None = None
    ended: float | None = None
    reason: str | None = None
    version: str | None = None
    metrics: dict[str, float] = {}


class Trainer:
    """Runs jobs; see `driftline.service.Job`. One at a time: training takes all the cores that there are."""

    name = "training jobs"

    def __init__(
        self,
        settings: TrainerSettings,
        store: Store,
        streams: Mapping[str, StreamDefinition],
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._streams = streams
        self._metrics = metrics
        self._clock = clock
        self._archives = {name: Archive(store, stream) for name, stream in streams.items()}
        # What a refused or failed job has tried is not tried again until more has come.
        self._tried: dict[str, dict[str, str]] = {}
        self._jobs: OrderedDict[str, JobState] = OrderedDict()
        self._ended: dict[str, asyncio.Event] = {}
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._reconciling = asyncio.Lock()
        self._process = TrainingProcess()
        self._signer = settings.signer()
        if self._signer is None:
            log.warning("found no signing key: what is published here is unsigned, and the edge refuses it by default")

    async def run(self) -> None:
        try:
            while (job := await self._queue.get()) is not None:
                await self._work(self._jobs[job])
        finally:
            self._process.close()

    async def stop(self) -> None:
        self._queue.put_nowait(None)

    def submit(self, stream: str, member: str, history: str | None = None) -> JobState:
        """Queues a job, or gives the one that is queued or running for the same model. Raises InvalidInput."""
        if stream not in self._streams:
            raise InvalidInput(f"found stream {stream!r}, expected one of {sorted(self._streams)}")
        if member not in MODELS:
            raise InvalidInput(f"found member {member!r}, expected one of {list(MODELS)}")
        if member == "speed" and history is not None:
            raise InvalidInput(f"history: found {history!r}, expected none: a speed model learns from archived windows")
        for job in self._jobs.values():
            if (job.stream, job.member) == (stream, member) and job.state not in ENDED:
                return job
        job = JobState(uuid.uuid4().hex[:12], stream, member, history, "queued", self._clock())
        self._ended[job.id] = asyncio.Event()
        self._note(job)
        self._queue.put_nowait(job.id)
        return job

    async def wait(self, job: str) -> JobState:
        """The job, once it has ended. Raises NotFound."""
        self.job(job)
        if job in self._ended:
            await self._ended[job].wait()
        return self.job(job)

    def job(self, job: str) -> JobState:
        if job not in self._jobs:
            raise NotFound(f"found no job {job!r}; the last {self._settings.jobs_remembered} are remembered")
        return self._jobs[job]

    def jobs(self) -> list[JobState]:
        """All that are remembered, the newest first."""
        return list(reversed(self._jobs.values()))

    async def reconcile(self, _: Keys = None) -> None:
        """Retrains the speed model of every stream whose archive has grown enough, and waits for it."""
        async with self._reconciling:
            for stream in self._streams.values():
                if await self._is_due(stream):
                    await self.wait(self.submit(stream.name, "speed").id)

    async def _is_due(self, stream: StreamDefinition) -> bool:
        archive = self._archives[stream.name]
        await archive.refresh()
        try:
            speed = await current(self._store, stream.name, "speed")
            batch = await current(self._store, stream.name, "batch")
        except (RefusedModel, NotFound) as error:
            log.warning("no retraining of %s: %s", stream.name, error)
            return False
        learned = _later(self._tried.get(stream.name, {}), speed.manifest.windows if speed else {})
        records = archive.since(learned).count * stream.window
        return (_fits(speed, stream) or _fits(batch, stream)) and records >= stream.retraining.every

    def _note(self, job: JobState) -> None:
        self._jobs[job.id] = job
        ended = [name for name, known in self._jobs.items() if known.state in ENDED]
        for name in ended[: max(0, len(self._jobs) - self._settings.jobs_remembered)]:
            del self._jobs[name]

    async def _work(self, job: JobState) -> None:
        job = msgspec.structs.replace(job, state="running", started=self._clock())
        self._note(job)
        job = await self._outcome(job)
        ended = self._clock()
        self._metrics.training_jobs.labels(job.stream, job.member, job.state).inc()
        self._metrics.training_seconds.labels(job.stream, job.member).observe(ended - (job.started or ended))
        self._note(msgspec.structs.replace(job, ended=ended))
        self._ended.pop(job.id).set()
        extra = {"job": job.id, "stream": job.stream, "member": job.member, "state": job.state, "reason": job.reason}
        log.info("training job ended", extra=extra)

    async def _outcome(self, job: JobState) -> JobState:
        try:
            made = await self._train(job)
        except (RefusedModel, Conflict) as error:
            return msgspec.structs.replace(job, state="refused", reason=str(error))
        except StoreUnavailable as error:
            # Nothing is wrong with what was tried: the next wake may try it again.
            self._tried.pop(job.stream, None)
            return msgspec.structs.replace(job, state="failed", reason=str(error))
        except (InvalidInput, NotFound, ProcessDied) as error:
            return msgspec.structs.replace(job, state="failed", reason=str(error))
        except Exception:
            log.exception("training job failed", extra={"job": job.id, "stream": job.stream, "member": job.member})
            return msgspec.structs.replace(job, state="failed", reason="an unexpected error; the log has the details")
        return msgspec.structs.replace(job, state="published", version=made.version, metrics=made.metrics)

    async def _train(self, job: JobState) -> Manifest:
        stream = self._streams[job.stream]
        return await (self._train_batch(stream, job) if job.member == "batch" else self._train_speed(stream))

    async def _train_batch(self, stream: StreamDefinition, job: JobState) -> Manifest:
        before = await current(self._store, stream.name, "batch")
        speed = await current(self._store, stream.name, "speed")
        rows = await self._history(stream, job)
        trained = await self._process.train(fit.Task(stream, rows, parent=await self._model(stream, before)))
        await self._pass_gate(stream, "batch", trained)
        made = await self._publish(stream, "batch", trained, before, before.version if before else None, {})
        if not _fits(speed, stream):
            # The speed model begins as the batch model, so that it is there from the first record on.
            await self._begin_speed(stream, trained, speed, made.version)
        return made

    async def _history(self, stream: StreamDefinition, job: JobState) -> Rows:
        if job.history is not None:
            return await named(self._store, self._settings.data_dir, stream, job.history)
        await self._archives[stream.name].refresh()
        return await everything(self._store, stream, self._archives[stream.name])

    async def _begin_speed(
        self, stream: StreamDefinition, trained: fit.Trained, before: Current | None, parent: str
    ) -> None:
        try:
            await self._publish(stream, "speed", trained, before, parent, {})
        except Conflict as error:
            log.warning("another trainer published a speed model first: %s", error)

    async def _train_speed(self, stream: StreamDefinition) -> Manifest:
        before = await current(self._store, stream.name, "speed")
        batch = await current(self._store, stream.name, "batch")
        parent = _newer(before if _fits(before, stream) else None, batch if _fits(batch, stream) else None)
        if parent is None:
            raise RefusedModel("parent", "found no model of this stream's definition, expected one to fine-tune from")
        archive = self._archives[stream.name]
        await archive.refresh()
        newest = archive.since({}).newest
        if not newest:
            raise InvalidInput(f"found no archived window of {stream.name}, expected some to learn from")
        self._tried[stream.name] = newest
        weights = await read(self._store, manifests.weights_key(stream.name, parent.manifest.member, parent.version))
        model = await self._model(stream, parent)
        trained = await self._process.train(fit.Task(stream, await archive.newest_rows(), weights, model))
        await self._pass_gate(stream, "speed", trained)
        return await self._publish(stream, "speed", trained, before, parent.version, newest)

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
        """The model behind a version, when it can be scored beside a new one."""
        if version is None or not _fits(version, stream):
            return None
        return await read(self._store, manifests.model_key(stream.name, version.manifest.member, version.version))

    async def _publish(
        self,
        stream: StreamDefinition,
        member: str,
        trained: fit.Trained,
        before: Current | None,
        parent: str | None,
        windows: dict[str, str],
    ) -> Manifest:
        made = await publish(
            self._store,
            stream,
            member,
            trained,
            signer=self._signer,
            before=before,
            parent=parent,
            windows=windows,
            now=self._clock(),
        )
        await self._prune(stream.name, member)
        return made

    async def _prune(self, stream: str, member: str) -> None:
        """What can't be removed now is removed after the next publication."""
        try:
            newest = await current(self._store, stream, member)
            if newest is not None:
                await prune(self._store, stream, member, newest, keep=self._settings.versions_kept)
        except (StoreUnavailable, RefusedModel, NotFound) as error:
            log.warning("old versions not removed: %s", error, extra={"stream": stream, "member": member})


def _fits(version: Current | None, stream: StreamDefinition) -> bool:
    """Whether it was made for the stream as it is defined now, by a trainer, so that it can be trained on."""
    if version is None or version.manifest.architecture == manifests.IMPORTED:
        return False
    return version.manifest.definition == stream.fingerprint


def _later(one: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    """Per series the newer of two windows."""
    return {series: max(one.get(series, ""), other.get(series, "")) for series in one.keys() | other.keys()}


def _newer(speed: Current | None, batch: Current | None) -> Current | None:
    """The speed model goes on from itself, until a batch model of newer making takes over."""
    if speed is None or batch is None:
        return speed or batch
    return batch if batch.manifest.created > speed.manifest.created else speed
