"""What every bus keeps, in memory, in a folder and on Apache Kafka."""

import asyncio
from collections import defaultdict
from contextlib import aclosing, suppress

import msgspec
import pytest

from driftline.bus.port import ELSEWHERE, Assignment, Bus, Checkpoint, Output, Raw, Subscription
from driftline.bus.seeding import seed
from driftline.errors import Fenced, InvalidInput, TooManyDeadLetters
from driftline.messages import DEAD_LETTERS, DeadLetter, Topic
from driftline.worker.loop import Worker
from driftline.worker.loop_settings import LoopSettings
from tests.bus.conftest import PARTITIONS, Folded, HashStep, Tick, World, expected

FAST = LoopSettings(checkpoint_every=0.05)
PATIENCE_S = 120


def worker(world: World, bus: Bus, settings: LoopSettings = FAST) -> Worker[Tick]:
    return Worker(world.group, bus, world.ticks, HashStep(world.folds), settings)


def sample(keys: int = 6, times: int = 50) -> list[Tick]:
    return [Tick(f"k{key}", t) for t in range(times) for key in range(keys)]


async def collect(world: World, wanted: int) -> list[Folded]:
    """All outputs in the order of their partitions, until `wanted` different ones are there."""
    found: list[Folded] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(world.bus.tail(world.folds, earliest=True)) as pages:
        async for page in pages:
            found += [envelope.value for envelope in page]
            if len({(fold.key, fold.t) for fold in found}) >= wanted:
                return found
    raise AssertionError("unreachable")


def by_name(found: list[Folded]) -> dict[tuple[str, int], set[int]]:
    names = defaultdict(set)
    for fold in found:
        names[fold.key, fold.t].add(fold.hash)
    return names


def only(hashes: dict[tuple[str, int], int]) -> dict[tuple[str, int], set[int]]:
    return {name: {value} for name, value in hashes.items()}


async def test_messages_of_a_key_arrive_in_order(world: World):
    sent = sample()
    await world.bus.publish(world.ticks, sent)
    found: list[Tick] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(world.bus.tail(world.ticks, earliest=True)) as pages:
        async for page in pages:
            found += [envelope.value for envelope in page]
            if len(found) >= len(sent):
                break
    for key in {tick.key for tick in sent}:
        assert [tick.t for tick in found if tick.key == key] == [tick.t for tick in sent if tick.key == key]


async def test_a_worker_folds_every_message_once(world: World):
    sent = sample()
    await world.bus.publish(world.ticks, sent)
    working = worker(world, world.bus)
    task = asyncio.create_task(working.run())
    found = await collect(world, len(sent))
    await working.stop()
    await task
    assert by_name(found) == only(expected(sent))


async def test_a_worker_that_crashes_goes_on_from_its_checkpoint_and_repeats_only_what_is_equal(world: World):
    sent = sample(times=60)
    for part in range(3):
        await world.bus.publish(world.ticks, sent[part * 120 : (part + 1) * 120])
        task = asyncio.create_task(worker(world, world.bus).run())
        await collect(world, (part + 1) * 120)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert by_name(await collect(world, len(sent))) == only(expected(sent))


async def test_a_worker_that_stops_in_peace_repeats_nothing(world: World):
    sent = sample(times=40)
    for part in range(2):
        await world.bus.publish(world.ticks, sent[part * 120 : (part + 1) * 120])
        working = worker(world, world.bus)
        task = asyncio.create_task(working.run())
        await collect(world, (part + 1) * 120)
        await working.stop()
        await task
    assert len(await collect(world, len(sent))) == len(sent)


async def test_two_workers_share_the_partitions_and_one_takes_over_when_the_other_is_gone(world: World):
    sent = sample(keys=8, times=60)
    first, second = worker(world, world.bus), worker(world, world.another)
    tasks = [asyncio.create_task(first.run()), asyncio.create_task(second.run())]
    await world.bus.publish(world.ticks, sent[:240])
    await collect(world, 240)
    tasks[0].cancel()
    with suppress(asyncio.CancelledError):
        await tasks[0]
    await world.bus.publish(world.ticks, sent[240:])
    found = await collect(world, len(sent))
    await second.stop()
    await tasks[1]
    assert by_name(found) == only(expected(sent))


