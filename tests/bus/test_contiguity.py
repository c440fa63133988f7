"""Nothing is passed over: what a bus hands out follows on from the position, and it says why where that can't be."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import stamina
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from driftline.bus.port import Assignment, Checkpoint, Hole, Subscription
from driftline.errors import BusUnavailable
from driftline.worker.loop import Worker
from driftline.worker.loop_settings import LoopSettings
from driftline.worker.observer import Unobserved
from tests.bus.conftest import PARTITIONS, CopyStep, HashStep, Tick, World, expected, folds
from tests.bus.test_contract import FAST, PATIENCE_S, Holder, by_name, collect, only, sample

SAVED = 100
PAGE = 100
LOOKS = 20


class SlowHolder(Holder):
    """Restores for as long as so many questions to the bus take."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        for _ in range(LOOKS):
            await self._world.bus.lag(self._world.ticks, self._world.group)
        await super().restore(partition, states)


class Counted(Unobserved):
    """Counts what a worker says of its input."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)

    def lost(self, messages: int) -> None:
        self.counts["lost"] += messages

    def rewound(self) -> None:
        self.counts["rewound"] += 1

    def passed_over(self) -> None:
        self.counts["passed over"] += 1


async def saved(world: World, position: Callable[[int], int]) -> None:
    """Checkpoints of all partitions at these positions, as a former worker left them."""
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        for partition in range(PARTITIONS):
            await feed.commit(Checkpoint(partition, position(partition), {f"old-{partition}": b"[-1,0]"}))


async def polled(feed: Subscription, holder: Holder, wanted: int) -> dict[int, list[int]]:
    """By partition the offsets that polls bring, until there are so many. None comes before its partition is ours."""
    offsets: dict[int, list[int]] = defaultdict(list)
    async with asyncio.timeout(PATIENCE_S):
        while sum(map(len, offsets.values())) < wanted:
            for raw in await feed.poll(PAGE, 0.1):
                assert raw.partition in holder.given
                offsets[raw.partition].append(raw.offset)
    return offsets


async def test_only_what_was_fetched_after_the_restore_is_handed_out(world: World):
    """With a backlog of many polls, and a restore that takes far longer than one."""
    sent = sample(keys=24, times=200)
    await world.bus.publish(world.ticks, sent)
    await saved(world, lambda _: SAVED)
    ends = {p: SAVED + lag for p, lag in (await world.bus.lag(world.ticks, world.group)).items()}
    async with world.bus.join(world.ticks, world.group, holder := SlowHolder(world)) as feed:
        found = await polled(feed, holder, len(sent) - PARTITIONS * SAVED)
    assert found == {partition: list(range(SAVED, end)) for partition, end in ends.items()}


async def test_a_feed_says_while_it_restores(world: World):
    await world.bus.publish(world.ticks, sample(keys=24))
    async with world.bus.join(world.ticks, world.group, holder := SlowHolder(world)) as feed:
        await holder.holds(PARTITIONS, feed)
        assert not feed.is_restoring()
        async with world.another.join(world.ticks, world.group, second := SlowHolder(world)) as other:
            async with asyncio.timeout(PATIENCE_S):
                while not other.is_restoring():
                    await feed.poll(PAGE, 0.05)
            assert not second.given


async def test_a_saved_position_beyond_the_end_is_said_and_the_topic_is_read_from_its_beginning(world: World):
    sent = sample(keys=24)
    await world.bus.publish(world.ticks, sent)
    await saved(world, lambda _: 10_000)
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        found = await polled(feed, holder, len(sent))
        assert holder.given == {p: Assignment(p, 0, rewound=True) for p in range(PARTITIONS)}
    assert all(offsets == list(range(len(offsets))) for offsets in found.values())


async def test_a_worker_whose_topic_was_made_anew_works_off_all_of_it(world: World):
    sent = sample(keys=24)
    await world.bus.publish(world.ticks, sent)
    await saved(world, lambda _: 10_000)
    counted = Counted()
    working = Worker(world.group, world.bus, world.ticks, HashStep(world.folds), FAST, observer=counted)
    task = asyncio.create_task(working.run())
    assert by_name(await collect(world, len(sent))) == only(expected(sent))
    await working.stop()
    await task
    assert counted.counts == {"rewound": PARTITIONS}
    assert sum((await world.bus.lag(world.ticks, world.group)).values()) == 0


async def test_what_retention_dropped_before_it_was_read_is_counted(world: World):
    await world.bus.publish(world.ticks, sample(keys=24))
    await saved(world, lambda _: 5)
    await world.drop(0, 20)
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        others = {partition: Assignment(partition, 5, silent_until=5) for partition in range(1, PARTITIONS)}
        assert holder.given == {0: Assignment(0, 20, lost=15, silent_until=20), **others}


async def test_what_retention_dropped_of_answered_messages_is_no_loss_but_said(world: World):
    await world.bus.publish(world.ticks, sample(keys=24))
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        await feed.commit(Checkpoint(0, 20, {}, restart=5))
        await feed.commit(Checkpoint(1, 20, {}, restart=5))
    await world.drop(0, 12)
    await world.drop(1, 30)
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        assert holder.given[0] == Assignment(0, 12, silent_until=20, unlearned=7)
        assert holder.given[1] == Assignment(1, 30, lost=10, silent_until=30, unlearned=15)


async def test_a_bus_says_what_became_of_messages(world: World):
    await world.bus.publish(world.ticks, sample(keys=24))
    await world.drop(0, 4)
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        assert await feed.hole(1, range(3)) == Hole(lost=0, held=0)
        assert await feed.hole(0, range(2, 4)) == Hole(lost=2, held=None)
        assert await feed.hole(0, range(2, 6)) == Hole(lost=2, held=4)


async def test_the_marks_of_transactions_are_no_lost_messages(world: World):
    """A second worker reads what a first put out in transactions, without a word about the holes between."""
    settings = LoopSettings(exactly_once=True, exactly_once_every=0.02)
    sent = sample(times=100)
    counted = Counted()
    again = folds(f"again-{world.folds.name}")
    first = Worker(world.group, world.bus, world.ticks, HashStep(world.folds), settings)
    second = Worker(f"{world.group}-b", world.bus, world.folds, CopyStep(again), settings, observer=counted)
    tasks = [asyncio.create_task(first.run()), asyncio.create_task(second.run())]
    for start in range(0, len(sent), 60):
        await world.bus.publish(world.ticks, sent[start : start + 60])
    copies = World(world.bus, world.another)
    copies.folds = again
    assert by_name(await collect(copies, len(sent))) == only(expected(sent))
    workers: list[Worker[Any]] = [first, second]
    for working, task in zip(workers, tasks, strict=True):
        await working.stop()
        await task
    assert counted.counts == {}


class LongHolder(Holder):
    """Restores for longer than the session timeout, whatever it is, and counts how often it had to begin anew."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self.revoked_partitions: list[int] = []

    async def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        await asyncio.sleep(self._seconds)
        await super().restore(partition, states)

    async def revoked(self, partition: int) -> None:
        self.revoked_partitions.append(partition)
        await super().revoked(partition)


