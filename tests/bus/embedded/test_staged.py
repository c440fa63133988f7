"""Workers read on before a sync is done, nobody else does, and nothing of it counts unless it is."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import pytest

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.port import Checkpoint, Output
from driftline.errors import BusUnavailable
from driftline.worker.loop import Worker
from tests.bus.conftest import PARTITIONS, CopyStep, Folded, HashStep, Tick, folds, ticks
from tests.bus.embedded.afterwards import hashes
from tests.bus.embedded.conftest import mount, settings
from tests.bus.embedded.life import ONCE
from tests.bus.test_contract import PATIENCE_S, Holder

TICKS, FOLDS, COPIES = ticks("ticks"), folds("folds"), folds("copies")
PAD = "k" * 1000


@pytest.fixture
async def bus(tmp_path: Path):
    embedded = EmbeddedBus(EmbeddedSettings(tmp_path / "bus", PARTITIONS))
    yield embedded
    await embedded.close()


@contextmanager
def slow_disk(bus: EmbeddedBus) -> Iterator[Event]:
    """Nothing is written meanwhile, until the event is set."""
    gate = Event()
    bus._journal._thread.submit(gate.wait)
    try:
        yield gate
    finally:
        gate.set()


async def test_a_worker_reads_what_is_about_to_be_written_and_nobody_else_does(bus: EmbeddedBus):
    async with (
        bus.join(TICKS, "early", early := Holder()) as feed,
        bus.join(TICKS, "gathering", late := Holder(), gather=1.0) as gathering,
    ):
        await early.holds(PARTITIONS, feed)
        await late.holds(PARTITIONS, gathering)
        tail = bus.tail(TICKS)
        assert await anext(tail) == []
        with slow_disk(bus):
            publishing = asyncio.create_task(bus.publish(TICKS, [Tick("k", 1)]))
            (raw,) = await feed.poll(10, PATIENCE_S)
            assert TICKS.decode(raw.payload) == Tick("k", 1)
            assert await gathering.poll(10, 0.05) == []
            assert await bus.read(TICKS) == []
            assert sum((await bus.lag(TICKS, "early")).values()) == 0
            assert not publishing.done()
        await publishing
        assert await gathering.poll(10, PATIENCE_S) == [raw]
        assert [envelope.value for envelope in await anext(tail)] == [Tick("k", 1)]
        await tail.aclose()


async def test_a_record_and_all_that_is_made_of_it_share_syncs(bus: EmbeddedBus):
    first = Worker("first", bus, TICKS, HashStep(FOLDS), ONCE)
    second = Worker("second", bus, FOLDS, CopyStep(COPIES), ONCE)
    tasks = [asyncio.create_task(worker.run()) for worker in (first, second)]
    tail = bus.tail(COPIES, earliest=True)
    await bus.publish(TICKS, [Tick("k", 0)])
    seen = 0
    async with asyncio.timeout(PATIENCE_S):
        while not seen:
            seen += len(await anext(tail))
        before = bus.writing.syncs
        for t in range(1, 101):
            await bus.publish(TICKS, [Tick("k", t)])
            while seen <= t:
                seen += len(await anext(tail))
    assert bus.writing.syncs - before < 250
    await tail.aclose()
    for worker in (first, second):
        await worker.stop()
    await asyncio.gather(*tasks)


async def test_the_next_owner_begins_behind_a_commit_whose_worker_was_cancelled(bus: EmbeddedBus):
    """It is written all the same: an older checkpoint would put the same out again."""
    await bus.publish(TICKS, [Tick("k", 0)])
    (partition,) = (p for p in range(PARTITIONS) if bus.log(TICKS.name, p).end)
    with slow_disk(bus) as gate:
        async with bus.join(TICKS, "group", holder := Holder()) as feed:
            await holder.holds(PARTITIONS, feed)
            output = Output(partition, FOLDS, Folded("k", 0, 1))
            committing = asyncio.create_task(feed.commit(Checkpoint(partition, 1, {"k": b"one"}, [output])))
            await asyncio.sleep(0)
            committing.cancel()
            await asyncio.gather(committing, return_exceptions=True)
            assert committing.cancelled()
        async with bus.join(TICKS, "group", again := Holder()) as feed:
            taking = asyncio.create_task(again.holds(PARTITIONS, feed))
            await asyncio.wait([taking], timeout=0.1)
            gate.set()
            await taking
        assert again.given[partition].position == 1
        assert again.states == {partition: {"k": b"one"}}
    assert len(await bus.read(FOLDS)) == 1


@pytest.mark.process
async def test_what_was_read_of_a_failed_write_counts_nowhere(small_disk: Path):
    bus = EmbeddedBus(settings(small_disk / "bus"))
    async with bus.join(TICKS, "early", early := Holder()) as feed, bus.join(FOLDS, "idle", idle := Holder()) as other:
        await early.holds(PARTITIONS, feed)
        await idle.holds(PARTITIONS, other)
        refused = asyncio.create_task(bus.publish(TICKS, [Tick("k" * 300_000, 1)]))
        (raw,) = await feed.poll(10, PATIENCE_S)
        with pytest.raises(BusUnavailable, match="the disk is full"):
            await refused
        with pytest.raises(BusUnavailable, match="could not be written that were handed out before"):
            await feed.commit(Checkpoint(raw.partition, 1, {}, [Output(raw.partition, FOLDS, Folded("k", 1, 1))]))
        with pytest.raises(BusUnavailable, match="could not be written"):
            await feed.poll(10, 0.0)
        await other.commit(Checkpoint(0, 0, {"a": b"one"}))
    async with bus.join(TICKS, "early", again := Holder()) as feed:
        await again.holds(PARTITIONS, feed)
        await bus.publish(TICKS, [Tick("k", 1)])
        (raw,) = await feed.poll(10, PATIENCE_S)
        assert (TICKS.decode(raw.payload), raw.offset) == (Tick("k", 1), 0)
    await bus.close()


@pytest.mark.process
async def test_a_worker_on_a_disk_that_was_full_folds_everything_once(small_disk: Path):
    bus = EmbeddedBus(settings(small_disk / "bus"))
    worker = Worker("fold", bus, TICKS, HashStep(FOLDS), ONCE)
    task = asyncio.create_task(worker.run())
    taken, refusals = 0, 0
    while taken < 400:
        try:
            await bus.publish(TICKS, [Tick(PAD, taken)])
            taken += 1
        except BusUnavailable:
            refusals += 1
            if refusals == 20:
                await asyncio.to_thread(mount, "-o", "remount,size=1m", small_disk)
    assert refusals >= 20
    async with asyncio.timeout(PATIENCE_S):
        tail = bus.tail(FOLDS, earliest=True)
        found: list[Folded] = []
        while not found or found[-1].t < taken - 1:
            found += [envelope.value for envelope in await anext(tail)]
        await tail.aclose()
    await worker.stop()
    await task
    assert [fold.t for fold in found] == [*range(found[0].t, taken)]
    assert [fold.hash for fold in found] == hashes(taken)[found[0].t :]
    await bus.close()
