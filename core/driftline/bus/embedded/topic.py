"""A topic of the embedded bus, as its readers and a group's members see it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from driftline.bus.embedded.contents import PartitionLog, SavedCheckpoint
from driftline.bus.embedded.layout import CheckpointWrite
from driftline.bus.embedded.reading import JournalReader
from driftline.bus.embedded.writing import GroupCommit
from driftline.bus.port import Checkpoint, Output, Raw


class Logs(Protocol):
    """What a topic needs of the bus."""

    reader: JournalReader
    writing: GroupCommit

    def log(self, topic: str, partition: int) -> PartitionLog: ...

    async def page(self, log: PartitionLog, start: int, limit: int, *, with_staged: bool = False) -> list[Raw]: ...

    def change(self, topic: str) -> asyncio.Event: ...


class JournalTopic:
    """See `driftline.bus.local.GroupTopic`. with_staged: whether pages have what is not on the disk yet."""

    def __init__(
        self, bus: Logs, name: str, saved: Sequence[SavedCheckpoint] = (), *, with_staged: bool = False
    ) -> None:
        self._bus = bus
        self._name = name
        self._saved = saved
        self._with_staged = with_staged

    def _log(self, partition: int) -> PartitionLog:
        return self._bus.log(self._name, partition)

    def held(self, partition: int) -> range:
        log = self._log(partition)
        return range(log.first, log.end)

    async def page(self, partition: int, start: int, limit: int) -> Sequence[Raw]:
        return await self._bus.page(self._log(partition), start, limit, with_staged=self._with_staged)

    def change(self) -> asyncio.Event:
        return self._bus.change(self._name)

    async def settled(self) -> None:
        await self._bus.writing.settled()

    def states(self, partition: int) -> AsyncGenerator[dict[str, bytes]]:
        return self._bus.reader.states(self._saved[partition])

    async def send(self, outputs: Sequence[Output]) -> None:
        await self._bus.writing.write_in_parts(self._encoded(outputs))

    def _encoded(self, outputs: Sequence[Output]) -> list[tuple[PartitionLog, bytes]]:
        return [(self._bus.log(o.topic.name, o.partition), o.topic.encode(o.message)) for o in outputs]

    async def commit(self, checkpoint: Checkpoint) -> None:
        saved = self._saved[checkpoint.partition]
        written = CheckpointWrite(saved, checkpoint.position, checkpoint.reads_from, checkpoint.states)
        await self._bus.writing.write(self._encoded(checkpoint.outputs), written)
