"""The step-and-commit loop on a scripted bus: what it does when polls, commits and assignments meet."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import cast

import pytest
from stamina import instrumentation

from driftline.bus.port import Assignment, Bus, Checkpoint, Hole
from driftline.errors import BusUnavailable, Fenced, Standstill
from driftline.worker.loop import STANDSTILL_S, Worker
from driftline.worker.loop_settings import LoopSettings
from driftline.worker.observer import Unobserved
from tests.core.scripted import NUMBERS, Act, Batch, Collecting, Number, ScriptedBus, ScriptedSubscription, raw

NEVER = LoopSettings(checkpoint_every=3600.0)
ALWAYS = LoopSettings(checkpoint_every=0.0)


@pytest.fixture
def waits() -> Iterator[list[float]]:
    """How long retries have waited."""
    found: list[float] = []
    instrumentation.set_on_retry_hooks([lambda details: found.append(details.wait_for)])
    yield found
    instrumentation.set_on_retry_hooks(None)


class Counted(Unobserved):
    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)

    def replayed(self, messages: int) -> None:
        self.counts["replayed"] += messages

    def unlearned(self, messages: int) -> None:
        self.counts["unlearned"] += messages

    def restarted(self) -> None:
        self.counts["restarted"] += 1

    def lost(self, messages: int) -> None:
        self.counts["lost"] += messages

    def passed_over(self) -> None:
        self.counts["passed over"] += 1

    def rewound(self) -> None:
        self.counts["rewound"] += 1


def at(position: int, *offsets: int, partition: int = 0):
    """A poll that begins with an assignment."""

    def act(feed: ScriptedSubscription) -> Batch:
        feed.assign(partition, position)
        return [raw(offset, partition) for offset in offsets]

    return act


def bringing(*offsets: int, partition: int = 0):
    return lambda _: [raw(offset, partition) for offset in offsets]


def revoking(partition: int, *offsets: int):
    async def act(feed: ScriptedSubscription) -> Batch:
        # As Kafka does, while the loop still holds what this poll brings.
        await feed.owner.revoked(partition)
        return [raw(offset, partition) for offset in offsets]

    return act


class Scene:
    def __init__(
        self,
        *acts: Act,
        settings: LoopSettings = NEVER,
        step: Collecting | None = None,
        refuse: Callable[[Number], str | None] = lambda _: None,
    ) -> None:
        self.bus = ScriptedBus(*acts)
        self.step = step or Collecting()
        self.counted = Counted()
        self.now = 0.0
        self.worker = Worker(
            "numbers",
            cast("Bus", self.bus),
            NUMBERS,
            self.step,
            settings,
            refuse=refuse,
            observer=self.counted,
            monotonic=lambda: self.now,
        )

    async def play(self) -> None:
        """Until the script is over, then stops the worker in peace."""
        task = asyncio.create_task(self.worker.run())
        async with asyncio.timeout(120):
            over = asyncio.create_task(self.bus.over.wait())
            await asyncio.wait({task, over}, return_when=asyncio.FIRST_COMPLETED)
            await self.worker.stop()
            await task
            over.cancel()


async def test_messages_that_follow_on_are_worked_off_and_nobody_is_asked():
    scene = Scene(at(3, 3, 4), bringing(5, 6))
    await scene.play()
    assert scene.step.worked == [(0, 3), (0, 4), (0, 5), (0, 6)]
    assert scene.bus.asked == []
    assert scene.bus.committed == [Checkpoint(0, 7, {"newest": b"6"}, [], restart=7)]


async def test_a_message_that_was_passed_over_begins_the_session_anew_from_the_checkpoint():
    scene = Scene(at(3, 3, 4), bringing(7, 8), at(3, 3, 4, 5, 6, 7, 8))
    scene.bus.hole = Hole(lost=0, held=5)
    await scene.play()
    assert scene.bus.asked == [(0, range(5, 7))]
    assert scene.step.worked == [(0, n) for n in (3, 4, 3, 4, 5, 6, 7, 8)]
    assert scene.counted.counts == {"passed over": 1, "restarted": 1}
    assert scene.bus.joined == 2
    assert [checkpoint.position for checkpoint in scene.bus.committed] == [9]


async def test_what_retention_dropped_is_counted_and_the_work_goes_on():
    scene = Scene(at(0, 0), bringing(10, 11))
    scene.bus.hole = Hole(lost=9, held=None)
    await scene.play()
    assert scene.step.worked == [(0, 0), (0, 10), (0, 11)]
    assert scene.counted.counts == {"lost": 9}


async def test_where_each_batch_is_a_checkpoint_no_more_than_one_runs_ahead_of_it():
    scene = Scene(
        at(0, 0, 1), settings=LoopSettings(batch_limit=2, exactly_once=True, exactly_once_every=0.0, held_limit=2000)
    )
    scene.bus.acts += [later(1.0, scene, n, n + 1) for n in range(2, 12, 2)]
    ahead: list[int] = []

    async def slowly(checkpoint: Checkpoint) -> None:
        for _turn in range(50):
            await asyncio.sleep(0)
        ahead.append(len(scene.step.worked) - checkpoint.position)

    scene.bus.committing = slowly
    await scene.play()
    assert [output.message for c in scene.bus.committed for output in c.outputs] == [Number(n) for n in range(12)]
    assert max(ahead) == 2


async def test_the_marks_of_transactions_are_no_loss_where_outputs_travel_in_transactions():
    scene = Scene(at(0, 0), bringing(2, 3), settings=LoopSettings(exactly_once=True, exactly_once_every=3600.0))
    await scene.play()
    assert scene.counted.counts == {}
    assert scene.step.worked == [(0, 0), (0, 2), (0, 3)]


async def test_a_log_that_begins_again_is_worked_off_from_there():
    scene = Scene(at(100, 100, 101), bringing(0, 1))
    await scene.play()
    assert scene.step.worked == [(0, 100), (0, 101), (0, 0), (0, 1)]
    assert scene.counted.counts == {"rewound": 1}
    assert scene.step.renewed == [(0, 0)]
    assert [(c.position, c.restart, dict(c.states)) for c in scene.bus.committed] == [
        (0, 0, {"newest": b"101"}),
        (2, 2, {"newest": b"1"}),
    ]


def later(seconds: float, scene: "Scene", *offsets: int):
    """A poll that takes so long, and comes once what was to be written is."""

    async def act(_: ScriptedSubscription) -> Batch:
        scene.now += seconds
        for _turn in range(5):
            await asyncio.sleep(0)
        return [raw(offset) for offset in offsets]

    return act


async def test_positions_are_written_each_second_and_states_once_a_minute():
    scene = Scene(at(0, 0), settings=LoopSettings(checkpoint_every=1.0))
    scene.bus.acts += [later(20.0, scene, n) for n in range(1, 5)]
    await scene.play()
    written = [(c.position, c.restart, dict(c.states)) for c in scene.bus.committed]
    assert written == [
        (2, 0, {}),
        (3, 0, {}),
        (4, 4, {"newest": b"3"}),
        (5, 4, {}),
        (5, 5, {"newest": b"4"}),
    ]


async def test_a_restart_is_never_later_than_what_the_slowest_state_of_its_round_needs():
    scene = Scene(at(0, 0), settings=LoopSettings(checkpoint_every=1.0, state_every=60.0), step=Several())
    scene.bus.acts += [later(61.0, scene, 1), *(later(1.0, scene, n) for n in range(2, 8))]
    await scene.play()
    rounds = [(c.position, c.restart, sorted(c.states)) for c in scene.bus.committed]
    assert rounds[:5] == [(2, 0, ["a"]), (3, 0, ["b"]), (4, 2, ["c"]), (5, 2, []), (6, 2, [])]
    # In the end all that has changed since is written at once.
    assert rounds[-1] == (8, 8, ["a", "b", "c"])


class Several(Collecting):
    """Has three states, and each message changes all."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: list[str] = []
        self.under_way: list[str] = []

    def step(self, batch):
        self.changed = ["a", "b", "c"]
        return super().step(batch)

    def begin_round(self, partition: int, restart: int) -> dict[str, bytes]:
        self.under_way, self.changed = self.changed, []
        return {}

    def left(self, partition: int) -> int:
        return len(self.under_way)

    def unsaved(self, partition: int) -> int:
        return len({*self.under_way, *self.changed})

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        given, self.under_way = self.under_way[:limit], self.under_way[limit:] if limit else []
        return dict.fromkeys(given, b"")


