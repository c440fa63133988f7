"""What is told of how far a group is behind."""

import asyncio

from driftline.lag import LagWatch
from driftline.memory import MemoryBus
from driftline.messages import RECORDS, Record
from driftline.metrics import Metrics

PATIENCE_S = 10


async def told(kept: int) -> float:
    """The lag of a group of which nothing is committed, three messages behind, `kept` of them worked off."""
    bus, metrics = MemoryBus(1), Metrics()
    await bus.publish(RECORDS, [Record("a", "k", n, {"y": 1.0}, 0.0) for n in range(3)])
    watch = LagWatch(bus, [("readers", RECORDS)], metrics, {"readers": lambda _partition: kept})
    await watch.stop()
    labels = {"group": "readers", "topic": RECORDS.name, "partition": "0"}
    async with asyncio.timeout(PATIENCE_S):
        await watch._look("readers", RECORDS)
    found = metrics.registry.get_sample_value("driftline_lag_messages", labels)
    assert found is not None
    return found


async def test_what_was_not_worked_off_is_lag():
    assert await told(kept=0) == 3


async def test_what_a_restart_reads_again_is_no_lag():
    assert await told(kept=2) == 1


async def test_a_look_between_two_checkpoints_tells_of_no_lead():
    assert await told(kept=5) == 0