@pytest.mark.kafka
@pytest.mark.parametrize("world", ["kafka"], indirect=True)
async def test_a_restore_that_takes_longer_than_the_session_timeout_keeps_its_partitions(world: World):
    sent = sample(keys=24)
    await world.bus.publish(world.ticks, sent)
    await saved(world, lambda _: 0)
    async with world.bus.join(
        world.ticks, world.group, holder := LongHolder(1.5 * world.kafka.settings.session_timeout)
    ) as feed:
        found = await polled(feed, holder, len(sent))
        assert holder.revoked_partitions == []
    assert all(offsets == list(range(len(offsets))) for offsets in found.values())


@pytest.mark.kafka
@pytest.mark.parametrize("world", ["kafka"], indirect=True)
async def test_a_topic_that_is_made_anew_under_a_running_worker_is_worked_off(world: World):
    first, later = sample(times=50), [Tick(tick.key, tick.t + 50) for tick in sample(times=30)]
    await world.bus.publish(world.ticks, first)
    counted = Counted()
    working = Worker(world.group, world.bus, world.ticks, HashStep(world.folds), FAST, observer=counted)
    task = asyncio.create_task(working.run())
    await collect(world, len(first))
    admin = AIOKafkaAdminClient(**world.kafka.settings.client())
    await admin.start()
    await admin.delete_topics([world.ticks.name])
    await made(admin, world.ticks.name)
    await admin.close()
    await published(world, later)
    assert by_name(await collect(world, len(first) + len(later))) == only(expected([*first, *later]))
    await working.stop()
    await task
    assert counted.counts["rewound"] >= 1


@stamina.retry(on=TopicAlreadyExistsError, attempts=None, timeout=PATIENCE_S, wait_max=0.2)
async def made(admin: AIOKafkaAdminClient, topic: str) -> None:
    """The old one may still be going."""
    (result,) = (await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])).topic_errors
    if result[1]:
        raise TopicAlreadyExistsError


@stamina.retry(on=BusUnavailable, attempts=None, timeout=PATIENCE_S, wait_max=0.5)
async def published(world: World, sent: list[Tick]) -> None:
    await world.bus.publish(world.ticks, sent)