async def test_a_stop_within_a_round_writes_what_that_was_to_write_at_its_end():
    scene = Scene(at(0, 0), settings=LoopSettings(checkpoint_every=1.0, state_every=60.0), step=WithTimes())
    scene.bus.acts += [later(61.0, scene, 1)]
    await scene.play()
    rounds = [(c.position, c.restart, sorted(c.states)) for c in scene.bus.committed]
    assert rounds == [(2, 0, ["a"]), (2, 2, ["b", "c", "times"])]


class WithTimes(Several):
    """As a step whose times have not changed since the round before."""

    def begin_round(self, partition: int, restart: int) -> dict[str, bytes]:
        first = not self.under_way
        self.under_way = sorted({*self.under_way, *self.changed})
        self.changed = []
        return {"times": b""} if first else {}


async def test_a_round_is_due_before_its_time_when_much_would_be_read_again():
    scene = Scene(at(0, 0), settings=LoopSettings(checkpoint_every=1.0, replay_limit=3))
    scene.bus.acts += [later(1.0, scene, n) for n in range(1, 5)]
    await scene.play()
    assert [(c.position, c.restart) for c in scene.bus.committed] == [(2, 0), (3, 3), (4, 3), (5, 3), (5, 5)]


def of(total: int, *, state_every: float = 60.0, interval: float = 1.0, partitions: int = 4, hurried: bool = False):
    settings = LoopSettings(checkpoint_every=interval, state_every=state_every)
    return settings.states_of(total, partitions, hurried=hurried)


