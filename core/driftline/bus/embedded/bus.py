"""What a service does with the bus, done with a folder."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from driftline.bus import local
from driftline.bus.embedded.contents import PartitionLog, SavedCheckpoint
from driftline.bus.embedded.folder import EmbeddedSettings
from driftline.bus.embedded.frames import Entry
from driftline.bus.embedded.journal import Journal
from driftline.bus.embedded.recent import RecentMessages
from driftline.bus.embedded.retention import HOUR_MS
from driftline.bus.embedded.topic import JournalTopic
from driftline.bus.embedded.writing import GroupCommit, OnDeath
from driftline.bus.groups import ConsumerGroup
from driftline.bus.local import PAGE, LocalSubscription, joined, partition_of
from driftline.bus.port import Envelope, Owner, Raw, Wanted, every_state, position_here
from driftline.messages import M, Topic

log = logging.getLogger(__name__)

GATHERED_S = 0.1
"""Messages are gathered for so long at most: nearly nothing is saved by longer, and all of them are worked off at once
where others wait for the event loop."""


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
        self._groups: dict[tuple[str, str], ConsumerGroup[SavedCheckpoint]] = {}
        self._journal = Journal(settings, self._needed, clock=clock, monotonic=monotonic)
        self._recent = RecentMessages(settings.recent_bytes)
        self._changes: dict[str, asyncio.Event] = {}
        self.reader = self._journal.reader
        self.writing = GroupCommit(
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

    def _group(self, topic: str, group: str) -> ConsumerGroup[SavedCheckpoint]:
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
            for partition, saved in enumerate(group.saved):
                if group.members or (saved.position is not None and saved.age > since):
                    where, offset = (group.topic, partition), group.needs(partition)
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
        keyed = ((logs[partition_of(topic.key(m), len(logs))], topic.encode(m)) for m in messages)
        await self.writing.write_in_parts(keyed)

    async def page(self, log: PartitionLog, start: int, limit: int, *, with_staged: bool = False) -> list[Raw]:
        """At most so many messages from offset `start` on, or from the first one behind it that is still here.

        with_staged: also those that are not on the disk yet."""
        start = max(start, log.first)
        end = log.next if with_staged else log.end
        limit = min(limit, end - start)
        if limit <= 0:
            return []
        recent = self._recent.read(log, start, limit)
        if recent is not None:
            return recent
        return [_raw(log, entry) for entry in await self.reader.messages(log, start, min(limit, PAGE))]

    def join(
        self,
        topic: Topic[Any],
        group: str,
        owner: Owner,
        *,
        gather: float = 0.0,
    ) -> AbstractAsyncContextManager[LocalSubscription[SavedCheckpoint]]:
        group_in = self._group(topic.name, group)
        journal_topic = JournalTopic(self, topic.name, group_in.saved, with_staged=not gather)
        announce = partial(self.announce, topic.name)
        return joined(group_in, journal_topic, owner, announce, gather=min(gather, GATHERED_S))

    def tail(self, topic: Topic[M], *, earliest: bool = False) -> AsyncGenerator[Sequence[Envelope[M]]]:
        return local.tail(topic, JournalTopic(self, topic.name), self.settings.partitions, earliest=earliest)

    async def read(self, topic: Topic[M]) -> Sequence[Envelope[M]]:
        return await local.read(topic, JournalTopic(self, topic.name), self.settings.partitions)

    async def states(
        self, topic: Topic[Any], group: str, wanted: Wanted = every_state
    ) -> AsyncGenerator[tuple[int, Mapping[str, bytes | None]]]:
        for partition, saved in enumerate(self._group(topic.name, group).saved):
            async for part in self.reader.states(saved, [name for name in saved.states if wanted(partition, name)]):
                yield partition, part

    async def lag(self, topic: Topic[Any], group: str) -> Mapping[int, int]:
        saved = self._group(topic.name, group).saved
        return {p: log.end - position_here(saved[p].position) for p, log in enumerate(self._logs(topic.name))}

    async def check(self) -> None:
        await self.writing.check()

    async def close(self) -> None:
        await self.writing.close()
        self._journal.close()


def _raw(log: PartitionLog, entry: Entry) -> Raw:
    return Raw(log.label.partition, entry.number, entry.time, entry.payload)
