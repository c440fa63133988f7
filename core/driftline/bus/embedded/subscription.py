"""One worker's membership in a group of the embedded bus."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from driftline.bus.embedded.contents import PartitionLog, SavedCheckpoint
from driftline.bus.embedded.groups import ConsumerGroup
from driftline.bus.embedded.layout import Saving
from driftline.bus.embedded.reading import JournalReader
from driftline.bus.embedded.writing import Writing
from driftline.bus.port import Assignment, Checkpoint, Hole, Output, Owner, Raw
from driftline.errors import BusUnavailable, Fenced


class Logs(Protocol):
    """What a subscription needs of the bus."""

    reader: JournalReader
    writing: Writing

    def log(self, topic: str, partition: int) -> PartitionLog: ...

    async def page(self, log: PartitionLog, start: int, limit: int, *, is_staged: bool = False) -> list[Raw]: ...

    def change(self, topic: str) -> asyncio.Event: ...


class EmbeddedSubscription:
    """See `driftline.bus.port.Subscription`. is_staged: whether it reads what is not on the disk yet."""

    def __init__(self, bus: Logs, group: ConsumerGroup, owner: Owner, *, is_staged: bool) -> None:
        self._bus = bus
        self._is_staged = is_staged
        self._is_void = False
        """Whether it has read what was taken back."""
        self._group = group
        self._owner = owner
        self._positions: dict[int, int] = {}

    def _mine(self) -> set[int]:
        return {partition for partition, member in self._group.owners.items() if member is self}

    async def _take_over(self) -> None:
        """What has become ours since the last poll."""
        for partition in sorted(self._mine() - self._positions.keys()):
            # What its former owner committed may still be under way.
            await self._bus.writing.settled()
            saved = self._group.saved[partition]
            async for part in self._bus.reader.states(saved):
                await self._owner.restore(partition, part)
            if partition not in self._mine():
                continue  # it went to somebody else meanwhile
            assignment = _assignment(partition, saved, self._bus.log(self._group.topic, partition))
            self._positions[partition] = assignment.position
            if saved.position is None:
                self._group.starts[partition] = assignment.position
            self._owner.assigned(assignment)

    async def let_go(self, partition: int) -> None:
        self._positions.pop(partition, None)
        await self._owner.revoked(partition)

    def take_back(self) -> None:
        ends = {partition: self._bus.log(self._group.topic, partition).end for partition in self._positions}
        self._is_void |= any(position > ends[partition] for partition, position in self._positions.items())

    def _check(self) -> None:
        if self._is_void:
            raise BusUnavailable("messages could not be written that were handed out before")

    def is_restoring(self) -> bool:
        return not self._mine() <= self._positions.keys()

    async def hole(self, partition: int, missing: range) -> Hole:
        first = self._bus.log(self._group.topic, partition).first
        held = max(first, missing.start)
        return Hole(min(max(0, first - missing.start), len(missing)), held if held in missing else None)

    async def poll(self, limit: int, timeout: float) -> Sequence[Raw]:
        self._check()
        await self._take_over()
        changed = self._bus.change(self._group.topic)
        raws = await self._read(limit)
        if not raws and timeout > 0:
            raws = await self._wait(changed, limit, timeout)
        # A turn for the others, even when there is always something to read.
        await asyncio.sleep(0)
        return raws

    async def _wait(self, changed: asyncio.Event, limit: int, timeout: float) -> list[Raw]:
        """Until there is something to read or to take over."""
        try:
            async with asyncio.timeout(timeout):
                while not self.is_restoring():
                    await changed.wait()
                    changed = self._bus.change(self._group.topic)
                    self._check()
                    if raws := await self._read(limit):
                        return raws
        except TimeoutError:
            pass
        return []

    async def _read(self, limit: int) -> list[Raw]:
        raws: list[Raw] = []
        for partition in sorted(self._mine() & self._positions.keys()):
            start = self._positions[partition]
            part = await self._bus.page(
                self._bus.log(self._group.topic, partition), start, limit - len(raws), is_staged=self._is_staged
            )
            # It may have been taken away while the disk was read.
            if part and self._positions.get(partition) == start:
                self._positions[partition] = part[-1].offset + 1
                raws += part
        return raws

    async def send(self, outputs: Sequence[Output]) -> None:
        self._check()
        await self._bus.writing.write_in_parts(self._encoded(outputs))

    def _encoded(self, outputs: Sequence[Output]) -> list[tuple[PartitionLog, bytes]]:
        return [(self._bus.log(o.topic.name, o.partition), o.topic.encode(o.message)) for o in outputs]

    async def commit(self, checkpoint: Checkpoint) -> None:
        partition, position = checkpoint.partition, checkpoint.position
        if self._group.owners.get(partition) is not self:
            raise Fenced(f"partition {partition} of {self._group.topic} belongs to another worker now")
        self._check()
        saving = Saving(self._group.saved[partition], position, checkpoint.reads_from, checkpoint.states)
        await self._bus.writing.write(self._encoded(checkpoint.outputs), saving)


def _assignment(partition: int, saved: SavedCheckpoint, log: PartitionLog) -> Assignment:
    if saved.position is None:
        return Assignment(partition, log.first)
    return Assignment.of(partition, saved.position, saved.restart, range(log.first, log.end))