def test_a_round_is_over_in_a_quarter_of_the_time_between_two_and_never_a_burst():
    assert of(25) == 2
    assert of(1500) == 100
    assert of(2500) == 125 == of(10, hurried=True)
    assert of(2500, interval=0.1) == 13
    assert of(2500, interval=10.0, partitions=1) == 500
    assert of(0) == 1
    assert of(2500, state_every=0.0) == 2500 == of(2500, state_every=0.0, hurried=True)


async def test_what_was_answered_is_read_again_in_silence_and_nothing_is_written_meanwhile():
    def restarting(feed: ScriptedSubscription) -> Batch:
        feed.owner.assigned(Assignment(0, 3, silent_until=6))
        return [raw(3), raw(4)]

    async def looking(_: ScriptedSubscription) -> Batch:
        with pytest.raises(Standstill, match="numbers is catching up: 1 messages"):
            await scene.worker.check()
        return [raw(5), raw(6)]

    async def catching_up(_: ScriptedSubscription) -> Batch:
        await scene.worker.check()
        return []

    scene = Scene(
        restarting,
        looking,
        catching_up,
        settings=LoopSettings(checkpoint_every=0.0),
        refuse=lambda number: "four" if number.n == 4 else None,
    )
    await scene.play()
    assert scene.step.replayed == [(0, 3), (0, 5)]
    assert scene.step.worked == [(0, 6)]
    assert [output.message for output in scene.bus.sent] == [Number(6)]
    assert scene.bus.published == [], "its dead letter was published when it was answered"
    assert {(c.position, c.restart) for c in scene.bus.committed} == {(7, 7)}
    assert scene.counted.counts == {"replayed": 3}


