"""What a service does with the bus, done with a folder."""

import asyncio
import logging
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from driftline.bus.embedded.contents import PartitionLog
from driftline.bus.embedded.folder import EmbeddedSettings
from driftline.bus.embedded.frames import Entry
from driftline.bus.embedded.groups import ConsumerGroup
from driftline.bus.embedded.journal import HOUR_MS, Journal
from driftline.bus.embedded.recent import RecentMessages
from driftline.bus.embedded.subscription import EmbeddedSubscription
from driftline.bus.embedded.writing import OnDeath, Writing
from driftline.bus.port import Envelope, Owner, Raw
from driftline.errors import PoisonMessage
from driftline.messages import M, Topic

log = logging.getLogger(__name__)

PAGE = 500
"""Messages that are handed out at once."""


def report_death(job: str, error: BaseException) -> None:
    log.critical("%s died: %s", job, error, exc_info=error)


class EmbeddedBus:
    """See `driftline.bus.port.Bus`. It holds the folder until it is closed, and belongs to one event loop.

    Opened when it is made: raises BusUnavailable where the folder can't be used now, because another process uses it or
    it is read-only or full, and UnusableData where no retry helps. on_death: called when an error that none foresaw has
    ended the writer: from then on everything raises BusUnavailable, so the process should end.
    """

    def __init__(
        self,
        settings: EmbeddedSettings,
        *,
        on_death: OnDeath = report_death,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._groups: dict[tuple[str, str], ConsumerGroup] = {}
        self._journal = Journal(settings, self._needed, clock=clock, monotonic=monotonic)
        self._recent = RecentMessages(settings.recent_bytes)
        self._changes: dict[str, asyncio.Event] = {}
        self.reader = self._journal.reader
        self.writing = Writing(
            self._journal,
            settings.together_bytes,
            settings.sync_every,
            self._recent,
            self.announce,
            self._taken_back,
            on_death,
        )
        for group, topic, _ in list(self._journal.contents.checkpoints):
            self._group(topic, group)

    def log(self, topic: str, partition: int) -> PartitionLog:
        return self._journal.contents.log(topic, partition)

    def _logs(self, topic: str) -> list[PartitionLog]:
        return [self.log(topic, partition) for partition in range(self.settings.partitions)]

    def _group(self, topic: str, group: str) -> ConsumerGroup:
        if (topic, group) not in self._groups:
            contents, partitions = self._journal.contents, range(self.settings.partitions)
            self._groups[topic, group] = ConsumerGroup(
                topic, [contents.checkpoint(group, topic, p) for p in partitions]
            )
        return self._groups[topic, group]

    def _needed(self) -> dict[tuple[str, int], int]:
        """By topic and partition the first offset that a group at work may have to read."""
        since = self._journal.age() - int(self.settings.retention_hours * HOUR_MS)
        needed: dict[tuple[str, int], int] = {}
        for group in self._groups.values():
            for partition, offset in group.needs(since):
                where = group.topic, partition
                needed[where] = min(offset, needed.get(where, offset))
        return needed

    def _taken_back(self) -> None:
        for group in self._groups.values():
            for member in group.members:
                member.take_back()
            self.announce(group.topic)

    def announce(self, topic: str) -> None:
        """Wakes all who wait for a change of a topic, or of who owns its partitions."""
        if (changed := self._changes.pop(topic, None)) is not None:
            changed.set()

    def change(self, topic: str) -> asyncio.Event:
        """Set at the next change."""
        return self._changes.setdefault(topic, asyncio.Event())

    async def publish(self, topic: Topic[M], messages: Sequence[M]) -> None:
        logs = self._logs(topic.name)
        keyed = ((logs[zlib.crc32(topic.key(m).encode()) % len(logs)], topic.encode(m)) for m in messages)
        await self.writing.write_in_parts(keyed)

    async def page(self, log: PartitionLog, start: int, limit: int, *, is_staged: bool = False) -> list[Raw]:
        """At most so many messages from offset `start` on, or from the first one behind it that is still here.

        is_staged: also those that are not on the disk yet."""
        start = max(start, log.first)
        end = log.next if is_staged else log.end
        limit = min(limit, end - start)
        if limit <= 0:
            return []
        recent = self._recent.read(log, start, limit)
        if recent is not None:
            return recent
        return [_raw(log, entry) for entry in await self.reader.messages(log, start, min(limit, PAGE))]

    @asynccontextmanager
    async def join(
        self,
        topic: Topic[Any],
        group: str,
        owner: Owner,
        *,
        gather: float = 0.0,
    ) -> AsyncIterator[EmbeddedSubscription]:
        joined = self._group(topic.name, group)
        subscription = EmbeddedSubscription(self, joined, owner, is_staged=not gather)
        announce = partial(self.announce, topic.name)
        joined.members.append(subscription)
        try:
            await joined.rebalance(announce)
            yield subscription
        finally:
            joined.members.remove(subscription)
            await joined.rebalance(announce)

    async def tail(self, topic: Topic[M], *, earliest: bool = False) -> AsyncGenerator[Sequence[Envelope[M]]]:
        logs = self._logs(topic.name)
        positions = [log.first if earliest else log.end for log in logs]
        yield []
        while True:
            changed = self.change(topic.name)
            pages = [await self.page(log, start, PAGE) for log, start in zip(logs, positions, strict=True)]
            for number, page in enumerate(pages):
                if page:
                    positions[number] = page[-1].offset + 1
            if any(pages):
                yield [envelope for page in pages for envelope in _decoded(topic, page)]
            else:
                await changed.wait()

    async def read(self, topic: Topic[M]) -> Sequence[Envelope[M]]:
        envelopes: list[Envelope[M]] = []
        for log in self._logs(topic.name):
            position, end = log.first, log.end
            while position < end and (page := await self.page(log, position, end - position)):
                envelopes += _decoded(topic, page)
                position = page[-1].offset + 1
        return envelopes

    async def lag(self, topic: Topic[Any], group: str) -> Mapping[int, int]:
        saved = self._group(topic.name, group).saved
        return {p: log.end - (saved[p].position or 0) for p, log in enumerate(self._logs(topic.name))}

    async def check(self) -> None:
        await self.writing.check()

    async def close(self) -> None:
        await self.writing.close()
        self._journal.close()


def _raw(log: PartitionLog, entry: Entry) -> Raw:
    return Raw(log.label.partition, entry.number, entry.time, entry.payload)


def _decoded(topic: Topic[M], page: Sequence[Raw]) -> Iterator[Envelope[M]]:
    for raw in page:
        try:
            yield Envelope(raw.partition, raw.offset, raw.timestamp, topic.decode(raw.payload))
        except PoisonMessage:
            continue
