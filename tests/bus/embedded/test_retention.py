"""What a folder holds at most, and what goes first."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from threading import Event

import pytest

from driftline.bus.edge import edge_id
from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.port import Checkpoint, Subscription
from driftline.errors import BusUnavailable
from tests.bus.conftest import PARTITIONS, Tick, ticks
from tests.bus.test_contract import Holder

TICKS = ticks("ticks")
KEY = "k" * 1000
BOUND = 8 * 64_000
HOUR = 3600.0
NOON = 1.8e9


class Clocks:
    """The time of day, which anybody may set, and the time that passes."""

    def __init__(self) -> None:
        self.day, self.passed = NOON, 100.0

    def wait(self, seconds: float) -> None:
        self.day += seconds
        self.passed += seconds


def settings(folder: Path, *, hours: float = 1000.0, size: int = BOUND) -> EmbeddedSettings:
    return EmbeddedSettings(folder, PARTITIONS, retention_bytes=size, retention_hours=hours, recent_bytes=10_000)


@asynccontextmanager
async def opened(wanted: EmbeddedSettings, clocks: Clocks | None = None) -> AsyncIterator[EmbeddedBus]:
    clocks = clocks or Clocks()
    bus = EmbeddedBus(wanted, clock=lambda: clocks.day, monotonic=lambda: clocks.passed)
    try:
        yield bus
    finally:
        await bus.close()


async def at_rest(bus: EmbeddedBus) -> None:
    """When all is written, and what is too old is gone."""
    if bus.writing._task is not None:
        await asyncio.wait([bus.writing._task])


async def times(bus: EmbeddedBus) -> list[int]:
    return [envelope.value.t for envelope in await bus.read(TICKS)]


def held(folder: Path) -> int:
    """Bytes of all files."""
    return sum(entry.st_size for entry in _files(folder))


def on_disk(folder: Path) -> int:
    """Bytes of the blocks that the file system gave them."""
    return sum(entry.st_blocks * 512 for entry in _files(folder))


def _files(folder: Path) -> Iterator[os.stat_result]:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # what is too old goes in the background
            yield path.stat()


async def test_all_files_together_are_never_more_than_the_bound(tmp_path: Path):
    async with opened(settings(tmp_path)) as bus:
        for t in range(1000):
            await bus.publish(TICKS, [Tick(KEY, t)])
            # Blocks of the file system: each file may take a part of one more.
            assert on_disk(tmp_path) <= BOUND + 4096 * 10
            assert held(tmp_path) <= BOUND
        kept = await times(bus)
    assert kept == [*range(kept[0], 1000)]
    # More than half of it is used for what is kept.
    assert len(kept) * len(KEY) > BOUND / 2


async def test_a_group_that_is_too_far_behind_hears_how_much_it_has_lost(tmp_path: Path):
    async with opened(settings(tmp_path)) as bus:
        await bus.publish(TICKS, [Tick(KEY, 0)])
        async with bus.join(TICKS, "group", holder := Holder()) as feed:
            await holder.holds(PARTITIONS, feed)
            for partition in range(PARTITIONS):
                await feed.commit(Checkpoint(partition, 0, {}))
        for t in range(1, 1000):
            await bus.publish(TICKS, [Tick(KEY, t)])
        first = (await times(bus))[0]
        async with bus.join(TICKS, "group", again := Holder()) as feed:
            await again.holds(PARTITIONS, feed)
            assert sorted(given.lost for given in again.given.values()) == [0, 0, 0, first]


async def test_what_series_need_and_what_the_edge_is_outlive_all_messages(tmp_path: Path):
    async with opened(settings(tmp_path)) as bus:
        name = await edge_id(bus)
        async with bus.join(TICKS, "group", holder := Holder()) as feed:
            await holder.holds(PARTITIONS, feed)
            await feed.commit(Checkpoint(0, 0, {f"s{n}": bytes([n]) * 1000 for n in range(100)}))
            await feed.commit(Checkpoint(0, 0, {"s7": None, "s8": b"eight"}))
        for t in range(1000):
            await bus.publish(TICKS, [Tick(KEY, t)])
        assert (await times(bus))[0] > 400
    async with opened(settings(tmp_path)) as bus:
        assert await edge_id(bus) == name
        async with bus.join(TICKS, "group", again := Holder()) as feed:
            await again.holds(PARTITIONS, feed)
            states = {f"s{n}": bytes([n]) * 1000 for n in range(100) if n != 7} | {"s8": b"eight"}
            assert again.states == {0: states}


async def saved_until_refused(feed: Subscription) -> int:
    """How many states were taken."""
    for number in range(1000):
        try:
            await feed.commit(Checkpoint(0, 0, {f"s{number}": bytes(10_000)}))
        except BusUnavailable:
            return number
    raise AssertionError("expected an end")


async def test_states_that_leave_no_space_are_said_and_a_higher_bound_helps(tmp_path: Path):
    async with opened(settings(tmp_path)) as bus, bus.join(TICKS, "group", holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        saved = await saved_until_refused(feed)
        with pytest.raises(
            BusUnavailable, match=r"no space for \d+ bytes more next to the states of all series within"
        ):
            await feed.commit(Checkpoint(0, 0, {f"s{saved}": bytes(10_000)}))
        assert held(tmp_path) <= BOUND
    async with opened(settings(tmp_path, size=4 * BOUND)) as bus, bus.join(TICKS, "group", again := Holder()) as feed:
        await again.holds(PARTITIONS, feed)
        assert again.states[0].keys() == {f"s{n}" for n in range(saved)}
        await feed.commit(Checkpoint(0, 0, {"more": bytes(10_000)}))


async def test_a_checkpoint_larger_than_a_segment_is_written_whole(tmp_path: Path):
    states = {f"s{n}": bytes([n]) * 20_000 for n in range(10)}
    async with opened(settings(tmp_path)) as bus:
        for t in range(1000):
            await bus.publish(TICKS, [Tick(KEY, t)])
        async with bus.join(TICKS, "group", holder := Holder()) as feed:
            await holder.holds(PARTITIONS, feed)
            await feed.commit(Checkpoint(0, 0, states))
        assert held(tmp_path) <= BOUND
        for t in range(1000, 1100):
            await bus.publish(TICKS, [Tick(KEY, t)])
    async with opened(settings(tmp_path)) as bus, bus.join(TICKS, "group", again := Holder()) as feed:
        await again.holds(PARTITIONS, feed)
        assert again.states == {0: states}
        assert (await times(bus))[-1] == 1099


async def test_what_is_too_old_goes_and_its_space_is_given_back(tmp_path: Path):
    clocks = Clocks()
    async with opened(settings(tmp_path, hours=1), clocks) as bus:
        await bus.publish(TICKS, [Tick(KEY, t) for t in range(200)])
        before = on_disk(tmp_path)
        clocks.wait(0.9 * HOUR)
        await bus.publish(TICKS, [Tick(KEY, 200)])
        assert await times(bus) == [*range(201)]
        clocks.wait(0.2 * HOUR)
        await bus.publish(TICKS, [Tick(KEY, 201)])
        assert (await times(bus))[0] > 0
        clocks.wait(2 * HOUR)
        await bus.publish(TICKS, [Tick(KEY, 202)])
        await bus.publish(TICKS, [Tick(KEY, 203)])
        assert set(await times(bus)) <= {202, 203}
        assert on_disk(tmp_path) <= before


async def test_what_a_group_at_work_needs_is_kept_however_old(tmp_path: Path):
    clocks = Clocks()
    async with opened(settings(tmp_path, hours=1), clocks) as bus:
        await bus.publish(TICKS, [Tick(KEY, t) for t in range(100)])
        async with bus.join(TICKS, "group", holder := Holder()) as feed:
            await holder.holds(PARTITIONS, feed)
            clocks.wait(10 * HOUR)
            await bus.publish(TICKS, [Tick(KEY, 100)])
            assert await times(bus) == [*range(101)]
            (partition,) = (p for p in range(PARTITIONS) if bus.log(TICKS.name, p).end)
            await feed.commit(Checkpoint(partition, 100, {}))
            await bus.publish(TICKS, [Tick(KEY, 101)])
            assert (await times(bus))[0] > 0
            assert {100, 101} <= set(await times(bus))


async def test_a_group_that_is_gone_grows_old_over_all_restarts(tmp_path: Path):
    clocks = Clocks()
    async with opened(settings(tmp_path, hours=1), clocks) as bus:
        await bus.publish(TICKS, [Tick(KEY, 0)])
        async with bus.join(TICKS, "gone", holder := Holder()) as feed:
            await holder.holds(PARTITIONS, feed)
            for partition in range(PARTITIONS):
                await feed.commit(Checkpoint(partition, 0, {}))
    for t in range(1, 12):
        async with opened(settings(tmp_path, hours=1), clocks) as bus:
            clocks.wait(0.4 * HOUR)
            await bus.publish(TICKS, [Tick(KEY, t)])
            await at_rest(bus)
            assert t - (await times(bus))[0] <= 3


@pytest.mark.parametrize("jump", [-30 * HOUR, 30 * HOUR])
async def test_a_clock_that_is_set_drops_nothing(tmp_path: Path, jump: float):
    clocks = Clocks()
    async with opened(settings(tmp_path, hours=1), clocks) as bus:
        await bus.publish(TICKS, [Tick(KEY, t) for t in range(200)])
        clocks.day += jump
        await bus.publish(TICKS, [Tick(KEY, 200)])
        assert await times(bus) == [*range(201)]
        assert [envelope.timestamp for envelope in await bus.read(TICKS)] == [NOON] * 200 + [NOON + jump]
    # While nobody looked, too.
    clocks.day -= jump
    clocks.passed = 5.0
    async with opened(settings(tmp_path, hours=1), clocks) as bus:
        await bus.publish(TICKS, [Tick(KEY, 201)])
        assert await times(bus) == [*range(202)]
        clocks.wait(0.5 * HOUR)
        await bus.publish(TICKS, [Tick(KEY, 202)])
        assert await times(bus) == [*range(203)]
        clocks.wait(0.6 * HOUR)
        await bus.publish(TICKS, [Tick(KEY, 203)])
        assert (await times(bus))[0] > 0


async def test_a_reader_from_the_beginning_goes_on_where_retention_has_overtaken_it(tmp_path: Path):
    async with opened(settings(tmp_path)) as bus:
        await bus.publish(TICKS, [Tick(KEY, t) for t in range(200)])
        pages = bus.tail(TICKS, earliest=True)
        assert await anext(pages) == []
        await bus.publish(TICKS, [Tick(KEY, t) for t in range(200, 2000)])
        read: list[int] = []
        async with asyncio.timeout(120):
            while 1999 not in read:
                read += [envelope.value.t for envelope in await anext(pages)]
        await pages.aclose()
        assert read == [*range(read[0], 2000)]


@contextmanager
def slow_reads(loop: asyncio.AbstractEventLoop) -> Iterator[Event]:
    """Threads that read wait until the event is set: there is one alone."""
    gate = Event()
    with ThreadPoolExecutor(1) as threads:
        loop.set_default_executor(threads)
        threads.submit(gate.wait)
        try:
            yield gate
        finally:
            gate.set()


async def test_what_is_read_of_a_segment_that_goes_meanwhile_is_not_an_error(tmp_path: Path):
    clocks = Clocks()
    async with opened(settings(tmp_path, hours=1), clocks) as bus:
        await bus.publish(TICKS, [Tick(KEY, t) for t in range(300)])
        (log,) = (bus.log(TICKS.name, p) for p in range(PARTITIONS) if bus.log(TICKS.name, p).end)
        # The first two that go are kept to be used again.
        third = log.spans[2]
        with slow_reads(asyncio.get_running_loop()) as gate:
            reading = asyncio.create_task(bus.page(log, third.first, 10))
            await asyncio.sleep(0)
            clocks.wait(2 * HOUR)
            await bus.publish(TICKS, [Tick(KEY, t) for t in range(300, 303)])
            await at_rest(bus)
            assert log.first == 300
            gate.set()
            assert [raw.offset for raw in await reading] == [*range(third.first, third.first + 10)]
            await asyncio.get_running_loop().shutdown_default_executor()
