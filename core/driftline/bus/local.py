"""What the buses within one process do alike: the subscription of a group's member, tails, and whole topics."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Generic, Protocol

from driftline.bus.groups import ConsumerGroup, GroupCheckpoint, S
from driftline.bus.port import Assignment, Checkpoint, Envelope, Hole, Output, Owner, Raw
from driftline.errors import BusUnavailable, Fenced, PoisonMessage
from driftline.messages import M, Topic

GATHERING_TURNS = 5
"""Turns that the others get between a message and its reader: what has arrived by then is worked off with it. Where
nothing else is to be done that takes microseconds, and under load far less is done twice."""
PAGE = 500
"""Messages that a tail hands out at once, per partition."""


class LocalTopic(Protocol):
    """A topic as its readers see it."""

    def held(self, partition: int) -> range:
        """The offsets that are here for all to see."""

    async def page(self, partition: int, start: int, limit: int) -> Sequence[Raw]:
        """At most so many messages from offset `start` on, or from the first one behind it that is still here."""

    def change(self) -> asyncio.Event:
        """Set at the next change of the topic, or of who owns its partitions."""


class GroupTopic(LocalTopic, Protocol):
    """A topic as a group's member sees it, with the group's checkpoints."""

    async def settled(self) -> None:
        """Returns when all that is being committed by now is committed, or refused."""

    def states(self, partition: int) -> AsyncIterator[Mapping[str, bytes]]:
        """All that are saved, in parts."""

    async def send(self, outputs: Sequence[Output]) -> None: ...

    async def commit(self, checkpoint: Checkpoint) -> None: ...


def partition_of(key: str, partitions: int) -> int:
    """Where the messages of a key lie."""
    return zlib.crc32(key.encode()) % partitions


def decoded(topic: Topic[M], raws: Iterable[Raw]) -> Iterator[Envelope[M]]:
    """Without what can't be read."""
    for raw in raws:
        try:
            yield Envelope(raw.partition, raw.offset, raw.timestamp, topic.decode(raw.payload))
        except PoisonMessage:
            continue


async def tail(
    topic: Topic[M], local: LocalTopic, partitions: int, *, earliest: bool
) -> AsyncGenerator[Sequence[Envelope[M]]]:
    """See `driftline.bus.port.Bus.tail`."""
    held = [local.held(partition) for partition in range(partitions)]
    positions = [offsets.start if earliest else offsets.stop for offsets in held]
    yield []
    while True:
        change = local.change()
        pages = [await local.page(partition, start, PAGE) for partition, start in enumerate(positions)]
        for partition, page in enumerate(pages):
            if page:
                positions[partition] = page[-1].offset + 1
        if any(pages):
            yield [envelope for page in pages for envelope in decoded(topic, page)]
        else:
            await change.wait()


async def read(topic: Topic[M], local: LocalTopic, partitions: int) -> Sequence[Envelope[M]]:
    """See `driftline.bus.port.Bus.read`."""
    envelopes: list[Envelope[M]] = []
    for partition in range(partitions):
        held = local.held(partition)
        position = held.start
        while position < held.stop and (page := await local.page(partition, position, held.stop - position)):
            envelopes += decoded(topic, page)
            position = page[-1].offset + 1
    return envelopes


@asynccontextmanager
async def joined(
    group: ConsumerGroup[S], topic: GroupTopic, owner: Owner, announce: Callable[[], None], *, gather: float = 0.0
) -> AsyncIterator["LocalSubscription[S]"]:
    """A member of the group while it lasts. announce: called when partitions have other owners."""
    subscription = LocalSubscription(group, topic, owner, gather)
    group.members.append(subscription)
    try:
        await group.rebalance(announce)
        yield subscription
    finally:
        group.members.remove(subscription)
        await group.rebalance(announce)


