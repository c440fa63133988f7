"""A stream is brought onto its grid in the same way on every bus, also where a worker dies on the way."""

import asyncio
from contextlib import aclosing, suppress

from driftline.messages import OBSERVATIONS, RECORDS, Observation, Record
from driftline.streams.definition_files import parse
from driftline.streams.gridded.rule import GridRule
from driftline.streams.gridded.stream import StreamGrid
from driftline.worker.loop import Worker
from driftline.worker.loop_settings import LoopSettings
from driftline_ingest.grid_step import GridStep
from tests.bus.conftest import World

PATIENCE_S = 120
STREAM = parse(
    "name: of-every-bus\ntime: {period: 1min}\nkey: k\ntarget: y\nfeatures: {x: level}\ngroup: all\n"
    "grid: {take: {x: difference}, grace: 0}\n",
    "of-every-bus.yaml",
)
START = 1_772_323_200_000
LOOP = LoopSettings(batch_limit=7, checkpoint_every=0.05, state_every=0.0)


def observed(count: int) -> list[Observation]:
    """All on one partition, a column each, twenty seconds apart."""
    return [
        Observation(STREAM.name, f"k{n % 3}", START + 20_000 * n, {"xy"[n % 2]: float(n * n % 101)}, 0.0, "all")
        for n in range(count)
    ]


def expected(sent: list[Observation]) -> dict[tuple[str, int], Record]:
    grid = StreamGrid(GridRule.of(STREAM))
    records = [record for n, observation in enumerate(sent) for record in grid.observe(observation, n)[0]]
    return {(record.key, record.t): record for record in records}


async def taken(world: World, wanted: int) -> dict[tuple[str, int], set[str]]:
    """By name what there is of our stream, once so many are there."""
    records: dict[tuple[str, int], set[str]] = {}
    async with asyncio.timeout(PATIENCE_S), aclosing(world.bus.tail(RECORDS, earliest=True)) as pages:
        async for page in pages:
            for record in (envelope.value for envelope in page if envelope.value.stream == STREAM.name):
                records.setdefault((record.key, record.t), set()).add(str(record))
            if len(records) >= wanted:
                return records
    raise AssertionError


async def test_records_are_those_of_the_step_although_a_worker_dies(world: World):
    sent = observed(300)
    half = expected(sent[:150])
    whole = expected(sent)
    for part, wanted in ((sent[:150], len(half)), (sent[150:], len(whole))):
        step = GridStep({STREAM.name: STREAM}, lambda *_: None)
        running = asyncio.create_task(Worker(world.group, world.bus, OBSERVATIONS, step, LOOP).run())
        await world.bus.publish(OBSERVATIONS, part)
        records = await taken(world, wanted)
        # No stop: what was not saved by now is done again.
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert records == {name: {str(record)} for name, record in whole.items()}
