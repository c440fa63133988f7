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
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import stamina

from driftline.bus.port import Assignment, Bus, Checkpoint, Envelope, Output, Raw, Subscription
from driftline.errors import BusUnavailable, Fenced, PassedOver, PoisonMessage, Standstill, Stuck
from driftline.messages import DEAD_LETTERS, DeadLetter, M, Topic
from driftline.worker.dead_letters import DeadLetterGauge

log = logging.getLogger(__name__)

POLL_S = 0.2
REASON_LENGTH = 500
SERIES_AT_ONCE = 50
"""States that are restored or saved before other tasks get a turn: heartbeats must go on meanwhile."""
STANDSTILL_S = 10.0
"""A worker that has not come round for so long stands still."""
ROUND = 0.25
"""A round takes this share of the time between two, so that what is read again is not much older than that."""
AT_ONCE_S = 0.05
"""How often checkpoints are taken to come where each batch is one."""
OVERDUE_S = 0.02
"""How long a poll waits at most while a checkpoint is due that the one before holds up."""

M_contra = TypeVar("M_contra", bound=msgspec.Struct, contravariant=True)


class Step(Protocol[M_contra]):
    """The pure part of a worker, for all the partitions that it owns at the moment."""

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        """Takes up a part of the states that were checkpointed last, at least once for each partition that is taken
        over, before its first message. Later parts win over earlier ones; None forgets a series."""

    def begin(self, assignment: Assignment) -> bool:
        """Everything is restored. Returns whether saved states go by offsets of a topic that is no more: then all of
        them are saved before the first message."""

    def begin_again(self, partition: int, position: int) -> None:
        """The topic was made anew and counts from `position`. Afterwards all states are saved."""

    def replay(self, batch: Sequence[Envelope[M_contra]]) -> None:
        """Takes messages in that were answered before; states that have them already are left as they are."""

    def step(self, batch: Sequence[Envelope[M_contra]]) -> Sequence[Any]:
        """Works off messages of any owned partitions, in order within each. What it returns goes to the sink."""

    def begin_round(self, partition: int, restart: int) -> Mapping[str, bytes]:
        """From now on `left` and `snapshot` are about the states that have changed by now. Returns what is saved under
        other names, together with the last of them. restart: where a restart reads from until that is written."""

    def left(self, partition: int) -> int:
        """How many states of the round have not been given yet."""

    def snapshot(self, partition: int, limit: int | None = None) -> Mapping[str, bytes | None]:
        """About `limit` of the changed states, as they are now, those of the round first; None deletes one. More where
        some are of use only together; nothing when all are given."""

    def unsaved(self, partition: int) -> int:
        """How many states have changed since they were last given."""

    def resume_at(self, partition: int, consumed: int) -> int:
        """Where a restart must read on, when everything before `consumed` was worked off."""

    def release(self, partition: int) -> None:
        """Drops a partition that somebody else owns now, also one that was not restored to its end."""


class Observer(Protocol):
    """Is told what the loop does, to count and time it."""

    def read(self, messages: int) -> None: ...

    def replayed(self, messages: int) -> None:
        """So many were read again for the states alone."""

    def unlearned(self, messages: int) -> None:
        """Retention dropped so many that had been answered, so that some states lack them."""

    def sent(self, outputs: Sequence[Any], causes: Sequence[Envelope[Any]], now: float) -> None:
        """`outputs` of the messages `causes` were acknowledged at `now`, seconds since the epoch."""

    def dead_letter(self) -> None: ...

    def checkpointed(self, seconds: float) -> None: ...

    def restarted(self) -> None: ...

    def lost(self, messages: int) -> None:
        """Retention dropped so many before they were read."""

    def passed_over(self) -> None:
        """Messages did not reach the step although they are there; the session begins anew."""

    def rewound(self) -> None:
        """The topic was made anew; reading begins at its beginning."""


class Unobserved:
    """Nobody looks."""

    def read(self, messages: int) -> None: ...

    def replayed(self, messages: int) -> None: ...

    def unlearned(self, messages: int) -> None: ...

    def sent(self, outputs: Sequence[Any], causes: Sequence[Envelope[Any]], now: float) -> None: ...

    def dead_letter(self) -> None: ...

    def checkpointed(self, seconds: float) -> None: ...

    def restarted(self) -> None: ...

    def lost(self, messages: int) -> None: ...

    def passed_over(self) -> None: ...

    def rewound(self) -> None: ...


