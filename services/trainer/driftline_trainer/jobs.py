"""Training jobs as they stand, in memory and in the store: a job that was accepted outlives its trainer.

jobs/<id>.json holds each; ids sort by time. A job belongs to the trainer that took it in, until that one lives no more.
"""

import asyncio
import logging
import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from driftline.errors import Conflict, InvalidInput, NotFound, StoreUnavailable
from driftline.store.port import Store

log = logging.getLogger(__name__)

State = Literal["queued", "running", "published", "refused", "failed"]
Trigger = Literal["demand", "records", "drift", "negative-skill", "definition"]
"""Why a model is trained: a person asks, enough records have come, an alert, or the definition is another one."""
ENDED: frozenset[State] = frozenset({"published", "refused", "failed"})
PREFIX = "jobs/"
FORM = re.compile(PREFIX + r"\d{16}-[0-9a-f]{8}\.json")
LIMIT = 128 * 1024
"""Bytes of a job at most; the metrics of a thousand horizons are less."""
REASON_SHOWN = 2000
"""Characters of a job's reason that are kept."""


class JobState(msgspec.Struct, frozen=True):
    """A training job and its state. Times in seconds since the epoch."""

    id: str
    stream: str
    member: str
    history: str | None
    state: State
    submitted: float
    trigger: Trigger = "demand"
    holder: str = ""
    """The trainer that has it."""
    started: float | None = None
    ended: float | None = None
    reason: str | None = None
    """Why it was refused or has failed, or why a model of another definition is replaced."""
    version: str | None = None
    beaten: str | None = None
    """What the version was compared to at the gate, and by how much it was better."""
    metrics: dict[str, float] = {}


class JobBook:
    """All jobs that are remembered; `remembered` of those that have ended. `holder` names this trainer."""

    def __init__(self, store: Store, holder: str, remembered: int) -> None:
        self._store = store
        self._holder = holder
        self._remembered = remembered
        self._jobs: dict[str, JobState] = {}
        self._etags: dict[str, str] = {}
        self._unwritten: set[str] = set()
        # No jobs, though they are called so: each is said once.
        self._unusable: set[str] = set()
        # A job's etag is that of its last writing: one at a time.
        self._writing = asyncio.Lock()

    def __contains__(self, job: str) -> bool:
        return job in self._jobs

    def __getitem__(self, job: str) -> JobState:
        return self._jobs[job]

    def all(self) -> list[JobState]:
        """The newest first."""
        return [self._jobs[job] for job in sorted(self._jobs, reverse=True)]

    def new_id(self, now: float) -> str:
        """One that sorts behind all that are known, also when the clock was set back."""
        times = (job.partition("-")[0] for job in self._jobs)
        newest = max((int(t) for t in times if t.isdecimal()), default=0)
        return f"{max(int(now * 1e6), newest + 1):016d}-{uuid.uuid4().hex[:8]}"

    def mine(self) -> list[JobState]:
        """What this trainer has to do, the oldest first."""
        return [job for job in reversed(self.all()) if job.holder == self._holder and job.state not in ENDED]

    async def accept(self, job: JobState) -> None:
        """Takes in a job that must not be lost. Raises StoreUnavailable: then it was not taken."""
        self._etags[job.id] = await self._store.put(_key(job.id), msgspec.json.encode(job), if_absent=True)
        self._jobs[job.id] = job

    async def note(self, job: JobState) -> None:
        """What has become of a job; while the store is away it is written by a later call."""
        self._jobs[job.id] = job
        self._unwritten.add(job.id)
        await self.catch_up()

    async def catch_up(self) -> None:
        """Writes what is not written yet, and removes what is no longer remembered."""
        async with self._writing:
            await self._catch_up()

    async def _catch_up(self) -> None:
        try:
            for job in sorted(self._unwritten):
                self._unwritten.discard(job)
                try:
                    await self._write(self._jobs[job])
                except StoreUnavailable:
                    self._unwritten.add(job)
                    raise
            ended = [job for job in sorted(self._jobs) if self._jobs[job].state in ENDED]
            for job in ended[: max(0, len(self._jobs) - self._remembered)]:
                await self._store.delete(_key(job))
                self._etags.pop(job, None)
                del self._jobs[job]
        except StoreUnavailable as error:
            log.warning("jobs not written: %s", error)

    async def _write(self, job: JobState) -> None:
        body, etag = msgspec.json.encode(job), self._etags.get(job.id)
        try:
            if etag is None:
                self._etags[job.id] = await self._store.put(_key(job.id), body, if_absent=True)
            else:
                self._etags[job.id] = await self._store.put(_key(job.id), body, if_match=etag)
        except (Conflict, NotFound):
            log.warning("another trainer took the job over", extra={"job": job.id})

    async def look(self, alive: Callable[[str], Awaitable[bool]]) -> None:
        """Reads what other trainers noted, and takes over what lost its trainer; also what this one had before it was
        restarted. Raises StoreUnavailable."""
        listed = [listed.key async for listed in self._store.list(PREFIX) if FORM.fullmatch(listed.key)]
        for key in [key for key in listed if key not in self._unusable][-self._remembered :]:
            known = self._jobs.get(_id(key))
            if known is None or (known.state not in ENDED and known.holder != self._holder):
                await self._read(key, alive)

    async def _read(self, key: str, alive: Callable[[str], Awaitable[bool]]) -> None:
        try:
            body = await self._store.get(key, limit=LIMIT)
            assert body is not None, "only a conditional get may answer with nothing"  # noqa: S101
            job = _decode(key, body.body)
        except NotFound:
            return
        except (InvalidInput, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._unusable.add(key)
            log.warning("found no job: %s", error, extra={"key": key})
            return
        self._jobs[job.id], self._etags[job.id] = job, body.etag
        if job.state not in ENDED and (job.holder == self._holder or not await alive(job.holder)):
            await self._adopt(job)

    async def _adopt(self, job: JobState) -> None:
        again = msgspec.structs.replace(job, state="queued", started=None, holder=self._holder)
        try:
            put = self._store.put(_key(job.id), msgspec.json.encode(again), if_match=self._etags[job.id])
            self._etags[job.id] = await put
        except (Conflict, NotFound):
            return
        self._jobs[job.id] = again
        log.info("job taken up again", extra={"job": job.id, "before": job.holder})


def _decode(key: str, body: bytes) -> JobState:
    """Raises InvalidInput, and what msgspec raises, for what is not the job that its key names."""
    job = msgspec.json.decode(body, type=JobState)
    if job.id != _id(key):
        raise InvalidInput(f"{key}: found a job of another name, expected {_id(key)}")
    return job


def _id(key: str) -> str:
    return key.removeprefix(PREFIX).removesuffix(".json")


def _key(job: str) -> str:
    return f"{PREFIX}{job}.json"
