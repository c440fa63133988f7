"""The bus in one process: for a laptop with nothing installed, for backtests, and for tests. Nothing survives it.

Memory is bounded: a publisher waits while a group is `capacity` messages behind, and what every group has left behind
is dropped beyond `retention`.
"""

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from driftline.bus.port import Assignment, Checkpoint, Envelope, Hole, Output, Owner, Raw
from driftline.errors import Fenced, PoisonMessage
from driftline.messages import M, Topic

PAGE = 500
"""Messages that a tail hands out at once."""


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

    position: int = 0
    restart: int = 0
    states: dict[str, bytes] = field(default_factory=dict)


@dataclass
class _Group:
    """A consumer group: its checkpoints, who is in it, and who owns what."""

    saved: list[_Saved]
    members: list["_MemorySubscription"] = field(default_factory=list)
    owners: dict[int, "_MemorySubscription"] = field(default_factory=dict)
    rebalancing: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        self._groups: dict[tuple[str, str], _Group] = {}
        self._moved = asyncio.Event()

    async def publish(self, topic: Topic[M], messages: Sequence[M]) -> None:
        for start in range(0, len(messages), PAGE):
            while self._is_full(topic.name):
                await self.wait_for_change()
            page = messages[start : start + PAGE]
            self._append([(topic.name, self._partition(topic.key(m)), topic.encode(m)) for m in page])
            # One page a turn: readers run between, as they would beside a broker.
            await asyncio.sleep(0)

    def _partition(self, key: str) -> int:
        return zlib.crc32(key.encode()) % self.partitions

    def _append(self, messages: Sequence[tuple[str, int, bytes]]) -> None:
        now = self._clock()
        for name, partition, payload in messages:
            log = self._log(name)[partition]
            log.messages.append(Raw(partition, log.end, now, payload))
        for name in {name for name, _, _ in messages}:
            self._trim(name)
        self.announce()

    def _log(self, name: str) -> list[_Log]:
        if name not in self._logs:
            self._logs[name] = [_Log() for _ in range(self.partitions)]
        return self._logs[name]

    def _group(self, name: str, group: str) -> _Group:
        return self._groups.setdefault((name, group), _Group([_Saved() for _ in range(self.partitions)]))

    def _is_full(self, name: str) -> bool:
        logs = self._log(name)
        return any(
            logs[partition].end - subscription.positions.get(partition, group.saved[partition].position)
            > self._capacity
            for (topic, _), group in self._groups.items()
            if topic == name
            for partition, subscription in group.owners.items()
        )

    def _trim(self, name: str) -> None:
        """Drops what is old, unless a group that is at work may have to read it again."""
        for partition, log in enumerate(self._log(name)):
            if len(log.messages) < 2 * self._retention:
                continue
            needed = [
                g.saved[partition].restart for (topic, _), g in self._groups.items() if topic == name and g.members
            ]
            log.drop_before(min([log.end - self._retention, *needed]))

    def announce(self) -> None:
        """Wakes all who wait for a change."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def wait_for_change(self, timeout: float | None = None) -> None:
        """Returns at the next change of any topic or position, or after `timeout` seconds."""
        moved = self._moved
        # Not wait_for: before Python 3.12 it may swallow a cancellation that comes together with the change.
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await moved.wait()

    @asynccontextmanager
    async def join(
        self,
        topic: Topic[Any],
        group: str,
        owner: Owner,
        *,
        gather: float = 0.0,  # noqa: ARG002 - reading costs nothing
    ) -> AsyncIterator["_MemorySubscription"]:
        joined = self._group(topic.name, group)
        subscription = _MemorySubscription(self, topic.name, joined, owner)
        joined.members.append(subscription)
        try:
            await self._rebalance(joined)
            yield subscription
        finally:
            joined.members.remove(subscription)
            await self._rebalance(joined)

    async def _rebalance(self, group: _Group) -> None:
        """Deals the partitions out to the members in turn: first the losers let go, then the winners take over, with
        their next poll."""
        async with group.rebalancing:
            for partition in range(self.partitions):
                former = group.owners.get(partition)
                owner = group.members[partition % len(group.members)] if group.members else None
                if former is owner:
                    continue
                if former is not None:
                    if former in group.members:
                        await former.let_go(partition)
                    group.owners.pop(partition, None)
                if owner is not None:
                    group.owners[partition] = owner
            self.announce()

    async def tail(self, topic: Topic[M], *, earliest: bool = False) -> AsyncGenerator[Sequence[Envelope[M]]]:
        logs = self._log(topic.name)
        positions = [log.first if earliest else log.end for log in logs]
        yield []
        while True:
            page = [raw for log, start in zip(logs, positions, strict=True) for raw in log.read(start, PAGE)]
            for raw in page:
                positions[raw.partition] = raw.offset + 1
            if page:
                yield [envelope for raw in page if (envelope := _decoded(topic, raw)) is not None]
            else:
                await self.wait_for_change()

    async def read(self, topic: Topic[M]) -> Sequence[Envelope[M]]:
        raws = [raw for log in self._log(topic.name) for raw in log.messages]
        return [envelope for raw in raws if (envelope := _decoded(topic, raw)) is not None]

    async def lag(self, topic: Topic[Any], group: str) -> Mapping[int, int]:
        saved = self._group(topic.name, group).saved
        return {p: log.end - saved[p].position for p, log in enumerate(self._log(topic.name))}

    async def check(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """It holds nothing that must be given back."""


def _decoded(topic: Topic[M], raw: Raw) -> Envelope[M] | None:
    try:
        return Envelope(raw.partition, raw.offset, raw.timestamp, topic.decode(raw.payload))
    except PoisonMessage:
        return None


class _MemorySubscription:
    """See `driftline.bus.port.Subscription`."""

    def __init__(self, bus: MemoryBus, name: str, group: _Group, owner: Owner) -> None:
        self.owner = owner
        self.positions: dict[int, int] = {}
        self._bus = bus
        self._name = name
        self._group = group

    def _logs(self) -> list[_Log]:
        return self._bus._log(self._name)  # noqa: SLF001 - bus and subscription are one implementation

    def _mine(self) -> set[int]:
        return {partition for partition, subscription in self._group.owners.items() if subscription is self}

    async def _take_over(self) -> None:
        """What has become ours since the last poll."""
        for partition in sorted(self._mine() - self.positions.keys()):
            saved, log = self._group.saved[partition], self._logs()[partition]
            await self.owner.restore(partition, dict(saved.states))
            if partition not in self._mine():
                continue  # it went to somebody else meanwhile
            assignment = Assignment.of(partition, saved.position, saved.restart, range(log.first, log.end))
            self.positions[partition] = assignment.position
            self.owner.assigned(assignment)

    async def let_go(self, partition: int) -> None:
        self.positions.pop(partition, None)
        await self.owner.revoked(partition)

    def is_restoring(self) -> bool:
        return not self._mine() <= self.positions.keys()

    async def hole(self, partition: int, missing: range) -> Hole:
        first = self._logs()[partition].first
        held = max(first, missing.start)
        return Hole(min(max(0, first - missing.start), len(missing)), held if held in missing else None)

    def _read(self, limit: int) -> list[Raw]:
        raws: list[Raw] = []
        logs = self._logs()
        for partition in sorted(self._mine() & self.positions.keys()):
            part = logs[partition].read(self.positions[partition], limit - len(raws))
            if part:
                self.positions[partition] = part[-1].offset + 1
                raws += part
        return raws

    async def poll(self, limit: int, timeout: float) -> Sequence[Raw]:
        await self._take_over()
        raws = self._read(limit)
        if not raws and timeout > 0:
            await self._bus.wait_for_change(timeout)
            raws = self._read(limit)
        if raws:
            self._bus.announce()
        # A turn for the others, even when there is always something to read.
        await asyncio.sleep(0)
        return raws

    async def send(self, outputs: Sequence[Output]) -> None:
        self._bus._append([(o.topic.name, o.partition, o.topic.encode(o.message)) for o in outputs])  # noqa: SLF001

    async def commit(self, checkpoint: Checkpoint) -> None:
        if self._group.owners.get(checkpoint.partition) is not self:
            raise Fenced(f"partition {checkpoint.partition} of {self._name} belongs to another worker now")
        saved = self._group.saved[checkpoint.partition]
        saved.position, saved.restart = checkpoint.position, checkpoint.reads_from
        for series, state in checkpoint.states.items():
            if state is None:
                saved.states.pop(series, None)
            else:
                saved.states[series] = state
        if checkpoint.outputs:
            await self.send(checkpoint.outputs)
