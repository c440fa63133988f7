"""Many who write at once share a sync; each hears when its own is on the disk."""

import asyncio
from pathlib import Path

import pytest

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.embedded.writing import QUIET_TURNS
from driftline.bus.port import Checkpoint, Output
from driftline.errors import BusUnavailable
from tests.bus.conftest import PARTITIONS, Folded, Tick, folds, ticks
from tests.bus.test_contract import Holder

TICKS, FOLDS = ticks("ticks"), folds("folds")


@pytest.fixture
async def bus(tmp_path: Path):
    embedded = EmbeddedBus(EmbeddedSettings(tmp_path, PARTITIONS))
    yield embedded
    await embedded.close()


async def test_what_comes_while_a_sync_is_under_way_goes_into_the_next_together(bus: EmbeddedBus):
    await bus.publish(TICKS, [Tick("k", 0)])
    before = bus.writing.syncs
    await asyncio.gather(*(bus.publish(TICKS, [Tick("k", t)]) for t in range(1, 501)))
    assert bus.writing.syncs - before <= 2
    assert [envelope.value.t for envelope in await bus.read(TICKS)] == [*range(501)]


async def test_commits_of_workers_and_publishers_share_one_too(bus: EmbeddedBus):
    async with bus.join(TICKS, "group", holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        before = bus.writing.syncs
        await asyncio.gather(
            bus.publish(TICKS, [Tick("a", 1)]),
            *(
                feed.commit(Checkpoint(p, 1, {f"s{p}": b"x"}, [Output(p, FOLDS, Folded("a", p, 1))]))
                for p in range(PARTITIONS)
            ),
            feed.send([Output(0, FOLDS, Folded("a", 9, 1))]),
        )
        assert bus.writing.syncs - before <= 2


async def test_who_gives_up_waiting_takes_nobody_with_it(bus: EmbeddedBus):
    first = asyncio.create_task(bus.publish(TICKS, [Tick("a", 1)]))
    second = asyncio.create_task(bus.publish(TICKS, [Tick("a", 2)]))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert [envelope.value.t for envelope in await bus.read(TICKS)][-1] == 2


async def test_the_loop_goes_on_while_the_disk_works(bus: EmbeddedBus):
    """Turns of the loop that pass until a large commit is on the disk."""
    task = asyncio.create_task(bus.publish(TICKS, [Tick("k" * 20_000, t) for t in range(400)]))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100


async def test_outputs_and_position_are_one(bus: EmbeddedBus):
    """Whoever sees an output finds the position that belongs to it."""
    async with bus.join(TICKS, "group", holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        for position in range(1, 50):
            await feed.commit(Checkpoint(0, position, {}, [Output(0, FOLDS, Folded("a", position, 1))]))
            assert bus.log(FOLDS.name, 0).end == position
            assert bus._journal.contents.checkpoint("group", TICKS.name, 0).position == position


async def test_syncs_keep_their_distance_where_that_is_wanted(tmp_path: Path):
    bus = EmbeddedBus(EmbeddedSettings(tmp_path / "slow", PARTITIONS, sync_every=0.05))
    loop = asyncio.get_running_loop()
    await bus.publish(TICKS, [Tick("k", 0)])
    began, before = loop.time(), bus.writing.syncs
    for t in range(1, 7):
        await asyncio.gather(*(bus.publish(TICKS, [Tick(f"k{key}", t)]) for key in range(50)))
    assert bus.writing.syncs - before == 6
    assert loop.time() - began > 5 * 0.05
    await bus.close()


async def test_who_wants_all_settled_waits_for_no_sync_of_its_own(tmp_path: Path):
    bus = EmbeddedBus(EmbeddedSettings(tmp_path / "slow", PARTITIONS, sync_every=60))
    publishing = asyncio.create_task(bus.publish(TICKS, [Tick("k", 0)]))
    # By then the sync of the first is under way.
    for _ in range(QUIET_TURNS + 5):
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await bus.writing.settled()
    await publishing
    assert bus.writing.syncs == 1
    await bus.close()


class BrokenClock:
    """A mistake in the midst of writing."""

    def __init__(self) -> None:
        self.is_broken = False

    def __call__(self) -> float:
        if self.is_broken:
            raise MemoryError("too much")
        return 1.0


async def test_a_writer_that_dies_says_why_for_ever(tmp_path: Path):
    clock, deaths = BrokenClock(), list[tuple[str, BaseException]]()
    bus = EmbeddedBus(
        EmbeddedSettings(tmp_path / "bus", PARTITIONS), on_death=lambda *death: deaths.append(death), monotonic=clock
    )
    await bus.publish(TICKS, [Tick("k", 0)])
    clock.is_broken = True
    for call in (bus.publish(TICKS, [Tick("k", 1)]), bus.publish(TICKS, [Tick("k", 1)]), bus.check()):
        with pytest.raises(BusUnavailable, match="the bus has stopped: MemoryError"):
            await call
    ((job, error),) = deaths
    assert job == "the writer of the bus"
    assert isinstance(error, MemoryError)
    await bus.close()


async def test_without_anybody_who_ends_the_process_the_death_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    clock = BrokenClock()
    bus = EmbeddedBus(EmbeddedSettings(tmp_path / "bus", PARTITIONS), monotonic=clock)
    clock.is_broken = True
    with pytest.raises(BusUnavailable, match="the bus has stopped"):
        await bus.publish(TICKS, [Tick("k", 0)])
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("CRITICAL", "the writer of the bus died: too much")
    ]
    await bus.close()
