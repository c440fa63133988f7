"""The trainer: it has models fitted elsewhere, in a child process or on a cluster, so that its own event loop is always
free."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from driftline.errors import Conflict, InvalidInput, NotFound, RefusedModel, StoreUnavailable, Unavailable
from driftline.fleet.reading import FleetView, StoreHeartbeats
from driftline.members import MODELS
from driftline.metrics import Metrics, from_zero
from driftline.store.hints import Keys
from driftline.store.port import Listed, Store
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline_trainer import budget
from driftline_trainer.archive import names_of
from driftline_trainer.claims import Claims
from driftline_trainer.jobs import ENDED, JobBook, JobState, Trigger
from driftline_trainer.process import ProcessDied
from driftline_trainer.renewal import Renewal
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.training import TrainingRun

log = logging.getLogger(__name__)


class Trainer:
    """Runs jobs; see `driftline.service.app.BackgroundJob`. One at a time in a child process, since training takes all
    cores; on a cluster several, of different streams."""

    name = "training jobs"

    def __init__(
        self,
        settings: TrainerSettings,
        store: Store,
        streams: Mapping[str, StreamDefinition],
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        fleet: FleetView | None = None,
    ) -> None:
        """fleet: which edges there are; by default whichever leave heartbeats in the store."""
        self._settings = settings
        self._streams = Streams.of(streams)
        self._metrics = metrics
        self._streams.on_every(lambda stream: from_zero(metrics.training_jobs, (stream.name,), MODELS, sorted(ENDED)))
        self._clock = clock
        self._holder = settings.holder
        self._claims = Claims(store, self._holder, clock, settings.trainer_lease)
        self._book = JobBook(store, self._holder, settings.jobs_remembered)
        self._training = TrainingRun(
            settings, store, streams, self._claims, clock, metrics, fleet or StoreHeartbeats(store)
        )
        self.indexes = self._training.rows.indexes
        self._ended: dict[str, asyncio.Event] = {}
        self._fresh: dict[str, int] = {}
        self._renewal = Renewal(self._training)
        self._under_way: dict[str, str] = {}
        """By running job its stream."""
        self._stopping = False
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._reconciling = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Process id of the child that trains, while there is one."""
        return self._training.pid

    async def idle(self) -> None:
        """Returns when no job runs."""
        await self._idle.wait()

    async def unlearned(self, name: str) -> set[str]:
        """The keys of the windows archived under a name that a speed model has not learned from yet, and would. Raises
        StoreUnavailable."""
        return set[str]().union(*[await self._training.unlearned(stream) for stream in self._archived_as(name)])

    def is_aside(self, name: str, file: Listed) -> bool:
        """Whether a stream can't use what was archived in `file` under a name."""
        return any(self._training.rows.is_aside(stream.name, file) for stream in self._archived_as(name))

    async def set_aside(self, name: str, file: Listed, reason: str) -> None:
        """Where one stream alone could learn from it."""
        streams = self._archived_as(name)
        if len(streams) == 1:
            await self._training.rows.set_aside(streams[0].name, file, reason)

    def _archived_as(self, name: str) -> list[StreamDefinition]:
        return [stream for stream in self._streams.values() if name in names_of(stream)]

    async def run(self) -> None:
        alive = asyncio.create_task(self._stay_alive())
        try:
            async with asyncio.TaskGroup() as jobs:
                while (job := await self._next()) is not None:
                    self._under_way[job.id] = job.stream
                    self._idle.clear()
                    jobs.create_task(self._work(job))
        finally:
            alive.cancel()
            self._training.close()

    async def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    async def submit(
        self,
        stream: str,
        member: str,
        history: str | None = None,
        *,
        trigger: Trigger = "demand",
        reason: str | None = None,
    ) -> JobState:
        """Queues a job, or gives the one that is queued or running for the same model. What is answered was written
        down, except for what the records trigger: that comes again. Raises InvalidInput, StoreUnavailable."""
        if stream not in self._streams:
            # Its definition may have been put there a moment ago.
            await self._streams.look()
        if stream not in self._streams:
            raise InvalidInput(f"found stream {stream!r}, expected one of {sorted(self._streams)}")
        if member not in MODELS:
            raise InvalidInput(f"found member {member!r}, expected one of {list(MODELS)}")
        if member == "speed" and history is not None:
            raise InvalidInput(f"history: found {history!r}, expected none: a speed model learns from archived windows")
        waiting = self._waiting(stream, member)
        if waiting is not None:
            return await self._hurry(waiting) if trigger == "demand" else waiting
        now = self._clock()
        job = JobState(
            self._book.new_id(now), stream, member, history, "queued", now, trigger, self._holder, reason=reason
        )
        if trigger == "records":
            await self._book.note(job)
        else:
            await self._claims.stay_alive()
            # Signed as alive first: a job whose trainer is silent is taken over by another one.
            await self._book.accept(job)
        self._wake.set()
        return job

    def _waiting(self, stream: str, member: str) -> JobState | None:
        return next((job for job in self._book.mine() if (job.stream, job.member) == (stream, member)), None)

    async def _hurry(self, job: JobState) -> JobState:
        """A person does not wait for budgets and windows."""
        if job.trigger != "demand" and job.state == "queued":
            await self._book.note(msgspec.structs.replace(job, trigger="demand"))
            self._wake.set()
        return self._book[job.id]

    async def wait(self, job: str) -> JobState:
        """The job, once it has ended. Raises NotFound."""
        if self.job(job).state not in ENDED:
            await self._ended.setdefault(job, asyncio.Event()).wait()
        return self.job(job)

    def job(self, job: str) -> JobState:
        if job not in self._book:
            raise NotFound(f"found no job {job!r}; the last {self._settings.jobs_remembered} are remembered")
        return self._book[job]

    def jobs(self) -> list[JobState]:
        """All that are remembered, the newest first."""
        return self._book.all()

    async def reconcile(self, keys: Keys = None) -> None:
        """Retrains the speed model of every stream whose archive has grown enough, and waits for that; looks at all
        windows, or at those that `keys` name alone. Where it names none, it also takes up what was left undone and has
        batch models trained in the place of those that can't serve any more. Raises StoreUnavailable."""
        async with self._reconciling:
            await self._book.catch_up()
            # A copy, since streams may be added during the awaits. All counts come first: what is then waited for are
            # whole trainings, and jobs of other streams may run meanwhile.
            streams = [stream for stream in self._streams.values() if not keys or concerns(keys, stream)]
            await self._training.rows.look(streams, keys)
            if not keys:
                await self._book.look(self._claims.alive)
                for stream in streams:
                    await self._renew(stream)
            for stream in streams:
                self._fresh[stream.name] = await self._training.fresh(stream)
            self._wake.set()
            due = [stream.name for stream in streams if self._is_due(stream)]
            submitted = [await self.submit(name, "speed", trigger="records") for name in due]
            await asyncio.gather(*(self.wait(job.id) for job in submitted))

    def _is_due(self, stream: StreamDefinition) -> bool:
        """Whether its speed model may learn from enough new windows, now."""
        return self._fresh[stream.name] >= stream.retraining.every and self._earliest(stream.name) <= self._clock()

    async def _renew(self, stream: StreamDefinition) -> None:
        """Queues a batch model where the current one was made for another definition. Raises StoreUnavailable."""
        due = await self._renewal.due(stream, self._book.all())
        if due is not None:
            await self.submit(stream.name, "batch", due.history, trigger="definition", reason=due.reason)
            self._renewal.done(stream.name)
            log.warning("a batch model is trained: %s", due.reason, extra={"stream": stream.name})

    async def _next(self) -> JobState | None:
        """The oldest job that may run now, as soon as there is one; None to stop."""
        while not self._stopping:
            # Before the look at the book, so that a change after it is not slept through.
            self._wake.clear()
            waiting = self._may_begin()
            times = {job.id: self._runs_at(job) for job in waiting}
            ready = [job for job in waiting if times[job.id] <= self._clock()]
            if ready:
                return ready[0]
            await self._woken(min(times.values(), default=float("inf")) - self._clock())
        return None

    def _may_begin(self) -> list[JobState]:
        """What is not under way, while there is room: of a stream one job at a time, since the batch model begins the
        speed model."""
        if len(self._under_way) >= self._training.at_once:
            return []
        return [job for job in self._book.mine() if job.stream not in self._under_way.values()]

    async def _woken(self, seconds: float) -> None:
        """Returns when something has changed, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds if seconds < float("inf") else None):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _runs_at(self, job: JobState) -> float:
        """What nobody asked for waits for the budget and, after an alert, for a window to learn from."""
        if job.trigger == "demand":
            return 0.0
        if job.trigger not in {"records", "definition"} and not self._fresh.get(job.stream):
            return float("inf")
        return self._earliest(job.stream)

    def _earliest(self, stream: str) -> float:
        jobs = [job for job in self._book.all() if job.stream == stream and job.trigger != "demand"]
        starts = sorted(job.started for job in jobs if job.started is not None)
        return budget.earliest(
            starts, self._settings.retrain_interval, self._settings.retrains_per_day, now=self._clock()
        )

    async def _stay_alive(self) -> None:
        """While there is work, says so: others take over what belongs to nobody."""
        while True:
            if self._book.mine():
                try:
                    await self._claims.stay_alive()
                except StoreUnavailable as error:
                    log.warning("other trainers are not told that this one lives: %s", error)
            await asyncio.sleep(self._settings.trainer_lease / 6)

    async def _work(self, job: JobState) -> None:
        try:
            await self._run_to_its_end(job)
        finally:
            self._under_way.pop(job.id, None)
            if not self._under_way:
                self._idle.set()
            self._wake.set()

    async def _run_to_its_end(self, job: JobState) -> None:
        job = msgspec.structs.replace(job, state="running", started=self._clock())
        await self._book.note(job)
        began = time.monotonic()
        job = await self._outcome(job)
        self._metrics.training_jobs.labels(job.stream, job.member, job.state).inc()
        self._metrics.training_seconds.labels(job.stream, job.member).observe(time.monotonic() - began)
        if job.member == "speed":
            # Nothing new until the next look at the archive: a refused job is not repeated on the same windows.
            self._fresh[job.stream] = 0
        await self._book.note(msgspec.structs.replace(job, ended=self._clock()))
        # After the note, since the waiters read the book.
        if (waiting := self._ended.pop(job.id, None)) is not None:
            waiting.set()
        extra = {"job": job.id, "stream": job.stream, "member": job.member, "state": job.state, "reason": job.reason}
        log.info("training job ended", extra=extra)

    async def _outcome(self, job: JobState) -> JobState:
        try:
            publication = await self._training.train(job)
        except (RefusedModel, Conflict) as error:
            return msgspec.structs.replace(job, state="refused", reason=str(error))
        except (Unavailable, InvalidInput, NotFound, ProcessDied) as error:
            return msgspec.structs.replace(job, state="failed", reason=str(error))
        except Exception:
            log.exception("training job failed", extra={"job": job.id, "stream": job.stream, "member": job.member})
            return msgspec.structs.replace(job, state="failed", reason="an unexpected error; the log has the details")
        return msgspec.structs.replace(
            job,
            state="published",
            version=publication.manifest.version,
            beaten=publication.beaten,
            metrics=publication.manifest.metrics,
        )


def concerns(keys: frozenset[str], stream: StreamDefinition) -> bool:
    """Whether one of these is of what was archived for the stream."""
    prefixes = tuple(f"windows/{name}/" for name in names_of(stream))
    return any(key.startswith(prefixes) for key in keys)