class Holder:
    """An owner that notes what it is given."""

    def __init__(self) -> None:
        self.states: dict[int, dict[str, bytes]] = defaultdict(dict)
        self.given: dict[int, Assignment] = {}

    async def restore(self, partition: int, states) -> None:
        for key, state in states.items():
            if state is None:
                self.states[partition].pop(key, None)
            else:
                self.states[partition][key] = state

    def assigned(self, assignment: Assignment) -> None:
        self.given[assignment.partition] = assignment

    async def revoked(self, partition: int) -> None:
        self.given.pop(partition, None)
        self.states.pop(partition, None)

    async def holds(self, count: int, feed: Subscription) -> list[Raw]:
        """What was polled until at least `count` partitions are ours."""
        polled: list[Raw] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(self.given) < count:
                polled += await feed.poll(1000, 0.1)
        return polled


async def test_a_checkpoint_is_found_again(world: World):
    await world.bus.publish(world.ticks, sample())
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        await feed.commit(Checkpoint(1, 7, {"a": b"one", "b": b"two", "c": b"three"}))
        await feed.commit(Checkpoint(1, 9, {"a": b"four", "c": None}))
    async with world.bus.join(world.ticks, world.group, again := Holder()) as feed:
        await again.holds(PARTITIONS, feed)
        assert again.given[1] == Assignment(1, 9, silent_until=9)
        assert again.states == {1: {"a": b"four", "b": b"two"}}


async def test_a_group_that_is_new_has_lost_nothing(world: World):
    """Whatever was dropped before."""
    await world.bus.publish(world.ticks, sample())
    counts = await world.bus.lag(world.ticks, world.group)
    fullest = max(counts, key=lambda partition: counts[partition])
    await world.drop(fullest, 5)
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        assert holder.given[fullest].position == 5
        assert {given.lost for given in holder.given.values()} == {0}


async def test_reading_begins_where_the_states_need_it_and_is_silent_up_to_the_position(world: World):
    sent = sample()
    await world.bus.publish(world.ticks, sent)
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        await feed.commit(Checkpoint(1, 9, {"a": b"one"}, restart=4))
        await feed.commit(Checkpoint(1, 12, {"b": b"two"}, restart=4))
    assert sum((await world.bus.lag(world.ticks, world.group)).values()) == len(sent) - 12
    async with world.bus.join(world.ticks, world.group, again := Holder()) as feed:
        polled = await again.holds(PARTITIONS, feed)
        while not any(raw.partition == 1 for raw in polled):
            polled += await feed.poll(1000, 0.1)
        assert again.given[1] == Assignment(1, 4, silent_until=12)
        assert again.states == {1: {"a": b"one", "b": b"two"}}
        assert next(raw.offset for raw in polled if raw.partition == 1) == 4


