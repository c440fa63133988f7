"""A broker that is killed under its clients, and comes back."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest
import stamina

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.bus.port import Assignment
from driftline.errors import BusUnavailable, Unavailable
from driftline.worker.loop import Worker
from driftline.worker.loop_settings import LoopSettings
from driftline_cli import broker, processes
from tests.bus.conftest import HashStep, Tick, World, expected, ticks
from tests.bus.test_contract import by_name, collect, only

pytestmark = pytest.mark.kafka
PATIENCE_S = 120
PARTITIONS = 2


class Broker:
    """One that is for this test alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = broker.free_port()
        self._pid = broker.start(folder, self._port)
        self.settings = KafkaSettings(f"127.0.0.1:{self._port}", partitions=PARTITIONS, send_timeout=2.0)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def start(self) -> None:
        self._pid = broker.start(self._folder, self._port)

    def stop(self) -> None:
        processes.stop(self._folder, "kafka")


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    try:
        found = Broker(tmp_path_factory.mktemp("kafka"))
    except Unavailable as error:
        pytest.skip(str(error))
    yield found
    found.stop()


@pytest.fixture
async def bus(own_broker: Broker) -> AsyncIterator[KafkaBus]:
    found = KafkaBus(own_broker.settings)
    yield found
    await found.close()


class Fetching(logging.Handler):
    """Counts the fetches that fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failed = asyncio.Semaphore(0)

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("Failed fetch"):
            self.failed.release()


@pytest.fixture
def fetching() -> Iterator[Fetching]:
    logger, handler = logging.getLogger("aiokafka.consumer.fetcher"), Fetching()
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


class Owner:
    def __init__(self) -> None:
        self.here = asyncio.Event()

    async def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        """Nothing is saved of it."""

    def assigned(self, assignment: Assignment) -> None:
        self.here.set()

    async def revoked(self, partition: int) -> None:
        """Nothing is held of it."""


async def test_whoever_leaves_while_the_broker_is_away_is_let_go_and_leaves_nothing_behind(
    own_broker: Broker, bus: KafkaBus, fetching: Fetching
):
    owner, before = Owner(), asyncio.all_tasks()
    async with asyncio.timeout(PATIENCE_S):
        async with bus.join(ticks("left"), "left", owner) as feed:
            while not owner.here.is_set():
                await feed.poll(10, 0.1)
            own_broker.kill()
            for _ in range(PARTITIONS):
                await fetching.failed.acquire()
    assert asyncio.all_tasks() == before
    await asyncio.to_thread(own_broker.start)


async def test_a_worker_goes_on_as_often_as_its_broker_is_back(own_broker: Broker, bus: KafkaBus, fetching: Fetching):
    world = World(bus, bus)
    running = Worker(world.group, bus, world.ticks, HashStep(world.folds), LoopSettings(checkpoint_every=0.05))
    work = asyncio.create_task(running.run())
    sent: list[Tick] = []
    for times in range(2):
        fresh = [Tick(key, times) for key in "abcdefgh"]
        sent += fresh
        await published(world, fresh)
        assert by_name(await collect(world, len(sent))) == only(expected(sent))
        # The checkpoint of what it has done is not begun, under way or written.
        own_broker.kill()
        async with asyncio.timeout(PATIENCE_S):
            await fetching.failed.acquire()
        await asyncio.to_thread(own_broker.start)
    assert not work.done()
    await running.stop()
    await work


@stamina.retry(on=BusUnavailable, attempts=None, timeout=PATIENCE_S, wait_max=0.5)
async def published(world: World, sent: list[Tick]) -> None:
    await world.bus.publish(world.ticks, sent)
