"""A sink that works off what a bus has."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import stamina

from driftline.bus.port import Bus
from driftline.metrics import Metrics
from driftline.streams.catalog import Streams
from driftline.worker.loop_settings import LoopSettings
from driftline_combiner.sinks.job import SinkJob
from driftline_combiner.sinks.opening import open_sinks
from driftline_combiner.sinks.settings import Section
from tests.combiner.sinks.blends import TANK

PATIENCE_S = 60


@asynccontextmanager
async def running(section: Section, bus: Bus) -> AsyncIterator[SinkJob]:
    """As the combiner runs it, for the stream of tanks."""
    streams = Streams({"tank": TANK})
    (opened,) = open_sinks({"mine": section}, streams, lambda _stream, _key: {})
    job = SinkJob(opened, bus, streams, LoopSettings(checkpoint_every=0.05), Metrics())
    task = asyncio.create_task(job.run())
    try:
        yield job
        await job.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.1):
        with attempt:
            assert condition()