class LocalSubscription(Generic[S]):
    """See `driftline.bus.port.Subscription`. `positions`: by partition that is taken over, the offset of what it reads
    next. gather: seconds between two reads, unless there is more to read at once."""

    def __init__(self, group: ConsumerGroup[S], topic: GroupTopic, owner: Owner, gather: float = 0.0) -> None:
        self.positions: dict[int, int] = {}
        self._group = group
        self._topic = topic
        self._owner = owner
        self._gather = gather
        self._next_read = 0.0
        """Not before then, by the loop's clock."""
        self._is_void = False
        """Whether it has read what was taken back."""

    def _mine(self) -> set[int]:
        return {partition for partition, member in self._group.owners.items() if member is self}

    async def _take_over(self) -> None:
        """What has become ours since the last poll."""
        for partition in sorted(self._mine() - self.positions.keys()):
            # What its former owner committed may still be under way.
            await self._topic.settled()
            saved = self._group.saved[partition]
            async for part in self._topic.states(partition):
                await self._owner.restore(partition, part)
            if partition not in self._mine():
                continue  # it went to somebody else meanwhile
            assignment = _assignment(partition, saved, self._topic.held(partition))
            self.positions[partition] = assignment.position
            if saved.position is None:
                self._group.starts[partition] = assignment.position
            self._owner.assigned(assignment)

    async def let_go(self, partition: int) -> None:
        self.positions.pop(partition, None)
        await self._owner.revoked(partition)

    def take_back(self) -> None:
        self._is_void |= any(position > self._topic.held(p).stop for p, position in self.positions.items())

    def _check(self) -> None:
        if self._is_void:
            raise BusUnavailable("messages could not be written that were handed out before")

    def is_restoring(self) -> bool:
        return not self._mine() <= self.positions.keys()

    async def hole(self, partition: int, missing: range) -> Hole:
        first = self._topic.held(partition).start
        held = max(first, missing.start)
        return Hole(min(max(0, first - missing.start), len(missing)), held if held in missing else None)

    async def poll(self, limit: int, timeout: float) -> Sequence[Raw]:
        self._check()
        loop = asyncio.get_running_loop()
        if (pause := self._next_read - loop.time()) > 0:
            await asyncio.sleep(min(pause, timeout))
            if pause > timeout:
                return []
            timeout -= pause
        raws = await self._read_or_wait(limit, timeout)
        if self._gather and raws and self._has_all():
            self._next_read = loop.time() + self._gather
        return raws

    def _has_all(self) -> bool:
        """Whether it has read all that its partitions have by now."""
        mine = self._mine() & self.positions.keys()
        return all(self.positions[partition] >= self._topic.held(partition).stop for partition in mine)

    async def _read_or_wait(self, limit: int, timeout: float) -> list[Raw]:
        self._check()
        await self._take_over()
        change = self._topic.change()
        raws = await self._read(limit)
        if not raws and timeout > 0:
            raws = await self._wait(change, limit, timeout)
        # A turn for the others, even when there is always something to read.
        await asyncio.sleep(0)
        return raws

    async def _wait(self, change: asyncio.Event, limit: int, timeout: float) -> list[Raw]:
        """Until there is something to read or to take over."""
        raws: list[Raw] = []
        try:
            # Not wait_for: before Python 3.12 it may swallow a cancellation that comes together with the change.
            async with asyncio.timeout(timeout) as until:
                while not raws and not self.is_restoring():
                    await change.wait()
                    for _ in range(GATHERING_TURNS):
                        await asyncio.sleep(0)
                    change = self._topic.change()
                    self._check()
                    deadline = until.when()
                    # What was read of one partition would be lost where time ran out within the next one.
                    until.reschedule(None)
                    raws = await self._read(limit)
                    until.reschedule(deadline)
        except TimeoutError:
            pass
        return raws

    async def _read(self, limit: int) -> list[Raw]:
        raws: list[Raw] = []
        for partition in sorted(self._mine() & self.positions.keys()):
            start = self.positions[partition]
            part = await self._topic.page(partition, start, limit - len(raws))
            # It may have been taken away while the disk was read.
            if part and self.positions.get(partition) == start:
                self.positions[partition] = part[-1].offset + 1
                raws += part
        return raws

    async def send(self, outputs: Sequence[Output]) -> None:
        self._check()
        await self._topic.send(outputs)

    async def commit(self, checkpoint: Checkpoint) -> None:
        if self._group.owners.get(checkpoint.partition) is not self:
            raise Fenced(f"partition {checkpoint.partition} of {self._group.topic} belongs to another worker now")
        self._check()
        await self._topic.commit(checkpoint)


def _assignment(partition: int, saved: GroupCheckpoint, held: range) -> Assignment:
    if saved.position is None:
        return Assignment(partition, held.start)
    return Assignment.of(partition, saved.position, saved.restart, held)
