"""An edge has one id: whoever asks first, however many ask at once, and as long as its bus keeps its data."""

import asyncio
import re

import pytest

from driftline.bus.edge import Edge, edge_id
from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.bus.memory import MemoryBus
from driftline.errors import BusUnavailable
from driftline.messages import EDGE
from tests.bus.conftest import World

PATIENCE_S = 60


async def test_two_that_start_at_once_find_the_same_id_and_so_does_who_comes_later(world: World):
    found = await asyncio.gather(*(edge_id(bus) for bus in (world.bus, world.another) * 3))
    assert len({*found, await edge_id(world.another)}) == 1
    assert re.fullmatch("[a-z0-9]{12}", found[0])


async def test_two_edges_have_two_ids():
    assert await edge_id(MemoryBus()) != await edge_id(MemoryBus())


async def test_the_first_that_was_put_there_counts():
    bus = MemoryBus()
    assert await edge_id(bus, lambda: "first") == "first"
    assert await edge_id(bus, lambda: "second") == "first"


async def test_what_is_no_id_is_passed_over():
    bus = MemoryBus()
    await bus.publish(EDGE, [EDGE.type("../x")])
    assert await edge_id(bus, lambda: "mine") == "mine"


@pytest.mark.kafka
async def test_kafka_keeps_it_for_ever(brokers: str):
    bus = KafkaBus(KafkaSettings(brokers))
    await edge_id(bus)
    kept = (await bus.topics.configs([EDGE.name]))[EDGE.name]
    assert (kept["retention.ms"], kept["retention.bytes"], kept["cleanup.policy"]) == ("-1", "-1", "delete")
    await bus.close()


class LateBus(MemoryBus):
    """A bus that answers the third time it is asked."""

    asked = 0

    async def read(self, topic):
        self.asked += 1
        if self.asked < 3:
            raise BusUnavailable("the broker is away")
        return await super().read(topic)


async def test_a_broker_that_is_away_is_waited_for():
    told = asyncio.Event()
    edge = Edge(LateBus(), told.set)
    running = asyncio.create_task(edge.run())
    assert edge.known() is None
    async with asyncio.timeout(PATIENCE_S):
        found = await edge.id()
        await told.wait()
    assert edge.known() == found
    await edge.stop()
    await running


async def test_who_still_waits_for_the_broker_can_be_stopped(unused_tcp_port: int):
    edge = Edge(KafkaBus(KafkaSettings(f"127.0.0.1:{unused_tcp_port}")))
    running = asyncio.create_task(edge.run())
    await asyncio.sleep(0)
    await edge.stop()
    async with asyncio.timeout(PATIENCE_S):
        await running
