"""The subscription within one process: what was handed out is handed out once, however slowly it is read."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from driftline.bus.groups import ConsumerGroup
from driftline.bus.local import LocalSubscription, joined
from driftline.bus.port import Assignment, Checkpoint, Output, Raw

pytestmark = pytest.mark.unit
PARTITIONS = 2
PATIENCE_S = 20


@dataclass
class Saved:
    position: int | None = None
    restart: int = 0


class SlowTopic:
    """A message in each partition; of the second it is read only when somebody lets it go."""

    def __init__(self) -> None:
        self.written = 0
        self.asked = asyncio.Event()
        self.read = asyncio.Event()
        self.changed = asyncio.Event()

    def write(self) -> None:
        self.written += 1
        self.changed.set()
        self.changed = asyncio.Event()

    def held(self, partition: int) -> range:
        return range(self.written)

    async def page(self, partition: int, start: int, limit: int) -> Sequence[Raw]:
        if partition and start < self.written:
            self.asked.set()
            await self.read.wait()
        return [Raw(partition, offset, 0, b"") for offset in range(start, min(start + limit, self.written))]

    def change(self) -> asyncio.Event:
        return self.changed

    async def settled(self) -> None: ...

    async def states(self, partition: int) -> AsyncIterator[Mapping[str, bytes]]:
        yield {}

    async def send(self, outputs: Sequence[Output]) -> None: ...

    async def commit(self, checkpoint: Checkpoint) -> None: ...


class NoState:
    """Owns whatever it gets."""

    def __init__(self) -> None:
        self.has_all = asyncio.Event()

    async def restore(self, partition: int, states: Mapping[str, bytes]) -> None: ...

    def assigned(self, assignment: Assignment) -> None:
        if assignment.partition == PARTITIONS - 1:
            self.has_all.set()

    async def revoked(self, partition: int) -> None: ...


async def test_what_was_read_when_the_time_of_a_poll_is_over_is_not_lost():
    topic, owner = SlowTopic(), NoState()
    group = ConsumerGroup("records", [Saved() for _ in range(PARTITIONS)])
    async with joined(group, topic, owner, lambda: None) as subscription:
        polling = asyncio.create_task(subscription.poll(100, timeout=0.01))
        await owner.has_all.wait()
        topic.write()
        await topic.asked.wait()
        # The first partition is read by now. The reading of the second takes longer than the poll may wait.
        asyncio.get_running_loop().call_later(0.05, topic.read.set)
        raws = await polling
        async with asyncio.timeout(PATIENCE_S):
            while len(raws) < PARTITIONS:
                raws = [*raws, *await subscription.poll(100, timeout=1)]
    assert [(raw.partition, raw.offset) for raw in raws] == [(0, 0), (1, 0)]


@asynccontextmanager
async def gathering(seconds: float) -> AsyncIterator[tuple[SlowTopic, LocalSubscription[Any]]]:
    """The only member of a group that gathers, and its topic."""
    topic = SlowTopic()
    topic.read.set()
    group = ConsumerGroup("records", [Saved() for _ in range(PARTITIONS)])
    async with joined(group, topic, NoState(), lambda: None, gather=seconds) as subscription:
        yield topic, subscription


async def test_what_comes_within_the_time_of_gathering_is_read_at_once():
    async with gathering(0.05) as (topic, subscription):
        topic.write()
        first = await subscription.poll(100, timeout=0)
        topic.write()
        at_once = await subscription.poll(100, timeout=0)
        topic.write()
        gathered = await subscription.poll(100, timeout=PATIENCE_S)
    assert len(first) == PARTITIONS, "nobody waits for the first one"
    assert at_once == []
    assert [raw.offset for raw in gathered] == [1, 2] * PARTITIONS


async def test_nothing_is_gathered_while_there_is_more_than_may_be_read_at_once():
    async with gathering(3600) as (topic, subscription):
        topic.write()
        topic.write()
        pages = [await subscription.poll(2, timeout=0) for _ in range(PARTITIONS)]
    assert [(raw.partition, raw.offset) for page in pages for raw in page] == [(0, 0), (0, 1), (1, 0), (1, 1)]