@dataclass(frozen=True)
class LoopSettings:
    """How a worker reads, commits and gives up."""

    batch_limit: int = 500
    """Messages worked off at once; with the bus's own buffers this bounds memory, whatever the lag."""
    checkpoint_every: float = 1.0
    """Seconds between checkpoints."""
    exactly_once: bool = False
    """Outputs are sent inside the checkpoint's transaction instead of at once."""
    exactly_once_every: float = 0.1
    held_limit: int = 2000
    """Outputs held back for the transaction at most."""
    state_every: float = 60.0
    """Seconds between rounds in which changed states are written; 0 writes them with every position, all at once."""
    replay_limit: int = 5000
    """With so many messages of a partition to be read again after a crash, a round is due: it bounds a recovery."""
    states_at_once: int = 500
    """States in one transaction at most, unless more belong together, and a second at most: it bounds a transaction's
    memory, and how long one takes."""
    dead_letter_share: float = 0.1
    dead_letter_minimum: int = 20
    """Dead letters that are tolerated whatever their share."""

    @property
    def interval(self) -> float:
        return self.exactly_once_every if self.exactly_once else self.checkpoint_every

    def states_of(self, total: int, partitions: int, *, hurried: bool) -> int:
        """How many of a round's states each of its checkpoints takes, for one of so many partitions. hurried: as many
        as may be, not only so many that the round is over in time."""
        if not self.state_every:
            return total
        pace = self.interval or AT_ONCE_S
        most = ceil(self.states_at_once * min(1.0, pace) / partitions)
        needed = ceil(total * pace / (ROUND * self.state_every))
        return max(1, most if hurried else min(most, needed))


@dataclass(frozen=True)
class _Round:
    """Changed states that are being written. begin: the position when it began; total: how many they were then."""

    begin: int
    total: int
    closing: Mapping[str, bytes]
    """What is written together with the last of them."""
    at_once: bool = False
    """Whether nothing else is done until all are written."""


@dataclass
class _Owned:
    """A partition that is ours: what was read of it, and what is held back for its next transaction."""

    position: int
    committed: int
    restart: int
    """Offset from which the next owner would read, as of the last checkpoint."""
    silent_until: int
    """Messages before it are answered."""
    round_due: float
    round: _Round | None = None
    counts_anew: bool = False
    """Whether all states must be saved before the next message: they go by offsets that are no more."""
    held: list[Output] = field(default_factory=list)

    @property
    def is_replaying(self) -> bool:
        return self.position < self.silent_until


def _firsts(batch: Iterable[Raw]) -> dict[int, int]:
    """By partition the first offset."""
    firsts: dict[int, int] = {}
    for raw in batch:
        firsts.setdefault(raw.partition, raw.offset)
    return firsts


def _parts(states: Mapping[str, bytes | None], size: int) -> Iterator[dict[str, bytes | None]]:
    items = iter(states.items())
    while part := dict(islice(items, size)):
        yield part


def _accept(_: Any) -> str | None:
    return None


async def _nothing(_: Any) -> None:
    """There is nothing to wait for."""


