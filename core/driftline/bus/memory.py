"""The bus in one process: for a laptop with nothing installed, for backtests, and for tests. Nothing survives it.

Memory is bounded: a publisher waits while a group is `capacity` messages behind, and what every group has left behind
is dropped beyond `retention`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from driftline.bus import local
from driftline.bus.groups import ConsumerGroup
from driftline.bus.local import PAGE, LocalSubscription, joined, partition_of
from driftline.bus.port import Checkpoint, Envelope, Output, Owner, Raw, Wanted, every_state, position_here
from driftline.messages import M, Topic


@dataclass
class _Log:
    """One partition: its messages from offset `first` on."""

    first: int = 0
    messages: list[Raw] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.messages)

    def read(self, start: int, limit: int) -> list[Raw]:
        begin = max(0, start - self.first)
        return self.messages[begin : begin + limit]

    def drop_before(self, offset: int) -> None:
        count = min(offset, self.end) - self.first
        if count > 0:
            del self.messages[:count]
            self.first += count


@dataclass
class _Saved:
    """The checkpoint of one partition of one group."""

    position: int | None = None
    restart: int = 0
    states: dict[str, bytes] = field(default_factory=dict)


class MemoryBus:
    """See `driftline.bus.port.Bus`."""

    def __init__(
        self,
        partitions: int = 4,
        *,
        capacity: int = 20_000,
        retention: int = 20_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.partitions = partitions
        self._capacity = capacity
        self._retention = retention
        self._clock = clock
        self._logs: dict[str, list[_Log]] = {}
        self._groups: dict[tuple[str, str], ConsumerGroup[_Saved]] = {}
        self._moved = asyncio.Event()

    async def publish(self, topic: Topic[M], messages: Sequence[M]) -> None:
        for start in range(0, len(messages), PAGE):
            while self._is_full(topic.name):
                await self.change().wait()
            page = messages[start : start + PAGE]
            self.append([(topic.name, partition_of(topic.key(m), self.partitions), topic.encode(m)) for m in page])
            # One page a turn: readers run between, as they would beside a broker.
            await asyncio.sleep(0)

    def append(self, messages: Sequence[tuple[str, int, bytes]]) -> None:
        now = self._clock()
        for name, partition, payload in messages:
            log = self.logs(name)[partition]
            log.messages.append(Raw(partition, log.end, now, payload))
        for name in {name for name, _, _ in messages}:
            self._trim(name)
        self.announce()

    def logs(self, name: str) -> list[_Log]:
        if name not in self._logs:
            self._logs[name] = [_Log() for _ in range(self.partitions)]
        return self._logs[name]

    def _group(self, name: str, group: str) -> ConsumerGroup[_Saved]:
        if (name, group) not in self._groups:
            self._groups[name, group] = ConsumerGroup(name, [_Saved() for _ in range(self.partitions)])
        return self._groups[name, group]

    def _is_full(self, name: str) -> bool:
        logs = self.logs(name)
        return any(
            logs[partition].end - member.positions.get(partition, position_here(group.saved[partition].position))
            > self._capacity
            for (topic, _), group in self._groups.items()
            if topic == name
            for partition, member in group.owners.items()
        )

    def _trim(self, name: str) -> None:
        """Drops what is old, unless a group that is at work may have to read it again."""
        for partition, log in enumerate(self.logs(name)):
            if len(log.messages) < 2 * self._retention:
                continue
            needed = [g.needs(partition) for (topic, _), g in self._groups.items() if topic == name and g.members]
            log.drop_before(min([log.end - self._retention, *needed]))

    def announce(self) -> None:
        """Wakes all who wait for a change."""
        self._moved.set()
        self._moved = asyncio.Event()

    def change(self) -> asyncio.Event:
        """Set at the next change of any topic or position."""
        return self._moved

    def join(
        self,
        topic: Topic[Any],
        group: str,
        owner: Owner,
        *,
        gather: float = 0.0,  # noqa: ARG002 - reading costs nothing
    ) -> AbstractAsyncContextManager[LocalSubscription[_Saved]]:
        group_in = self._group(topic.name, group)
        return joined(group_in, _MemoryTopic(self, topic.name, group_in.saved), owner, self.announce)

    def tail(self, topic: Topic[M], *, earliest: bool = False) -> AsyncGenerator[Sequence[Envelope[M]]]:
        return local.tail(topic, _MemoryTopic(self, topic.name), self.partitions, earliest=earliest)

    async def read(self, topic: Topic[M]) -> Sequence[Envelope[M]]:
        return await local.read(topic, _MemoryTopic(self, topic.name), self.partitions)

    async def states(
        self, topic: Topic[Any], group: str, wanted: Wanted = every_state
    ) -> AsyncGenerator[tuple[int, Mapping[str, bytes | None]]]:
        for partition, saved in enumerate(self._group(topic.name, group).saved):
            yield partition, {name: state for name, state in saved.states.items() if wanted(partition, name)}

    async def lag(self, topic: Topic[Any], group: str) -> Mapping[int, int]:
        saved = self._group(topic.name, group).saved
        return {p: log.end - position_here(saved[p].position) for p, log in enumerate(self.logs(topic.name))}

    async def check(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """It holds nothing that must be given back."""


class _MemoryTopic:
    """See `driftline.bus.local.GroupTopic`."""

    def __init__(self, bus: MemoryBus, name: str, saved: Sequence[_Saved] = ()) -> None:
        self._bus = bus
        self._logs = bus.logs(name)
        self._saved = saved

    def held(self, partition: int) -> range:
        log = self._logs[partition]
        return range(log.first, log.end)

    async def page(self, partition: int, start: int, limit: int) -> Sequence[Raw]:
        page = self._logs[partition].read(start, limit)
        if page and self._saved:
            # There is room again for publishers.
            self._bus.announce()
        return page

    def change(self) -> asyncio.Event:
        return self._bus.change()

    async def settled(self) -> None:
        """Whatever was committed is."""

    async def states(self, partition: int) -> AsyncGenerator[Mapping[str, bytes]]:
        yield dict(self._saved[partition].states)

    async def send(self, outputs: Sequence[Output]) -> None:
        self._bus.append([(o.topic.name, o.partition, o.topic.encode(o.message)) for o in outputs])

    async def commit(self, checkpoint: Checkpoint) -> None:
        saved = self._saved[checkpoint.partition]
        saved.position, saved.restart = checkpoint.position, checkpoint.reads_from
        for series, state in checkpoint.states.items():
            if state is None:
                saved.states.pop(series, None)
            else:
                saved.states[series] = state
        if checkpoint.outputs:
            await self.send(checkpoint.outputs)
