"""A bus in memory on which processes die at chosen moments: from then on they do nothing more."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

from driftline.bus.memory import MemoryBus
from driftline.bus.port import Bus, Checkpoint, Hole, Output, Owner, Raw, Subscription
from driftline.messages import DEAD_LETTERS, DeadLetter, Topic
from driftline.worker.loop import Worker
from driftline.worker.loop_settings import LoopSettings
from driftline.worker.observer import Observer, Unobserved
from driftline.worker.step import Step

GROUP = "crashing"
PATIENCE_S = 60


class CrashedError(Exception):
    """The process is dead."""


@dataclass(frozen=True)
class Crash:
    """When a process dies: at the `call`th call of its bus, before that has an effect or after it."""

    call: int
    after: bool


class _Process:
    """Counts the calls of one process."""

    def __init__(self, crash: Crash | None) -> None:
        self._crash = crash
        self._calls = 0
        self._dead = False

    @contextmanager
    def calling(self) -> Iterator[None]:
        if self._dead:
            raise CrashedError
        self._calls += 1
        is_last = self._crash is not None and self._calls >= self._crash.call
        self._dead = is_last
        if is_last and self._crash is not None and not self._crash.after:
            raise CrashedError
        yield
        if is_last:
            raise CrashedError


class _Subscription:
    """See `driftline.bus.port.Subscription`."""

    def __init__(self, subscription: Subscription, process: _Process, bus: "ProcessBus") -> None:
        self._subscription = subscription
        self._process = process
        self._bus = bus

    async def poll(self, limit: int, timeout: float) -> Sequence[Raw]:
        with self._process.calling():
            # The clock runs by itself: nothing is waited for.
            raws = await self._subscription.poll(limit, min(timeout, 0.001))
        if not raws:
            await self._bus.look()
        return raws

    def is_restoring(self) -> bool:
        return self._subscription.is_restoring()

    async def hole(self, partition: int, missing: range) -> Hole:
        return await self._subscription.hole(partition, missing)

    async def send(self, outputs: Sequence[Output]) -> None:
        with self._process.calling():
            await self._subscription.send(outputs)

    async def commit(self, checkpoint: Checkpoint) -> None:
        with self._process.calling():
            await self._subscription.commit(checkpoint)
        self._bus.checkpoints.append(checkpoint)
        await self._bus.look()


@dataclass
class ProcessBus:
    """What one process sees of a bus; `done` is set once its group is at the topic's end. kept: how many messages of a
    partition its step has worked off and wants to read again after a restart."""

    bus: MemoryBus
    topic: Topic[Any]
    process: _Process
    kept: Callable[[int], int] = lambda _: 0
    done: asyncio.Event = field(default_factory=asyncio.Event)
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @asynccontextmanager
    async def join(
        self, topic: Topic[Any], group: str, owner: Owner, *, gather: float = 0.0
    ) -> AsyncIterator[_Subscription]:
        async with self.bus.join(topic, group, owner, gather=gather) as subscription:
            yield _Subscription(subscription, self.process, self)

    async def publish(self, topic: Topic[Any], messages: Sequence[Any]) -> None:
        with self.process.calling():
            await self.bus.publish(topic, messages)

    async def look(self) -> None:
        lag = await self.bus.lag(self.topic, GROUP)
        if all(count <= self.kept(partition) for partition, count in lag.items()):
            self.done.set()


@dataclass(frozen=True)
class Scenario:
    """What is worked off, by what, and what of it is refused. Times are those of messages' arrivals."""

    topic: Topic[Any]
    sent: Sequence[Any]
    step: Callable[[], Step[Any]]
    outputs: Sequence[Topic[Any]]
    refuse: Callable[[Any], str | None] = lambda _: None
    partitions: int = 2
    arrived: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """outputs: all that came, as bytes, in order. letters: offsets of dead letters."""

    outputs: list[bytes]
    letters: list[tuple[int, int]]
    checkpoints: list[Checkpoint]


def work_off(
    scenario: Scenario, settings: LoopSettings, crashes: Sequence[Crash] = (), observer: Observer | None = None
) -> Outcome:
    """What is put out when processes die one after the other and a last one lives."""
    return asyncio.run(_work_off(scenario, settings, crashes, observer or Unobserved()))


async def _work_off(
    scenario: Scenario, settings: LoopSettings, crashes: Sequence[Crash], observer: Observer
) -> Outcome:
    bus = MemoryBus(scenario.partitions, clock=lambda: scenario.arrived)
    await bus.publish(scenario.topic, scenario.sent)
    checkpoints: list[Checkpoint] = []
    for crash in [*crashes, None]:
        checkpoints += await _live(scenario, settings, ProcessBus(bus, scenario.topic, _Process(crash)), observer)
    letters = [letter.value for letter in await bus.read(DEAD_LETTERS)]
    return Outcome(
        [topic.encode(envelope.value) for topic in scenario.outputs for envelope in await bus.read(topic)],
        sorted(_place(letter) for letter in letters),
        checkpoints,
    )


def _place(letter: DeadLetter) -> tuple[int, int]:
    return letter.partition, letter.offset


async def _live(
    scenario: Scenario, settings: LoopSettings, bus: ProcessBus, observer: Observer
) -> Sequence[Checkpoint]:
    """One process, until it dies or everything is worked off and it is stopped."""
    # Each look at the clock takes a hundredth of a second, so that checkpoints and rounds fall anywhere.
    looks = count()
    step = scenario.step()
    bus.kept = getattr(step, "kept", bus.kept)
    worker: Worker[Any] = Worker(
        GROUP,
        cast("Bus", bus),  # as much of one as a worker needs
        scenario.topic,
        step,
        settings,
        refuse=scenario.refuse,
        observer=observer,
        monotonic=lambda: next(looks) / 100,
    )
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(worker.run())
        done = asyncio.create_task(bus.done.wait())
        await asyncio.wait({running, done}, return_when=asyncio.FIRST_COMPLETED)
        await worker.stop()
        done.cancel()
        try:
            await running
        except CrashedError:
            return bus.checkpoints
    return bus.checkpoints