async def test_a_partition_that_is_handed_over_leaves_nothing_to_be_read_again(world: World):
    """Whatever the interval of states is."""
    sent = sample(keys=8, times=30)
    await world.bus.publish(world.ticks, sent)
    first, second = worker(world, world.bus), worker(world, world.another)
    tasks = [asyncio.create_task(first.run())]
    await collect(world, len(sent))
    # The second one takes partitions over from the first, then all others.
    tasks.append(asyncio.create_task(second.run()))
    await world.bus.publish(world.ticks, [Tick(f"k{key}", 30) for key in range(8)])
    await collect(world, len(sent) + 8)
    for working, task in zip((first, second), tasks, strict=True):
        await working.stop()
        await task
    async with world.bus.join(world.ticks, world.group, holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        assert all(assignment.position == assignment.silent_until for assignment in holder.given.values())
        assert sum(map(len, holder.states.values())) == 8


async def test_who_lost_a_partition_can_not_commit_for_it(world: World):
    await world.bus.publish(world.ticks, sample())
    async with world.bus.join(world.ticks, world.group, first := Holder()) as zombie:
        await first.holds(PARTITIONS, zombie)
        async with world.another.join(world.ticks, world.group, second := Holder()) as feed:

            async def polling() -> None:
                while True:
                    await zombie.poll(1, 0.1)

            task = asyncio.create_task(polling())
            await second.holds(1, feed)
            task.cancel()
            lost = min(second.given)
            with pytest.raises(Fenced):
                await zombie.commit(Checkpoint(lost, 1, {}))
            await feed.commit(Checkpoint(lost, 2, {"a": b"mine"}))


async def test_exactly_once_puts_out_not_one_repeat(world: World):
    settings = LoopSettings(exactly_once=True, exactly_once_every=0.05)
    sent = sample(times=60)
    for part in range(3):
        await world.bus.publish(world.ticks, sent[part * 120 : (part + 1) * 120])
        task = asyncio.create_task(worker(world, world.bus, settings).run())
        await collect(world, (part + 1) * 120)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    found = await collect(world, len(sent))
    assert len(found) == len(sent)
    assert by_name(found) == only(expected(sent))


async def dead_letters(world: World, topic: str, wanted: int) -> list[DeadLetter]:
    found: list[DeadLetter] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(world.bus.tail(DEAD_LETTERS, earliest=True)) as pages:
        async for page in pages:
            found += [envelope.value for envelope in page if envelope.value.topic == topic]
            if len(found) >= wanted:
                return found
    raise AssertionError("unreachable")


async def test_what_can_not_be_used_goes_to_the_dead_letters_with_its_origin_and_reason(world: World):
    await world.bus.publish(world.ticks, [Tick("good", 1), Tick("bad", 2), Tick("good", 3)])
    working = Worker(
        world.group,
        world.bus,
        world.ticks,
        HashStep(world.folds),
        FAST,
        refuse=lambda tick: "found the key 'bad', expected another" if tick.key == "bad" else None,
    )
    task = asyncio.create_task(working.run())
    (letter,) = await dead_letters(world, world.ticks.name, 1)
    found = await collect(world, 2)
    await working.stop()
    await task
    assert letter.reason == "found the key 'bad', expected another"
    assert letter.service == world.group
    assert world.ticks.decode(letter.payload) == Tick("bad", 2)
    assert {fold.key for fold in found} == {"good"}


async def test_bytes_that_are_no_message_are_a_dead_letter(world: World):
    async with world.bus.join(world.ticks, f"{world.group}-writer", Holder()) as feed:
        await feed.send([Output(0, world.folds, Folded("k", 1, 2))])
    foreign = Topic(world.folds.name, Tick, lambda tick: tick.key)
    working = Worker(world.group, world.bus, foreign, HashStep(world.folds), FAST, refuse=lambda _: None)
    broken = Topic(world.folds.name, Broken, lambda _: "k")
    await world.bus.publish(broken, [Broken("k")])
    task = asyncio.create_task(working.run())
    (letter,) = await dead_letters(world, world.folds.name, 1)
    await working.stop()
    await task
    assert "expected a Tick" in letter.reason
    assert letter.payload == b'{"key":"k"}'


class Broken(msgspec.Struct, frozen=True):
    key: str


async def test_mostly_garbage_stops_the_worker_with_a_clear_error(world: World):
    await world.bus.publish(world.ticks, sample())
    working = Worker(
        world.group,
        world.bus,
        world.ticks,
        HashStep(world.folds),
        LoopSettings(checkpoint_every=0.05, dead_letter_minimum=5),
        refuse=lambda _: "found nothing that is any good",
    )
    with pytest.raises(TooManyDeadLetters, match="found 6 unusable messages among the last 6"):
        async with asyncio.timeout(PATIENCE_S):
            await working.run()


async def test_lag_is_what_lies_behind_the_last_checkpoint(world: World):
    sent = sample()
    await world.bus.publish(world.ticks, sent)
    assert sum((await world.bus.lag(world.ticks, world.group)).values()) == len(sent)
    working = worker(world, world.bus)
    task = asyncio.create_task(working.run())
    await collect(world, len(sent))
    await working.stop()
    await task
    assert sum((await world.bus.lag(world.ticks, world.group)).values()) == 0


async def test_a_small_topic_is_read_to_its_end(world: World):
    assert await world.bus.read(world.ticks) == []
    sent = sample(times=20)
    await world.bus.publish(world.ticks, sent)
    broken = Topic(world.ticks.name, Broken, lambda _: "k0")
    await world.bus.publish(broken, [Broken("k0")])
    await world.bus.publish(world.ticks, [Tick("k0", 20)])
    found = [envelope.value for envelope in await world.another.read(world.ticks)]
    for key in {tick.key for tick in sent}:
        assert [tick.t for tick in found if tick.key == key] == [*range(20), *([20] if key == "k0" else [])]
    assert len(found) == len(sent) + 1


async def states_on(world: World, wanted: str = "") -> dict[str, bytes]:
    """What the group's checkpoints hold, of names that begin so."""
    states: dict[str, bytes | None] = {}
    async with aclosing(world.bus.states(world.ticks, world.group, lambda _, name: name.startswith(wanted))) as parts:
        async for _, part in parts:
            states |= part
    return {name: state for name, state in states.items() if state is not None}


async def test_states_are_read_while_their_worker_is_at_work(world: World):
    sent = sample()
    await world.bus.publish(world.ticks, sent)
    working = worker(world, world.bus, LoopSettings(checkpoint_every=0.05, state_every=0.1))
    task = asyncio.create_task(working.run())
    await collect(world, len(sent))
    async with asyncio.timeout(PATIENCE_S):
        while (await states_on(world)).keys() != {f"k{key}" for key in range(6)}:
            await asyncio.wait({task}, timeout=0.05)
    assert any(working.owns(partition) for partition in range(PARTITIONS))
    await working.stop()
    await task
    last = {tick.key: tick.t for tick in sent}
    hashes = expected(sent)
    whole = {key: msgspec.json.encode((t, hashes[key, t])) for key, t in last.items()}
    assert await states_on(world) == whole
    assert await states_on(world, "k3") == {"k3": whole["k3"]}


async def test_a_worker_goes_on_from_states_of_another_bus(world: World):
    before, after = sample(times=20), [Tick(f"k{key}", t) for t in range(20, 40) for key in range(6)]
    hashes = expected([*before, *after])
    states = {f"k{key}": msgspec.json.encode((19, hashes[f"k{key}", 19])) for key in range(6)}
    for _ in range(2):
        await seed(world.bus, world.ticks, world.group, dict.fromkeys(range(PARTITIONS), states), PARTITIONS)
    assert await states_on(world) == states
    # Nothing is worked off yet, and nothing waits.
    assert set((await world.bus.lag(world.ticks, world.group)).values()) <= {0}
    await world.bus.publish(world.ticks, after)
    task = asyncio.create_task((working := worker(world, world.bus)).run())
    found = await collect(world, len(after))
    await working.stop()
    await task
    assert by_name(found) == only({name: value for name, value in hashes.items() if name[1] >= 20})
    with pytest.raises(InvalidInput, match="expected none: use an empty bus"):
        await seed(world.bus, world.ticks, world.group, {0: states}, PARTITIONS)


def test_a_position_of_another_bus_is_read_from_the_beginning_whatever_is_there():
    for held in (range(0), range(3), range(5, 9)):
        assignment = Assignment.of(1, ELSEWHERE, 0, held)
        assert (assignment.position, assignment.lost, assignment.unlearned) == (held.start, 0, 0)
        assert assignment.rewound
        assert assignment.moved
    assert not Assignment.of(1, 10, 0, range(3)).moved