async def test_a_partition_that_is_taken_away_while_it_is_read_again_keeps_its_checkpoint():
    def restarting(feed: ScriptedSubscription) -> Batch:
        feed.owner.assigned(Assignment(0, 3, silent_until=6))
        return [raw(3), raw(4)]

    scene = Scene(restarting, revoking(0), bringing())
    await scene.play()
    assert scene.bus.committed == []


async def test_a_hole_in_what_was_answered_is_no_loss():
    def restarting(feed: ScriptedSubscription) -> Batch:
        feed.owner.assigned(Assignment(0, 3, silent_until=6))
        return [raw(10)]

    scene = Scene(restarting)
    scene.bus.hole = Hole(lost=7, held=None)
    await scene.play()
    assert scene.counted.counts == {"unlearned": 3, "lost": 4}


async def test_every_partition_is_checked_for_itself():
    scene = Scene(at(0, 0, 1), at(50, 50, partition=1), lambda _: [raw(2), raw(51, 1), raw(3)])
    await scene.play()
    assert scene.bus.asked == []
    assert {c.partition: c.position for c in scene.bus.committed} == {0: 4, 1: 52}


async def test_what_a_poll_brought_of_a_partition_that_was_taken_away_meanwhile_is_left_to_its_new_owner():
    scene = Scene(at(0, 0, 1), revoking(0, 2, 3), bringing())
    await scene.play()
    assert scene.step.worked == [(0, 0), (0, 1)]
    assert scene.bus.committed == [Checkpoint(0, 2, {"newest": b"1"}, [], restart=2)]
    assert scene.step.released == [0]


async def test_a_partition_that_is_taken_away_while_it_is_restored_is_released():
    async def restoring(feed: ScriptedSubscription) -> Batch:
        await feed.owner.restore(0, {"a": b"1"})
        await feed.owner.revoked(0)
        return []

    scene = Scene(restoring)
    await scene.play()
    assert scene.step.restored == [(0, {"a": b"1"})]
    assert scene.step.released == [0]
    assert scene.bus.committed == []


async def test_a_session_that_ends_while_a_partition_is_restored_releases_it():
    async def failing(feed: ScriptedSubscription) -> Batch:
        await feed.owner.restore(0, {"a": b"1"})
        raise BusUnavailable("the broker is away")

    scene = Scene(failing, at(0, 0))
    await scene.play()
    with pytest.raises(Standstill, match="numbers has not joined its group: the broker is away"):
        await scene.worker.check()
    # Once as it failed, once in the end.
    assert scene.step.released == [0, 0]
    assert scene.step.restored == [(0, {"a": b"1"}), (0, {})]


async def test_many_states_are_restored_in_parts_and_others_get_a_turn_between():
    turns = 0

    async def counting() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def restoring(feed: ScriptedSubscription) -> Batch:
        await feed.owner.restore(0, {f"k{n}": b"1" for n in range(1000)})
        return at(0, 0)(feed)

    other = asyncio.create_task(counting())
    scene = Scene(restoring)
    await scene.play()
    other.cancel()
    parts = [states for _, states in scene.step.restored]
    assert len(set().union(*parts)) == 1000
    assert max(map(len, parts)) <= 50
    assert turns >= 20


@pytest.mark.parametrize("answered", [0, 300], ids=["a batch", "a replay"])
async def test_many_messages_are_worked_off_in_parts_and_others_get_a_turn_between(answered: int):
    turns: list[int] = []
    step = Collecting()

    def act(feed: ScriptedSubscription) -> Batch:
        feed.owner.assigned(Assignment(0, 0, silent_until=answered))
        loop = asyncio.get_running_loop()

        def look() -> None:
            turns.append(len(step.worked) + len(step.replayed))
            if turns[-1] < 250:
                loop.call_soon(look)

        loop.call_soon(look)
        return [raw(offset, 0) for offset in range(250)]

    scene = Scene(act, step=step)
    await scene.play()
    assert {100, 200} < set(turns)
    assert len(step.worked) + len(step.replayed) == 250


