"""The whole chain in one process: four services over the in-memory bus and a folder store, driven deterministically.

It is what demo, backtest and the end-to-end test run. The services are the real ones, behind their own doors; only the
pace is ours: the stream pauses while a window is archived, learned from and swapped in, as it would at a sensor's pace.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from driftline.bus.memory import MemoryBus
from driftline.errors import DriftlineError
from driftline.messages import ALERTS, BLENDS, Alert, Blend, M, Topic
from driftline.metrics import Metrics
from driftline.models.signing import Signer, new_key
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.issued import IssuedFutures
from driftline_cli.replay import chunks, post, post_futures
from driftline_client import AsyncClient, SendReceipt
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_inference.app import create_app as create_inference
from driftline_inference.registry.reconciler import Reconciler
from driftline_inference.registry.registry import Registry
from driftline_inference.settings import InferenceSettings
from driftline_inference.step import ForecastStep
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings
from driftline_trainer.app import create_app as create_trainer
from driftline_trainer.jobs import JobState
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer

PATIENCE_S = 120.0
"""How long a part of the chain may take to follow before something is wrong."""
HINTLESS_S = 0.2
"""How often the store is looked at when no hint comes."""
NO_LIMIT = 1_000_000
"""Of retrainings: here a month passes in seconds."""
PAGE_POINTS = 5000
POLL_S = 3600.0
"""The chain reconciles by itself, so the services' own slow poll may sleep."""


class ChainStuckError(DriftlineError):
    """A part of the chain does not follow."""


@dataclass
class CollectedOutputs:
    """What was put out so far."""

    blends: list[Blend] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    death: str | None = None
    """The job that died, and of what."""


@dataclass
class ModelSwap:
    """A model that began to serve. t: time of the newest record then, milliseconds since the epoch."""

    member: str
    version: str
    t: int


class Chain:
    """A running chain; made by `running_chain`."""

    def __init__(
        self,
        streams: Mapping[str, StreamDefinition],
        apps: Mapping[str, FastAPI],
        metrics: Mapping[str, Metrics],
        store: FolderStore,
        trainer: Trainer,
        registry: Registry,
        reconciler: Reconciler,
        stream_steps: Mapping[str, ForecastStep],
        door: AsyncClient,
        collected: CollectedOutputs,
    ) -> None:
        self.streams = streams
        self.apps = apps
        self.metrics = metrics
        self.collected = collected
        self.receipt = SendReceipt()
        self.swaps: list[ModelSwap] = []
        self.retrains = 0
        self._store = store
        self._trainer = trainer
        self._registry = registry
        self._reconciler = reconciler
        self._stream_steps = stream_steps
        self._door = door
        self._counts: dict[tuple[str, str], int] = {}
        self._last_t: dict[tuple[str, str], int] = {}
        self._newest = 0
        self._adopted: dict[tuple[str, str], str] = {}

    async def train(self, stream: StreamDefinition, history: Rows) -> JobState:
        """Puts the history into the store, trains the batch model on it and swaps it in. Raises ChainStuckError."""
        key = f"history/{stream.name}/history.parquet"
        await self._store.put(key, await asyncio.to_thread(tables.encode, history, stream))
        if len(history.futures):
            futures = await asyncio.to_thread(tables.encode_futures, history.futures, stream)
            await self._store.put(f"history/{stream.name}/futures.parquet", futures)
        job = await self._trainer.wait((await self._trainer.submit(stream.name, "batch", key)).id)
        if job.state != "published":
            raise ChainStuckError(f"the batch model was not published: {job.state}: {job.reason}")
        await self._adopt()
        return job

    async def stream(self, stream: StreamDefinition, rows: Rows) -> AsyncIterator[int]:
        """Posts all rows through ingest's door, window by window, and yields how many are done. What is known ahead of
        them is posted when it was issued.

        After each window the whole chain has followed: blends, archived windows, retrained and swapped models.
        """
        done = 0
        issued, groups = IssuedFutures.of(rows), dict(zip(rows.keys.tolist(), rows.groups.tolist(), strict=True))
        await self._adopt()
        for part in chunks(rows, stream.window):
            for futures, records in issued.turns(done, part):
                await post_futures(self._door, stream, futures, groups)
                self.receipt += await post(self._door, stream, records)
            self._newest = int(part.t.max())
            self._count(stream, part)
            await self._follow()
            done += len(part)
            yield done

    def _count(self, stream: StreamDefinition, part: Rows) -> None:
        """Counts the new records of each series, as every reader does: repeated and late ones are none."""
        for key, series in part.by_key().items():
            name = (stream.name, key)
            self._counts[name] = self._counts.get(name, 0) + int((series.t > self._last_t.get(name, -1)).sum())
            self._last_t[name] = max(int(series.t.max()), self._last_t.get(name, -1))

    async def _follow(self) -> None:
        await self._until(lambda: len(self.collected.blends) + self._waiting() >= self.receipt.accepted, "blends")
        await self._archived()
        before = self._jobs()
        await self._trainer.reconcile()
        self.retrains += self._jobs() - before
        await self._adopt()

    def _waiting(self) -> int:
        """Records whose group is not complete yet."""
        return sum(step.waiting for step in self._stream_steps.values())

    def _jobs(self) -> int:
        return sum(job.member == "speed" and job.state == "published" for job in self._trainer.jobs())

    async def _until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not holds():
                    if self.collected.death is not None:
                        raise ChainStuckError(self.collected.death)
                    self.collected.changed.clear()
                    await self.collected.changed.wait()
        except TimeoutError as error:
            raise ChainStuckError(f"the {what} did not follow within {PATIENCE_S:.0f} s") from error

    async def _archived(self) -> None:
        """Waits until every full window of what was accepted lies in the store."""
        full = sum(count // self.streams[stream].window for (stream, _), count in self._counts.items())
        try:
            async with asyncio.timeout(PATIENCE_S):
                async for _ in self._store.watch("windows/", poll=HINTLESS_S):
                    if sum([1 async for _ in self._store.list("windows/")]) >= full:
                        return
        except TimeoutError as error:
            raise ChainStuckError(f"the archive did not follow within {PATIENCE_S:.0f} s") from error

    async def _adopt(self) -> None:
        await self._reconciler.reconcile()
        # Compared with what was seen last: inference looks for itself, too, and may have been the quicker one.
        for name, model in self._registry.serving().items():
            if self._adopted.get(name) != model.version:
                self._adopted[name] = model.version
                self.swaps.append(ModelSwap(name[1], model.version, self._newest))


async def _collect(bus: MemoryBus, collected: CollectedOutputs) -> None:
    """Gathers what the combiner publishes, until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_gather(bus, BLENDS, collected.blends, collected.changed))
        tasks.create_task(_gather(bus, ALERTS, collected.alerts, collected.changed))


async def _gather(bus: MemoryBus, topic: Topic[M], into: list[M], changed: asyncio.Event) -> None:
    async for page in bus.tail(topic, earliest=True):
        into += [envelope.value for envelope in page]
        changed.set()


@asynccontextmanager
async def running_chain(
    streams: Mapping[str, StreamDefinition],
    folder: Path,
    *,
    signing_key: str | None = None,
    page_services: Mapping[str, str] | None = None,
) -> AsyncIterator[Chain]:
    """All four services, started; `folder` becomes the object store. Models are signed and believed by `signing_key`,
    or by one that is made up for this run. page_services: where the services will be served, for the dashboard; without
    it there is none. Records are on the grid of their stream already, as readers of files give them."""
    streams = {name: stream.without_grid for name, stream in streams.items()}
    bus, store = MemoryBus(), FolderStore(folder)
    metrics = {name: Metrics() for name in ("ingest", "inference", "combiner", "trainer")}
    collected = CollectedOutputs()

    def on_death(job: str, error: BaseException) -> None:
        collected.death = f"{job} died: {error!r}"
        collected.changed.set()

    # What the environment says is for services that run for themselves: here nothing must reach somebody's store.
    shared: dict[str, Any] = {"store": str(folder), "store_poll": POLL_S, "token": None}
    key = signing_key or new_key()
    training = TrainerSettings(**shared, signing_key=SecretStr(key), retrain_interval=0, retrains_per_day=NO_LIMIT)
    inferring = InferenceSettings(**shared, trusted_keys=Signer(key).public, cache=None)
    points: dict[str, Any] = {
        "page_points": PAGE_POINTS if page_services else 0,
        "page_services": dict(page_services or {}),
    }
    blending = CombinerSettings(**shared, **points)
    trainer = Trainer(training, store, streams, metrics["trainer"])
    common: dict[str, Any] = {"streams": streams, "on_death": on_death}
    apps = {
        "ingest": create_ingest(IngestSettings(**shared), bus, store, metrics=metrics["ingest"], **common),
        "inference": create_inference(inferring, bus, store, metrics=metrics["inference"], **common),
        "combiner": create_combiner(blending, bus, store=store, metrics=metrics["combiner"], **common),
        "trainer": create_trainer(training, store, metrics=metrics["trainer"], trainer=trainer, **common),
    }
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(app.router.lifespan_context(app))
        door = await stack.enter_async_context(AsyncClient(transport=httpx.ASGITransport(apps["ingest"])))
        collecting = asyncio.create_task(_collect(bus, collected))
        try:
            state = apps["inference"].state
            yield Chain(
                streams,
                apps,
                metrics,
                store,
                trainer,
                state.registry,
                state.reconciler,
                state.stream_steps,
                door,
                collected,
            )
        finally:
            collecting.cancel()
            with suppress(asyncio.CancelledError):
                await collecting
