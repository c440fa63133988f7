"""Store events that come by a topic wake the watch, also from a topic that somebody else made."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.bus.memory import MemoryBus
from driftline.messages import StoreEvent, store_events
from driftline.store.event_topic import StoreEventReader
from driftline.store.folder import FolderStore
from driftline.store.hints import Keys
from driftline.store.reconcile import StoreReconciler
from tests.bus.conftest import PARTITIONS

PATIENCE_S = 120


class Looks:
    """Counts how often the store was looked at."""

    def __init__(self) -> None:
        self.count = 0
        self.keys: list[Keys] = []
        self.changed = asyncio.Event()

    async def look(self, keys: Keys) -> None:
        self.count += 1
        self.keys.append(keys)
        self.changed.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.count < count:
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def running(*jobs: StoreEventReader | StoreReconciler) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(job.run()) for job in jobs]
    try:
        yield
    finally:
        for job in jobs:
            await job.stop()
        await asyncio.gather(*tasks)


def about(key: str) -> StoreEvent:
    return StoreEvent(Records=[{"s3": {"object": {"key": key}}}])


@pytest.fixture
def name() -> str:
    return f"store-events-{uuid.uuid4().hex[:8]}"


async def test_an_event_wakes_the_watch_and_another_folder_s_does_not(tmp_path: Path, name: str):
    bus, looks = MemoryBus(), Looks()
    watch = StoreReconciler("watch", FolderStore(tmp_path), "models/", poll=3600, reconcile=looks.look)
    async with running(watch, StoreEventReader(bus, name, watch)):
        await looks.reach(1)
        seen = looks.count
        await bus.publish(store_events(name), [about("windows/a")])
        await bus.publish(store_events(name), [about("models/a/batch/current.json")])
        await looks.reach(seen + 1)
    assert looks.keys[seen:] == [frozenset({"models/a/batch/current.json"})]


@pytest.mark.kafka
async def test_a_topic_of_any_number_of_partitions_is_heard(tmp_path: Path, name: str, brokers: str):
    """MinIO and versitygw write to a topic that belongs to somebody else."""
    foreign = KafkaBus(KafkaSettings(brokers, partitions=1))
    ours, looks = KafkaBus(KafkaSettings(brokers, partitions=PARTITIONS)), Looks()
    await foreign.publish(store_events(name), [about("models/earlier")])
    watch = StoreReconciler("watch", FolderStore(tmp_path), "models/", poll=3600, reconcile=looks.look)
    feed = StoreEventReader(ours, name, watch)
    async with running(watch, feed):
        await looks.reach(2)  # once at the start, once when the topic is heard
        await foreign.publish(store_events(name), [about("models/a/batch/current.json")])
        await looks.reach(3)
    await foreign.close()
    await ours.close()