class Worker(Generic[M]):
    """Runs one step as a member of the consumer group `group` on `topic`; see `driftline.service.app.BackgroundJob`.

    refuse: why a decoded message can't be used, or None. wait_for: awaited before a message is refused, since what it
    lacks may be about to come. sink: where the step's outputs go instead of the bus; it returns when they are safe.
    gather: see `driftline.bus.port.Bus.join`. clock: the time of day, for latencies; timers go by `monotonic`.
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
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = group
        self._bus = bus
        self._topic = topic
        self._step = step
        self._settings = settings
        self._refuse = refuse
        self._wait_for = wait_for
        self._sink = sink
        self._gather = gather
        self._observer: Observer = observer or Unobserved()
        self._clock = clock
        self._monotonic = monotonic
        self._gauge = DeadLetterGauge(settings.dead_letter_share, settings.dead_letter_minimum)
        self._owned: dict[int, _Owned] = {}
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

    async def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        self._restoring.add(partition)
        for part in _parts(states, SERIES_AT_ONCE):
            self._step.restore(partition, part)
            await asyncio.sleep(0)

    def assigned(self, assignment: Assignment) -> None:
        partition, position = assignment.partition, assignment.position
        where = {"topic": self._topic.name, "partition": partition, "position": position}
        if assignment.lost:
            self._observer.lost(assignment.lost)
            log.warning("%d messages were dropped by retention before they were read", assignment.lost, extra=where)
        if assignment.unlearned:
            self._unlearned(assignment.unlearned, where)
        if assignment.rewound:
            self._rewound(where)
        self._restoring.discard(partition)
        # A partition without any state must reach the step, too.
        self._step.restore(partition, {})
        answered = max(position, assignment.silent_until)
        now = self._monotonic()
        # After a replay all that it has changed is old enough to be written.
        round_due = now if position < answered else now + self._settings.state_every
        counts_anew = self._step.begin(assignment)
        self._owned[partition] = _Owned(position, answered, position, answered, round_due, counts_anew=counts_anew)

    def _unlearned(self, messages: int, where: Mapping[str, Any]) -> None:
        self._observer.unlearned(messages)
        log.warning("%d answered messages were dropped before all states were written", messages, extra=where)

    async def revoked(self, partition: int) -> None:
        async with self._lock:
            # Read under the lock: no batch is half done, so position, states and held outputs belong together.
            owned = self._owned.get(partition)
            try:
                await self._written()
                if owned is not None:
                    await self._save_all(partition, owned)
            except (Fenced, BusUnavailable) as error:
                # Whoever owns it now restores the former checkpoint and does the rest again.
                log.warning("partition left without a last checkpoint: %s", error, extra={"partition": partition})
            self._drop(partition)

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
                self._drop(partition)

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
        return held >= self._settings.held_limit or (self._monotonic() >= due and not self._is_writing())

    async def _abandon(self) -> None:
        """Ends a checkpoint that is still under way: whoever goes on from the one before does the rest again."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            self._writing = None

    def _drop(self, partition: int) -> None:
        self._owned.pop(partition, None)
        self._restoring.discard(partition)
        self._step.release(partition)

    async def _follow_on(self, subscription: Subscription, batch: Sequence[Raw]) -> None:
        """Each partition's messages must begin where its position is. Raises PassedOver where the bus still holds what
        lies between."""
        for partition, first in _firsts(batch).items():
            owned = self._owned[partition]
            where = {"topic": self._topic.name, "partition": partition, "position": owned.position, "first": first}
            if first > owned.position:
                await self._account_for(subscription, partition, range(owned.position, first), where)
            elif first < owned.position:
                # Since its assignment a partition is read on without a break, so the log itself was made anew.
                self._rewound(where)
                owned.position = owned.committed = owned.restart = owned.silent_until = first
                owned.round, owned.counts_anew = None, True
                self._step.begin_again(partition, first)

    async def _account_for(
        self, subscription: Subscription, partition: int, missing: range, where: Mapping[str, Any]
    ) -> None:
        hole = await subscription.hole(partition, missing)
        if hole.held is not None:
            raise PassedOver(
                f"found message {missing.stop} of {self._topic.name}, partition {partition}, expected {missing.start}, "
                f"since message {hole.held} is still there"
            )
        # Transactions leave marks and what was aborted between their messages: nothing is lost with those.
        lost = hole.lost if self._settings.exactly_once else len(missing)
        answered = min(lost, max(0, self._owned[partition].silent_until - missing.start))
        if answered:
            self._unlearned(answered, where)
        if lost := lost - answered:
            self._observer.lost(lost)
            log.warning("%d messages were dropped from the topic before they were read", lost, extra=where)

    def _rewound(self, where: Mapping[str, Any]) -> None:
        self._observer.rewound()
        log.error("the topic ends before the saved position: it was made anew or cut, and is read again", extra=where)

    async def _advance(self, subscription: Subscription, batch: Sequence[Raw]) -> None:
        """Works a batch off: its outputs are safe before the position moves."""
        # A partition may have been taken away since the poll, but never given back: that happens inside of polls.
        fresh = [raw for raw in batch if raw.partition in self._owned]
        await self._follow_on(subscription, fresh)
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
        envelopes, _ = await self._decode(batch)
        with self._naming(batch):
            self._step.replay(envelopes)
        self._move_on(batch)
        self._observer.replayed(len(batch))

    async def _answer(self, subscription: Subscription, batch: Sequence[Raw]) -> None:
        envelopes, letters = await self._decode(batch)
        await self._send_letters(batch, letters)
        with self._naming(batch):
            outputs = self._step.step(envelopes)
        if outputs:
            await self._emit(subscription, outputs)
        # Only now: a crash before this line repeats the batch, and what it sent has the same names.
        self._move_on(batch)
        self._observer.read(len(batch))
        self._observer.sent(outputs, envelopes, self._clock())

    @contextmanager
    def _naming(self, batch: Sequence[Raw]) -> Iterator[None]:
        """A step that fails is logged with the messages at which it did."""
        try:
            yield
        except Exception:
            log.exception(
                "the step failed", extra={"topic": self._topic.name, "first offset by partition": _firsts(batch)}
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

    async def _decode(self, batch: Sequence[Raw]) -> tuple[list[Envelope[M]], list[tuple[Raw, str]]]:
        """The messages that can be used, and the others with the reason."""
        envelopes: list[Envelope[M]] = []
        refused: list[tuple[Raw, str]] = []
        for raw in batch:
            try:
                message = self._topic.decode(raw.payload)
                reason = self._refuse(message)
                if reason is not None:
                    # Then it is judged again: its stream may be known by now.
                    await self._wait_for(message)
                    reason = self._refuse(message)
            except PoisonMessage as error:
                reason = str(error)
            if reason is None:
                envelopes.append(Envelope(raw.partition, raw.offset, raw.timestamp, message))
            else:
                refused.append((raw, reason))
        return envelopes, refused

    async def _send_letters(self, batch: Sequence[Raw], refused: Sequence[tuple[Raw, str]]) -> None:
        """Publishes dead letters. Raises TooManyDeadLetters."""
        letters = [self._letter(raw, reason) for raw, reason in refused]
        dead = {(raw.partition, raw.offset) for raw, _ in refused}
        for raw in batch:
            self._gauge.note(dead=(raw.partition, raw.offset) in dead)
        if letters:
            await self._bus.publish(DEAD_LETTERS, letters)

    def _letter(self, raw: Raw, reason: str) -> DeadLetter:
        self._observer.dead_letter()
        where = {"topic": self._topic.name, "partition": raw.partition, "offset": raw.offset}
        log.warning("dead letter: %s", reason, extra=where)
        return DeadLetter(
            topic=self._topic.name,
            partition=raw.partition,
            offset=raw.offset,
            service=self.name,
            reason=reason[:REASON_LENGTH],
            payload=raw.payload,
        )

    async def _checkpoints(self) -> list[Checkpoint]:
        """What is to be written of all partitions now. The lock is held, so nothing is worked off meanwhile."""
        checkpoints = []
        for partition, owned in list(self._owned.items()):
            # What was read again may have changed states, but it is the former checkpoint that says where to go on.
            if owned.is_replaying:
                continue
            if owned.round is None and self._needs_round(partition, owned):
                self._begin_round(partition, owned)
            if (checkpoint := await self._checkpoint(partition, owned)) is not None:
                checkpoints.append(checkpoint)
        return checkpoints

    def _needs_round(self, partition: int, owned: _Owned) -> bool:
        if owned.position == owned.restart:
            return False
        is_long = owned.position - owned.restart >= self._settings.replay_limit
        # Where nothing has changed a round costs nothing, and nothing has to be read again.
        return is_long or self._monotonic() >= owned.round_due or self._step.unsaved(partition) == 0

    def _begin_round(self, partition: int, owned: _Owned, *, at_once: bool = False) -> None:
        closing = self._step.begin_round(partition, owned.restart)
        owned.round = _Round(owned.position, self._step.left(partition), closing, at_once)

    async def _save_all(self, partition: int, owned: _Owned) -> None:
        """Writes every changed state, in several transactions where they are many, and all else that is unwritten."""
        if owned.is_replaying:
            return
        self._begin_round(partition, owned, at_once=True)
        while (checkpoint := await self._checkpoint(partition, owned)) is not None:
            await self._write([checkpoint])
        owned.counts_anew = False

    async def _checkpoint(self, partition: int, owned: _Owned) -> Checkpoint | None:
        """What is to be written of a partition, with a part of the round under way; None where that is nothing."""
        states: dict[str, bytes | None] = {}
        before = owned.restart
        if owned.round is not None:
            states = await self._part(partition, self._limit(owned, owned.round))
            if self._step.left(partition) == 0:
                states |= owned.round.closing
                owned.restart, owned.round = owned.round.begin, None
                owned.round_due = self._monotonic() + self._settings.state_every
        if not states and owned.position == owned.committed and owned.restart == before:
            return None
        position = self._step.resume_at(partition, owned.position)
        checkpoint = Checkpoint(partition, position, states, owned.held, min(owned.restart, position))
        # Counted before it is written: if that fails, the session restarts from the former checkpoint.
        # A new list, since the checkpoint keeps the old one.
        owned.committed, owned.held = owned.position, []
        return checkpoint

    def _limit(self, owned: _Owned, under_way: _Round) -> int:
        """How many states the next checkpoint takes."""
        if under_way.at_once and self._settings.state_every:
            return self._settings.states_at_once
        is_idle = owned.position == owned.committed
        hurried = is_idle or owned.position - owned.restart >= self._settings.replay_limit
        return self._settings.states_of(under_way.total, len(self._owned), hurried=hurried)

    async def _part(self, partition: int, limit: int) -> dict[str, bytes | None]:
        """About `limit` states of the round."""
        states: dict[str, bytes | None] = {}
        while self._step.left(partition) and len(states) < limit:
            states |= self._step.snapshot(partition, min(SERIES_AT_ONCE, limit - len(states)))
            await asyncio.sleep(0)
        return states

    async def _write(self, checkpoints: Sequence[Checkpoint]) -> None:
        if checkpoints and self._subscription is not None:
            began = self._monotonic()
            await asyncio.gather(*(self._subscription.commit(checkpoint) for checkpoint in checkpoints))
            self._observer.checkpointed(self._monotonic() - began)

    async def _written(self) -> None:
        """Returns when the checkpoint that is under way is safe. Raises what went wrong with it."""
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing
