"""Edges without doors: a bus, the workers of inference and combiner, and the store that all of them share."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from driftline.bus.edge import edge_id
from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.port import Bus
from driftline.fleet.keeping import StateKeeper
from driftline.fleet.sealing import FleetKey
from driftline.messages import BLENDS, FORECASTS, RECORDS, Blend, Record
from driftline.metrics import Metrics
from driftline.names import COMBINER_GROUP, INFERENCE_GROUP
from driftline.store.port import Store
from driftline.worker.keyed import KeyedStep
from driftline.worker.loop import Worker
from driftline.worker.loop_settings import LoopSettings
from tests.upgrade import kept

PARTITIONS = 4
PATIENCE_S = 60
KEY = FleetKey(bytes(range(32)))
FAST = LoopSettings(checkpoint_every=0.05, state_every=0.2)


def drop(_stream: str, _reason: str) -> None:
    """Nobody counts it."""


def bus_in(folder: Path) -> EmbeddedBus:
    return EmbeddedBus(EmbeddedSettings(folder / "bus", PARTITIONS))


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[EmbeddedBus]:
    bus = bus_in(folder)
    try:
        yield bus
    finally:
        await bus.close()


def keeper(bus: Bus, store: Store, edge: str, key: FleetKey | None = KEY, **more: Any) -> StateKeeper:
    async def known() -> str:
        return await edge_id(bus, lambda: edge)

    return StateKeeper(bus, store, key, known, Metrics(), **{"partitions": PARTITIONS, "every": 3600.0, **more})


@asynccontextmanager
async def working(bus: Bus) -> AsyncIterator[None]:
    """Its workers, which write all states when they end."""
    forecasts, blending = KeyedStep({"kept": kept.forecast_step()}, drop), KeyedStep({"kept": kept.blend_step()}, drop)
    workers: list[Worker[Any]] = [
        Worker(INFERENCE_GROUP, bus, RECORDS, forecasts, FAST),
        Worker(COMBINER_GROUP, bus, FORECASTS, blending, FAST),
    ]
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        for worker, task in zip(workers, tasks, strict=True):
            await worker.stop()
            await task


async def blends(bus: Bus, records: Sequence[Record]) -> list[Blend]:
    """What these records lead to, in order of time and key."""
    found: list[Blend] = []
    async with asyncio.timeout(PATIENCE_S), working(bus), aclosing(bus.tail(BLENDS)) as pages:
        await anext(pages)
        await bus.publish(RECORDS, records)
        async for page in pages:
            found += [envelope.value for envelope in page]
            if len(found) >= len(records):
                break
    return sorted(found, key=lambda blend: (blend.t, blend.key))
