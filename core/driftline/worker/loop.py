"""The step-and-commit loop: makes a pure step durable on any bus.

Outputs are acknowledged before the position moves, and the position is written once a second. What is done twice after
a crash has the same name, so readers see it once.

States are large, so they are written far less often: in rounds, each spread over the checkpoints of some seconds. A
checkpoint says from where the input must be read again so that the states come to its position; after a crash that is
done in silence, since it was answered before.

Nothing is passed over: the messages of a partition must begin where its position is. Where they begin later, the bus
says why; if it still holds what is missing, the session begins anew from the last checkpoint.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Generic, TypeVar

import stamina

from driftline.bus.port import Assignment, Bus, Checkpoint, Envelope, Raw, Subscription
from driftline.errors import BusUnavailable, Fenced, PassedOver, Standstill, Stuck
from driftline.messages import M, Topic
from driftline.worker.continuity import Continuity, first_offsets
from driftline.worker.dead_letters import DeadLetterGauge
from driftline.worker.inbox import Inbox
from driftline.worker.loop_settings import LoopSettings
from driftline.worker.observer import Observer, Unobserved
from driftline.worker.rounds import SERIES_AT_ONCE, OwnedPartition, Rounds
from driftline.worker.step import Step
from driftline.worker.step_spans import StepSpans, Untraced

log = logging.getLogger(__name__)

T = TypeVar("T")
POLL_S = 0.2
STANDSTILL_S = 10.0
"""A worker that has not come round for so long stands still."""
OVERDUE_S = 0.02
"""How long a poll waits at most while a checkpoint is due that the one before holds up."""
MESSAGES_AT_ONCE = 100
"""Messages that are decoded or worked off before other tasks get a turn: requests and heartbeats must go on."""


def _parts(states: Mapping[str, bytes | None], size: int) -> Iterator[dict[str, bytes | None]]:
    items = iter(states.items())
    while part := dict(islice(items, size)):
        yield part


async def _in_turns(messages: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """Some at once, between which other tasks get a turn."""
    for start in range(0, len(messages), MESSAGES_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        yield messages[start : start + MESSAGES_AT_ONCE]


def _accept(_: Any) -> str | None:
    return None


async def _nothing(_: Any) -> None:
    """There is nothing to wait for."""


class Worker(Generic[M]):
    """Runs one step as a member of the consumer group `group` on `topic`; see `driftline.service.app.BackgroundJob`.

    refuse, wait_for: see `driftline.worker.inbox.Inbox`. sink: where the step's outputs go instead of the bus; it
    returns when they are safe. gather: see `driftline.bus.port.Bus.join`. clock: the time of day, for latencies; timers
    go by `monotonic`.
    """

    def __init__(
        self,
        group: str,
        bus: Bus,
        topic: Topic[M],
        step: Step[M],
        settings: LoopSettings,
        *,
        refuse: Callable[[M], str | None] = _accept,
        wait_for: Callable[[M], Awaitable[None]] = _nothing,
        sink: Callable[[Sequence[Any]], Awaitable[None]] | None = None,
        gather: float = 0.0,
        observer: Observer | None = None,
        spans: StepSpans | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = group
        self._bus = bus
        self._topic = topic
        self._step = step
        self._settings = settings
        self._sink = sink
        self._gather = gather
        self._observer: Observer = observer or Unobserved()
        self._spans: StepSpans = spans or Untraced()
        self._clock = clock
        self._monotonic = monotonic
        gauge = DeadLetterGauge(settings.dead_letter_share, settings.dead_letter_minimum)
        self._inbox = Inbox(group, bus, topic, gauge, self._observer, refuse, wait_for)
        self._continuity = Continuity(topic.name, step, self._observer, exactly_once=settings.exactly_once)
        self._rounds = Rounds(step, settings, monotonic)
        self._owned: dict[int, OwnedPartition] = {}
        self._restoring: set[int] = set()
        self._subscription: Subscription | None = None
        self._came_round = monotonic()
        self._trouble = ""
        self._has_worked = False
        self._writing: asyncio.Task[None] | None = None
        # Kafka takes partitions away from another task: a batch and its checkpoint must not be cut by that.
        self._lock = asyncio.Lock()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Works until `stop`. A session that lost its partition, its broker or a message is begun anew from the
        checkpoint."""
        while not self._stopping.is_set():
            async for attempt in stamina.retry_context(
                on=(Fenced, BusUnavailable, PassedOver), attempts=None, timeout=None, wait_initial=0.1, wait_max=5.0
            ):
                with attempt:
                    await self._try_session()

    async def _try_session(self) -> None:
        """A session that had worked is begun anew at once; one that did not get so far waits, and ever longer."""
        self._has_worked = False
        if self._stopping.is_set():
            return
        try:
            await self._session()
        except (Fenced, BusUnavailable, PassedOver) as error:
            self._trouble = str(error)
            self._observer.restarted()
            level = logging.ERROR if isinstance(error, PassedOver) else logging.WARNING
            extra = {"group": self.name, "cause": repr(error.__cause__)}
            log.log(level, "restarting from the last checkpoint: %s", error, extra=extra)
            # Raised, so that the wait grows. Otherwise it returns, and `run` starts the next session at once.
            if isinstance(error, PassedOver) or not self._has_worked:
                raise

    async def stop(self) -> None:
        self._stopping.set()

    async def check(self) -> None:
        """Raises Standstill while nothing is worked off: no session, a partition not restored yet, a turn without
        end."""
        subscription, still = self._subscription, self._monotonic() - self._came_round
        if subscription is None:
            raise Standstill(f"{self.name} has not joined its group" + (f": {self._trouble}" if self._trouble else ""))
        if subscription.is_restoring():
            raise Standstill(f"{self.name} is restoring the states of its series")
        if still > STANDSTILL_S:
            raise Stuck(f"{self.name} has been standing still for {still:.0f} s")
        if left := sum(max(0, owned.silent_until - owned.position) for owned in self._owned.values()):
            raise Standstill(f"{self.name} is catching up: {left} messages until its states are where they were")

    def owns(self, partition: int) -> bool | None:
        """Whether the partition is ours, also while it is still restored; None while the worker is in no group, so that
        nobody knows."""
        if self._subscription is None:
            return None
        return partition in self._owned or partition in self._restoring

    async def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        self._restoring.add(partition)
        for part in _parts(states, SERIES_AT_ONCE):
            self._step.restore(partition, part)
            await asyncio.sleep(0)

    def assigned(self, assignment: Assignment) -> None:
        partition, position = assignment.partition, assignment.position
        self._continuity.report(assignment)
        self._restoring.discard(partition)
        # A partition without any state must reach the step, too.
        self._step.restore(partition, {})
        answered = max(position, assignment.silent_until)
        now = self._monotonic()
        # After a replay all that it has changed is old enough to be written.
        round_due = now if position < answered else now + self._settings.state_every
        counts_anew = self._step.begin(assignment)
        self._owned[partition] = OwnedPartition(
            position, answered, position, answered, round_due, counts_anew=counts_anew
        )

    async def revoked(self, partition: int) -> None:
        async with self._lock:
            # Read under the lock: no batch is half done, so position, states and held outputs belong together.
            owned = self._owned.get(partition)
            try:
                await self._settled()
                if owned is not None:
                    await self._save_all(partition, owned)
            except (Fenced, BusUnavailable) as error:
                # Whoever owns it now restores the former checkpoint and does the rest again.
                log.warning("partition left without a last checkpoint: %s", error, extra={"partition": partition})
            await self._drop(partition)

    async def _session(self) -> None:
        try:
            async with self._bus.join(self._topic, self.name, self, gather=self._gather) as subscription:
                self._subscription = subscription
                try:
                    await self._work(subscription)
                except PassedOver:
                    self._observer.passed_over()
                    raise
                finally:
                    # Inside of `join`, since the checkpoint under way still uses the subscription.
                    await self._abandon()
        finally:
            self._subscription = None
            # Half-restored ones, too: the next session restores them from the beginning.
            for partition in [*self._owned, *self._restoring]:
                await self._drop(partition)

    async def _work(self, subscription: Subscription) -> None:
        due = self._monotonic() + self._settings.interval
        while not self._stopping.is_set():
            self._came_round = self._monotonic()
            # Not under the lock, since partitions are taken away while this waits.
            batch = await subscription.poll(self._settings.batch_limit, self._wait_until(due))
            async with self._lock:
                if batch:
                    await self._advance(subscription, batch)
                if self._is_due(due):
                    # Written while the next messages are worked off: only the one before must be safe.
                    await self._written()
                    # The states are copied under the lock; only the transaction overlaps with the next batch.
                    self._writing = asyncio.create_task(self._write(await self._checkpoints()))
                    due = self._monotonic() + self._settings.interval
        async with self._lock:
            await self._written()
            for partition, owned in list(self._owned.items()):
                await self._save_all(partition, owned)

    def _wait_until(self, due: float) -> float:
        """Seconds that a poll may wait."""
        if not self._settings.interval:
            # Every batch is written at once: nothing is ever due without one.
            unwritten = any(owned.position != owned.committed for owned in self._owned.values())
            return OVERDUE_S if unwritten else POLL_S
        left = due - self._monotonic()
        return min(POLL_S, left) if left > 0 else OVERDUE_S if self._is_writing() else 0.0

    def _is_writing(self) -> bool:
        return self._writing is not None and not self._writing.done()

    def _is_due(self, due: float) -> bool:
        """Whether a checkpoint is to be written now. One that takes long holds up the next, but not the outputs."""
        held = sum(len(owned.held) for owned in self._owned.values())
        return held >= self._settings.most_held or (self._monotonic() >= due and not self._is_writing())

    async def _abandon(self) -> None:
        """Ends a checkpoint that is still under way: whoever goes on from the one before does the rest again."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None

    async def _drop(self, partition: int) -> None:
        self._owned.pop(partition, None)
        self._restoring.discard(partition)
        while self._step.release(partition):  # noqa: ASYNC110 - it waits for nothing, but lets others have a turn
            await asyncio.sleep(0)

    async def _advance(self, subscription: Subscription, batch: Sequence[Raw]) -> None:
        """Works a batch off: its outputs are safe before the position moves."""
        # A partition may have been taken away since the poll, but never given back: that happens inside of polls.
        fresh = [raw for raw in batch if raw.partition in self._owned]
        await self._continuity.follow_on(subscription, fresh, self._owned)
        self._has_worked = True
        for partition, owned in list(self._owned.items()):
            if owned.counts_anew:
                await self._written()
                await self._save_all(partition, owned)
        answered = [raw for raw in fresh if raw.offset < self._owned[raw.partition].silent_until]
        if answered:
            await self._replay(answered)
            fresh = [raw for raw in fresh if raw.offset >= self._owned[raw.partition].silent_until]
        if fresh:
            await self._answer(subscription, fresh)

    async def _replay(self, batch: Sequence[Raw]) -> None:
        """Has the states take in what was answered before they were written."""
        async for part in _in_turns(batch):
            envelopes, _ = await self._inbox.decode(part)
            with self._naming(part):
                self._step.replay(envelopes)
        self._move_on(batch)
        self._observer.replayed(len(batch))

    async def _answer(self, subscription: Subscription, batch: Sequence[Raw]) -> None:
        envelopes = [envelope async for part in _in_turns(batch) for envelope in await self._inbox.take(part)]
        self._spans.begin(envelopes)
        with self._naming(batch):
            outputs = self._spans.stamped(await self._worked_off(envelopes))
        if outputs:
            await self._emit(subscription, outputs)
        # Only now: a crash before this line repeats the batch, and what it sent has the same names.
        self._move_on(batch)
        self._observer.read(len(batch))
        self._observer.sent(outputs, envelopes, self._clock())
        self._spans.end()

    async def _worked_off(self, envelopes: Sequence[Envelope[M]]) -> list[Any]:
        """What they cause. Where a batch is cut makes no difference to a step."""
        return [output async for part in _in_turns(envelopes) for output in self._step.step(part)]

    @contextmanager
    def _naming(self, batch: Sequence[Raw]) -> Iterator[None]:
        """A step that fails is logged with the messages at which it did."""
        try:
            yield
        except Exception:
            log.exception(
                "the step failed", extra={"topic": self._topic.name, "first offset by partition": first_offsets(batch)}
            )
            raise

    def _move_on(self, batch: Sequence[Raw]) -> None:
        for raw in batch:
            self._owned[raw.partition].position = raw.offset + 1

    async def _emit(self, subscription: Subscription, outputs: Sequence[Any]) -> None:
        if self._sink is not None:
            await self._sink(outputs)
        elif self._settings.exactly_once:
            for output in outputs:
                self._owned[output.partition].held.append(output)
        else:
            await subscription.send(outputs)

    async def _checkpoints(self) -> list[Checkpoint]:
        """What is to be written of all partitions now. The lock is held, so nothing is worked off meanwhile."""
        checkpoints = []
        for partition, owned in list(self._owned.items()):
            # What was read again may have changed states, but it is the former checkpoint that says where to go on.
            if owned.is_replaying:
                continue
            if self._rounds.is_due(partition, owned):
                self._rounds.begin(partition, owned)
            if (checkpoint := await self._checkpoint(partition, owned)) is not None:
                checkpoints.append(checkpoint)
        return checkpoints

    async def _save_all(self, partition: int, owned: OwnedPartition) -> None:
        """Writes every changed state, in several transactions where they are many, and all else that is unwritten."""
        if owned.is_replaying:
            return
        self._rounds.begin(partition, owned, at_once=True)
        while (checkpoint := await self._checkpoint(partition, owned)) is not None:
            await self._write([checkpoint])
        owned.counts_anew = False

    async def _checkpoint(self, partition: int, owned: OwnedPartition) -> Checkpoint | None:
        return await self._rounds.checkpoint(partition, owned, len(self._owned))

    async def _write(self, checkpoints: Sequence[Checkpoint]) -> None:
        if checkpoints and self._subscription is not None:
            began = self._monotonic()
            commits = (self._subscription.commit(checkpoint) for checkpoint in checkpoints)
            # Waited for to the last, so that none goes on unseen beside the next session.
            for error in await asyncio.gather(*commits, return_exceptions=True):
                if error is not None:
                    raise error
            self._observer.checkpointed(self._monotonic() - began)

    async def _settled(self) -> None:
        """As `_written`, but what went wrong is left for the session, too: partitions that stay may have counted on
        it."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
            self._writing.result()

    async def _written(self) -> None:
        """Returns when the checkpoint that is under way is safe. Raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing
