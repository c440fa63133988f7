"""A bus of one member that does what a script says: what polls bring, and what becomes of commits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from driftline.bus.port import Assignment, Checkpoint, Envelope, Hole, Output, Owner, Raw
from driftline.messages import Topic

Batch = Sequence[Raw]
Act = Callable[["ScriptedSubscription"], Batch | Coroutine[Any, Any, Batch]]


class Number(msgspec.Struct, frozen=True):
    n: int


NUMBERS = Topic("numbers", Number, lambda number: str(number.n))


def raw(offset: int, partition: int = 0) -> Raw:
    return Raw(partition, offset, 0.0, NUMBERS.encode(Number(offset)))


class Collecting:
    """A step that puts out what comes, and whose states are the newest number of each partition."""

    def __init__(self) -> None:
        self.worked: list[tuple[int, int]] = []
        self.restored: list[tuple[int, dict[str, bytes | None]]] = []
        self.released: list[int] = []
        self.replayed: list[tuple[int, int]] = []
        self.renewed: list[tuple[int, int]] = []
        self.newest: dict[int, int] = {}

    def step(self, batch: Sequence[Envelope[Number]]) -> list[Output]:
        self.worked += [(envelope.partition, envelope.offset) for envelope in batch]
        self.newest |= {envelope.partition: envelope.offset for envelope in batch}
        return [Output(envelope.partition, NUMBERS, envelope.value) for envelope in batch]

    def restore(self, partition: int, states) -> None:
        self.restored.append((partition, dict(states)))

    def begin(self, assignment: Assignment) -> bool:
        return False

    def begin_again(self, partition: int, position: int) -> None:
        self.renewed.append((partition, position))

    def replay(self, batch: Sequence[Envelope[Number]]) -> None:
        self.replayed += [(envelope.partition, envelope.offset) for envelope in batch]
        self.newest |= {envelope.partition: envelope.offset for envelope in batch}

    def begin_round(self, partition: int, restart: int) -> dict[str, bytes]:
        return {}

    def left(self, partition: int) -> int:
        return self.unsaved(partition)

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:
        newest = self.newest.pop(partition, None)
        return {} if newest is None else {"newest": str(newest).encode()}

    def unsaved(self, partition: int) -> int:
        return int(partition in self.newest)

    def resume_at(self, partition: int, consumed: int) -> int:
        return consumed

    def release(self, partition: int) -> bool:
        self.released.append(partition)
        return False


async def at_once(_: Checkpoint) -> None:
    """Holds no commit up."""


class ScriptedSubscription:
    """Each poll is one act of the script; after the last one polls bring nothing."""

    def __init__(self, bus: "ScriptedBus", owner: Owner) -> None:
        self._bus = bus
        self.owner = owner

    async def poll(self, limit: int, timeout: float) -> Sequence[Raw]:
        await asyncio.sleep(0)
        if not self._bus.acts:
            self._bus.over.set()
            return []
        act = self._bus.acts.pop(0)
        found = act(self)
        return await found if asyncio.iscoroutine(found) else found

    def assign(self, partition: int, position: int) -> None:
        self.owner.assigned(Assignment(partition, position))

    def is_restoring(self) -> bool:
        return self._bus.restoring

    async def hole(self, partition: int, missing: range) -> Hole:
        self._bus.asked.append((partition, missing))
        return self._bus.hole

    async def send(self, outputs: Sequence[Output]) -> None:
        self._bus.sent += outputs
        self._bus.moved()

    async def commit(self, checkpoint: Checkpoint) -> None:
        await self._bus.committing(checkpoint)
        self._bus.committed.append(checkpoint)
        self._bus.moved()


class ScriptedBus:
    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.over = asyncio.Event()
        self.joined = 0
        self.restoring = False
        self.hole = Hole(lost=0, held=None)
        self.asked: list[tuple[int, range]] = []
        self.sent: list[Output] = []
        self.published: list[Any] = []
        self.committed: list[Checkpoint] = []
        self.committing: Callable[[Checkpoint], Coroutine[Any, Any, None]] = at_once
        """A commit that is about to be written; a test may hold it up or fail it."""
        self._moved = asyncio.Event()

    def moved(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def until(self, *, sent: int = 0, committed: int = 0) -> None:
        async with asyncio.timeout(120):
            while len(self.sent) < sent or len(self.committed) < committed:
                await self._moved.wait()

    @asynccontextmanager
    async def join(self, topic, group, owner: Owner, *, gather: float = 0.0) -> AsyncIterator[ScriptedSubscription]:
        self.joined += 1
        yield ScriptedSubscription(self, owner)

    async def publish(self, topic, messages) -> None:
        self.published += messages