class Reluctant(Collecting):
    """Lets go of a partition in three parts."""

    def release(self, partition: int) -> bool:
        super().release(partition)
        return len(self.released) < 3


async def test_a_partition_that_is_let_go_in_parts_is_released_to_its_end():
    scene = Scene(at(0, 0), revoking(0), step=Reluctant())
    await scene.play()
    assert scene.step.released == [0, 0, 0]


async def test_a_session_that_has_worked_is_begun_anew_without_a_wait(waits: list[float]):
    """However many have failed before it: one that works begins the count of the waits again."""

    def losing(_: ScriptedSubscription) -> Batch:
        raise BusUnavailable("the broker is away")

    scene = Scene(losing, losing, at(0, 0), losing, at(1, 1), losing, losing, at(2, 2))
    await scene.play()
    assert scene.step.worked == [(0, 0), (0, 1), (0, 2)]
    assert scene.counted.counts["restarted"] == 5
    assert len(waits) == 3, "after each session that did nothing"
    assert max(waits) < 1.5, "none is as long as after several failures in a row"


async def test_a_fenced_checkpoint_begins_the_session_anew():
    failed = asyncio.Event()
    scene = Scene(at(0, 0), settings=ALWAYS)
    scene.bus.acts += [later(0.0, scene, 1), at(0, 0, 1)]

    async def committing(_: Checkpoint) -> None:
        if not failed.is_set():
            failed.set()
            raise Fenced("another worker took the partition over")

    scene.bus.committing = committing
    await scene.play()
    assert scene.counted.counts["restarted"] == 1
    assert scene.bus.committed[-1].position == 2


async def test_a_checkpoint_under_way_holds_up_the_next_one_but_not_the_work():
    scene = Scene(at(0, 0), *(bringing(n) for n in range(1, 9)), settings=ALWAYS)
    under_way: list[int] = []

    async def committing(checkpoint: Checkpoint) -> None:
        under_way.append(checkpoint.position)
        assert under_way == [checkpoint.position]
        # What comes next is sent although this is not written yet.
        await scene.bus.until(sent=9)
        under_way.remove(checkpoint.position)

    scene.bus.committing = committing
    await scene.play()
    assert [checkpoint.position for checkpoint in scene.bus.committed][:2] == [1, 9]


async def test_a_partition_that_is_taken_away_in_mid_write_is_left_once_that_and_the_rest_are_written():
    answer, events = asyncio.Event(), list[str]()

    def first(feed: ScriptedSubscription) -> Batch:
        scene.now = 2.0  # a checkpoint is due
        return at(0, 0)(feed)

    async def leaving(feed: ScriptedSubscription) -> Batch:
        revoked = asyncio.create_task(feed.owner.revoked(0))
        for _ in range(20):
            await asyncio.sleep(0)
        assert (events, scene.step.released) == (["begun 1"], [])
        answer.set()
        await revoked
        return []

    async def committing(checkpoint: Checkpoint) -> None:
        events.append(f"begun {checkpoint.position}")
        await answer.wait()
        events.append(f"written {checkpoint.position}")

    scene = Scene(first, bringing(1), leaving, bringing(), settings=LoopSettings(checkpoint_every=1.0))
    scene.bus.committing = committing
    await scene.play()
    assert events == ["begun 1", "written 1", "begun 2", "written 2"]
    assert scene.step.released == [0]


