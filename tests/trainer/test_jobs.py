"""Jobs outlive their trainer, belong to one, and keep to the budget."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from driftline.errors import Conflict, StoreUnavailable
from driftline.metrics import Metrics
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer.budget import DAY_S, earliest
from driftline_trainer.claims import Claims
from driftline_trainer.jobs import JobBook, JobState
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer
from tests.trainer.test_trainer import HISTORY, PATIENCE_S, archive, working

pytestmark = pytest.mark.usefixtures("lent")
LEASE_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def store(tmp_path: Path, quick: StreamDefinition, rows: Rows) -> FolderStore:
    found = FolderStore(tmp_path / "store")
    await found.put(HISTORY, tables.encode(rows.take(slice(0, 4000)), quick))
    return found


def trainer(store: FolderStore, stream: StreamDefinition, clock: Clock, name: str, **settings: Any) -> Trainer:
    given = {"retrain_interval": 0, "trainer_lease": LEASE_S} | settings
    return Trainer(TrainerSettings(trainer_name=name, **given), store, {stream.name: stream}, Metrics(), clock)


async def test_an_accepted_job_is_done_after_a_restart(store: FolderStore, quick: StreamDefinition):
    clock = Clock()
    accepted = await trainer(store, quick, clock, "one").submit(quick.name, "batch", HISTORY)
    restarted = trainer(store, quick, clock, "one")
    async with working(restarted), asyncio.timeout(PATIENCE_S):
        await restarted.reconcile()
        ended = await restarted.wait(accepted.id)
    assert (ended.id, ended.state) == (accepted.id, "published")
    assert ended.beaten.startswith("persistence: ")
    afterwards = trainer(store, quick, clock, "one")
    await afterwards.reconcile()
    assert [(job.id, job.state) for job in afterwards.jobs()] == [(accepted.id, "published")]


async def test_another_trainer_takes_over_from_one_that_is_dead_and_from_no_other(store, quick):
    clock = Clock()
    accepted = await trainer(store, quick, clock, "one").submit(quick.name, "batch", HISTORY)
    other = trainer(store, quick, clock, "two")
    await other.reconcile()
    assert other.job(accepted.id).holder == "one"
    clock.now += LEASE_S + 1
    await other.reconcile()
    assert (other.job(accepted.id).holder, other.job(accepted.id).state) == ("two", "queued")


async def test_a_job_that_can_not_be_written_down_is_not_accepted(store: FolderStore, quick: StreamDefinition):
    lock = store.root / ".lock"
    lock.unlink()
    lock.mkdir()
    one = trainer(store, quick, Clock(), "one")
    with pytest.raises(StoreUnavailable):
        await one.submit(quick.name, "batch", HISTORY)
    assert one.jobs() == []


async def test_only_so_many_jobs_stay_in_the_store(store: FolderStore):
    book = JobBook(store, "one", remembered=2)
    for n in range(4):
        job = JobState(f"{n}", "a", "batch", None, "queued", float(n), holder="one")
        await book.accept(job)
        await book.note(JobState(f"{n}", "a", "batch", None, "failed", float(n), holder="one"))
    assert [job.id for job in book.all()] == ["3", "2"]
    assert [listed.key async for listed in store.list("jobs/")] == ["jobs/2.json", "jobs/3.json"]


async def test_of_two_trainers_one_works_on_a_model(store: FolderStore):
    clock = Clock()
    one, two = (Claims(store, name, clock, LEASE_S) for name in ("one", "two"))
    await one.take("a", "speed", {"k": "w1"}, again=False)
    with pytest.raises(Conflict, match="one is at work"):
        await two.take("a", "speed", {"k": "w1"}, again=True)
    await two.take("a", "batch", {}, again=True)
    clock.now += LEASE_S + 1
    await two.take("a", "speed", {"k": "w1"}, again=False)


async def test_of_two_trainers_that_claim_at_once_one_gets_it(store: FolderStore):
    clock = Clock()
    claims = [Claims(store, f"t{n}", clock, LEASE_S) for n in range(5)]
    outcomes = await asyncio.gather(
        *(claim.take("a", "speed", {"k": "w1"}, again=False) for claim in claims), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 4 + ["NoneType"]


async def test_windows_are_learned_from_once_unless_a_person_asks(store: FolderStore):
    clock = Clock()
    one, two = (Claims(store, name, clock, LEASE_S) for name in ("one", "two"))
    await one.take("a", "speed", {"k": "w1"}, again=False)
    await one.finish("a", "speed", {"k": "w1"})
    with pytest.raises(Conflict, match="one has learned from these windows"):
        await two.take("a", "speed", {"k": "w1"}, again=False)
    await two.take("a", "speed", {"k": "w1"}, again=True)
    await two.finish("a", "speed", {"k": "w1"})
    await two.take("a", "speed", {"k": "w2"}, again=False)


async def test_a_trainer_whose_clock_is_set_back_goes_on_saying_that_it_lives(store: FolderStore):
    clock, ticks = Clock(), Clock()
    one, two = (Claims(store, name, clock, LEASE_S, ticks) for name in ("one", "two"))
    await one.stay_alive()
    assert await two.alive("one")
    clock.now -= 3600
    for _ in range(5):
        ticks.now += LEASE_S / 2
        clock.now += LEASE_S / 2
        before = (await store.get("trainers/one.json")).etag
        await one.stay_alive()
        assert (await store.get("trainers/one.json")).etag != before
        assert await two.alive("one")


async def test_a_trainer_whose_clock_alone_is_wrong_is_believed_as_long_as_it_speaks(store: FolderStore):
    right, late, ticks = Clock(), Clock(), Clock()
    one, two = Claims(store, "one", late, LEASE_S, ticks), Claims(store, "two", right, LEASE_S, ticks)
    await one.stay_alive()
    assert await two.alive("one")
    late.now -= 3600
    for _ in range(3):
        ticks.now += LEASE_S / 2
        right.now += LEASE_S / 2
        await one.stay_alive()
        assert await two.alive("one")
    ticks.now += LEASE_S + 1
    assert not await two.alive("one")


async def test_who_died_with_a_clock_ahead_is_not_waited_for_until_then(store: FolderStore):
    right, ahead, ticks = Clock(), Clock(), Clock()
    ahead.now += 3600
    one, two = Claims(store, "one", ahead, LEASE_S, ticks), Claims(store, "two", right, LEASE_S, ticks)
    await one.stay_alive()
    assert await two.alive("one")
    ticks.now += LEASE_S + 1
    assert not await two.alive("one")


async def test_a_clock_set_back_an_hour_holds_no_retraining_up(store: FolderStore, quick, rows: Rows):
    clock = Clock()
    one = trainer(store, quick, clock, "one", retrain_interval=100)
    async with working(one), asyncio.timeout(PATIENCE_S):
        await one.wait((await one.submit(quick.name, "batch", HISTORY)).id)
        await archive(store, quick, rows.take(slice(8000, 8500)))
        await one.reconcile()
        first = await one.wait((await one.submit(quick.name, "speed", trigger="drift")).id)
        clock.now -= 3600
        await archive(store, quick, rows.take(slice(8500, 9000)), begin=500)
        await one.reconcile()
        second = await one.wait((await one.submit(quick.name, "speed", trigger="drift")).id)
    assert (first.state, second.state) == ("published", "published")
    assert first.id < second.id, "jobs stay in the order in which they came"


async def test_drift_waits_for_a_window_and_for_the_budget(store: FolderStore, quick, rows: Rows):
    clock = Clock()
    one = trainer(store, quick, clock, "one", retrain_interval=100)
    async with working(one), asyncio.timeout(PATIENCE_S):
        await one.wait((await one.submit(quick.name, "batch", HISTORY)).id)
        drifted = await one.submit(quick.name, "speed", trigger="drift")
        assert (await one.submit(quick.name, "speed", trigger="negative-skill")).id == drifted.id
        await one.reconcile()
        assert one.job(drifted.id).state == "queued"
        await archive(store, quick, rows.take(slice(8000, 8500)))
        await one.reconcile()
        assert (await one.wait(drifted.id)).state == "published"
        # The next one is too soon, until a person asks for it.
        again = await one.submit(quick.name, "speed", trigger="drift")
        await archive(store, quick, rows.take(slice(8500, 9000)), begin=500)
        await one.reconcile()
        assert one.job(again.id).state == "queued"
        assert (await one.submit(quick.name, "speed")).id == again.id
        assert (await one.wait(again.id)).state == "published"


def test_a_start_that_lies_ahead_of_the_clock_holds_nothing_up():
    assert earliest([10.0, 5000.0], 60, 3, now=1000.0) == 70
    assert earliest([10.0, 1010.0], 60, 3, now=1000.0) == 1070, "clocks of two trainers differ by seconds"


def test_the_budget_is_an_interval_and_a_number_a_day():
    assert earliest([], 60, 3, now=3 * DAY_S) == 0
    assert earliest([10.0], 60, 3, now=3 * DAY_S) == 70
    assert earliest([10.0, 100.0, 200.0], 60, 3, now=3 * DAY_S) == 10 + DAY_S
    assert earliest([10.0, 100.0, 200.0, 2 * DAY_S], 60, 3, now=3 * DAY_S) == 2 * DAY_S + 60