async def test_a_checkpoint_that_fails_while_another_partition_is_taken_away_begins_the_session_anew():
    """What it held of the partitions that stay was counted as written."""
    failing, others = asyncio.Event(), list[int]()

    def first(feed: ScriptedSubscription) -> Batch:
        scene.now = 2.0  # a checkpoint is due
        return [*at(0, 0)(feed), *at(0, 0, partition=1)(feed)]

    async def leaving(feed: ScriptedSubscription) -> Batch:
        failing.set()
        await feed.owner.revoked(1)
        scene.now = 4.0  # the next one is due
        return []

    async def committing(checkpoint: Checkpoint) -> None:
        if scene.bus.joined > 1:
            return
        await failing.wait()
        if checkpoint.partition == 0:
            raise BusUnavailable("the transaction was aborted")
        # What goes on beside the failure is waited for, and not left alone.
        await asyncio.sleep(0)
        others.append(checkpoint.partition)

    scene = Scene(first, leaving, at(0, 0), settings=LoopSettings(checkpoint_every=1.0, exactly_once=True))
    scene.bus.acts.append(bringing())
    scene.bus.committing = committing
    await scene.play()
    assert others == [1]
    assert scene.counted.counts["restarted"] == 1
    outputs = [output.message for c in scene.bus.committed if c.partition == 0 for output in c.outputs]
    assert outputs == [Number(0)]


async def test_a_checkpoint_under_way_is_abandoned_with_its_session_and_its_work_is_done_again():
    begun, cancelled = asyncio.Event(), []

    async def losing(_: ScriptedSubscription) -> Batch:
        await begun.wait()
        raise BusUnavailable("the broker is away")

    scene = Scene(at(0, 0), losing, at(0, 0, 1), settings=ALWAYS)

    async def committing(checkpoint: Checkpoint) -> None:
        if begun.is_set():
            return
        begun.set()
        try:
            await asyncio.Event().wait()  # the broker never answers
        except asyncio.CancelledError:
            cancelled.append(checkpoint.position)
            raise

    scene.bus.committing = committing
    await scene.play()
    assert cancelled == [1]
    assert scene.step.worked == [(0, 0), (0, 0), (0, 1)]
    assert scene.bus.committed[-1].position == 2
    assert scene.step.released[0] == 0


async def test_a_clock_of_the_day_that_is_set_back_stops_no_checkpoint():
    """Timers go by a clock that is never set; the other is for latencies alone."""
    scene = Scene(at(0, 0), bringing(1), settings=LoopSettings(checkpoint_every=1.0))
    of_the_day = iter([1e9, *([1e9 - 3600] * 1000)])
    scene.worker._clock = lambda: next(of_the_day)

    async def two_seconds_later(_: ScriptedSubscription) -> Batch:
        scene.now += 2.0
        return [raw(2)]

    async def until_written(_: ScriptedSubscription) -> Batch:
        await scene.bus.until(committed=1)
        return []

    scene.bus.acts += [two_seconds_later, until_written]
    await scene.play()
    assert scene.bus.committed[0].position == 3


async def test_a_worker_that_stands_still_says_so():
    scene = Scene(at(0, 0))
    with pytest.raises(Standstill, match="numbers has not joined its group"):
        await scene.worker.check()
    blocked, go = asyncio.Event(), asyncio.Event()

    async def blocking(_: ScriptedSubscription) -> Batch:
        blocked.set()
        await go.wait()
        return []

    scene.bus.acts.append(blocking)
    task = asyncio.create_task(scene.play())
    await blocked.wait()
    await scene.worker.check()
    scene.now += STANDSTILL_S + 1
    with pytest.raises(Standstill, match="numbers has been standing still for 11 s"):
        await scene.worker.check()
    scene.bus.restoring = True
    with pytest.raises(Standstill, match="numbers is restoring"):
        await scene.worker.check()
    go.set()
    with suppress(Standstill):
        await task


async def test_dead_letters_are_published_before_the_position_moves():
    scene = Scene(at(0, 0, 1), refuse=lambda number: "odd" if number.n % 2 else None)
    await scene.play()
    assert [letter.reason for letter in scene.bus.published] == ["odd"]
    assert scene.bus.committed[-1].position == 2
    assert [output.message for output in scene.bus.sent] == [Number(0)]
