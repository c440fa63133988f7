"""A member of a consumer group, with the checkpoints of the partitions that it owns.

Aiokafka fetches and hands out messages of a partition from the moment when it is assigned, from wherever it thinks
best. So an assigned partition is paused, restored aside, and taken over inside of a poll: only what was fetched after
that seek is ever handed out.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from driftline.bus.kafka.checkpoints import Checkpoints
from driftline.bus.kafka.connection import (
    FETCH_BYTES,
    FETCH_WAIT_S,
    STOP_S,
    answering,
    fetch,
    reader,
    start,
    stop,
)
from driftline.bus.kafka.producer import Sender
from driftline.bus.kafka.topics import KafkaTopics
from driftline.bus.kafka_settings import KafkaSettings
from driftline.bus.port import Assignment, Checkpoint, Hole, Output, Owner, Raw, position_here
from driftline.errors import Fenced

log = logging.getLogger(__name__)

GATHERED_BYTES = 256 * 1024
"""A subscription that gathers reads when there is so much, or when its time is over."""
METADATA_S = 10.0
"""How old may be what is known of the topic: one that is made anew is found only when this is over."""
MARKS = 4
MARKS_S = 10.0
"""Every transaction leaves a mark between messages. Where nothing else was found, so long the next few at once are
taken for marks, too, as long as the client has read on without a break."""
LOOK_S = 5.0
"""How long a message that must be there may take to be found."""


class KafkaSubscription(ConsumerRebalanceListener):  # type: ignore[misc]
    """See `driftline.bus.port.Subscription`."""

    def __init__(
        self,
        settings: KafkaSettings,
        topics: KafkaTopics,
        sender: Sender,
        topic: str,
        group: str,
        owner: Owner,
        gather: float,
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._sender = sender
        self._topic = topic
        self._group = group
        self._owner = owner
        self._consumer = _member(settings, group, gather)
        self._restoring: dict[int, asyncio.Task[Assignment]] = {}
        self._coming: dict[int, Checkpoints] = {}
        self._checkpoints: dict[int, Checkpoints] = {}
        self._next: dict[int, int] = {}
        self._skipped: dict[int, range] = {}
        self._marked: dict[int, float] = {}
        self._failure: Exception | None = None
        self._committed: dict[TopicPartition, int] = {}
        self._showing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._showing.set_result(None)

    async def start(self) -> None:
        self._consumer.subscribe([self._topic], listener=self)
        await start(self._consumer, self._settings)

    async def stop(self) -> None:
        await self._shown()
        await self._give_all_up()
        await stop(self._consumer)
        # Until then more may have been assigned.
        await self._give_all_up()
        await asyncio.gather(*(checkpoints.stop() for checkpoints in self._checkpoints.values()))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Returns at once: while a listener is awaited aiokafka sends no heartbeats."""
        self._consumer.pause(*assigned)
        for topic_partition in assigned:
            checkpoints = self._coming[topic_partition.partition] = Checkpoints(
                self._settings, self._group, topic_partition.partition
            )
            self._restoring[topic_partition.partition] = asyncio.create_task(
                self._restore(topic_partition, checkpoints)
            )

    async def _restore(self, topic_partition: TopicPartition, checkpoints: Checkpoints) -> Assignment:
        saved = await checkpoints.take_over(partial(self._owner.restore, topic_partition.partition))
        try:
            with answering():
                first = (await self._consumer.beginning_offsets([topic_partition]))[topic_partition]
                end = (await self._consumer.end_offsets([topic_partition]))[topic_partition]
        except BaseException:
            await checkpoints.stop()
            raise
        # Without a checkpoint the topic is read from its beginning.
        position, restart = saved or (first, first)
        return Assignment.of(topic_partition.partition, position, restart, range(first, end))

    def _take_over(self) -> None:
        """Has what is restored by now read on from its position."""
        for partition in [partition for partition, task in self._restoring.items() if task.done()]:
            assignment = self._restoring.pop(partition).result()
            self._checkpoints[partition] = self._coming.pop(partition)
            self._next[partition] = assignment.position
            self._owner.assigned(assignment)
            topic_partition = TopicPartition(self._topic, partition)
            with answering():
                self._consumer.seek(topic_partition, assignment.position)
                self._consumer.resume(topic_partition)

    async def _give_all_up(self) -> None:
        await asyncio.gather(*(self._give_up(partition) for partition in list(self._restoring)))

    async def _give_up(self, partition: int) -> None:
        """Ends a restore, whether it is done or not."""
        task, checkpoints = self._restoring.pop(partition), self._coming.pop(partition)
        checkpoints.give_up()
        await asyncio.wait({task}, timeout=STOP_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await checkpoints.stop()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Aiokafka logs and forgets what a listener raises, so it is kept for the next poll, whatever it is."""
        try:
            for topic_partition in revoked:
                await self._let_go(topic_partition.partition)
        except Exception as error:  # noqa: BLE001
            self._failure = error

    async def _let_go(self, partition: int) -> None:
        if partition in self._restoring:
            await self._give_up(partition)
        await self._owner.revoked(partition)
        await self._shown()
        checkpoints = self._checkpoints.pop(partition, None)
        if checkpoints is not None:
            await checkpoints.stop()

    async def poll(self, limit: int, timeout: float) -> Sequence[Raw]:
        if self._failure is not None:
            raise self._failure
        self._take_over()
        wanted = [TopicPartition(self._topic, partition) for partition in self._checkpoints]
        if self._restoring and not wanted:
            await asyncio.wait(self._restoring.values(), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            return []
        fetched = await fetch(self._consumer, *wanted, timeout=timeout, limit=limit)
        # Without a partition to ask for, aiokafka gives what it has of any.
        for topic_partition in wanted:
            if messages := fetched.get(topic_partition):
                self._skipped[topic_partition.partition] = range(
                    self._next[topic_partition.partition], messages[0].offset
                )
                self._next[topic_partition.partition] = messages[-1].offset + 1
        return [raw(message) for topic_partition in wanted for message in fetched.get(topic_partition, ())]

    def is_restoring(self) -> bool:
        return bool(self._restoring) or self._consumer.assignment() != {
            TopicPartition(self._topic, partition) for partition in self._checkpoints
        }

    async def hole(self, partition: int, missing: range) -> Hole:
        now = asyncio.get_running_loop().time()
        unbroken = missing == self._skipped.get(partition) and len(missing) <= MARKS
        if unbroken and now < self._marked.get(partition, now):
            return Hole(lost=0, held=None)
        hole = await self._look(partition, missing)
        if hole == Hole(lost=0, held=None):
            self._marked[partition] = now + MARKS_S
        return hole

    async def _look(self, partition: int, missing: range) -> Hole:
        topic_partition = TopicPartition(self._topic, partition)
        looking = reader(self._settings)
        await start(looking, self._settings)
        try:
            with answering():
                looking.assign([topic_partition])
                first = (await looking.beginning_offsets([topic_partition]))[topic_partition]
                looking.seek(topic_partition, max(first, missing.start))
                # Behind the hole there is a message, so that this need not wait for one.
                fetched = await fetch(looking, topic_partition, timeout=LOOK_S, limit=1)
        finally:
            await stop(looking)
        lost = min(max(0, first - missing.start), len(missing))
        held = next((message.offset for messages in fetched.values() for message in messages), missing.stop)
        return Hole(lost, held if held in missing else None)

    async def send(self, outputs: Sequence[Output]) -> None:
        await self._topics.ensure({output.topic.name for output in outputs})
        await self._sender.send(outputs)

    async def commit(self, checkpoint: Checkpoint) -> None:
        checkpoints = self._checkpoints.get(checkpoint.partition)
        if checkpoints is None:
            raise Fenced(f"partition {checkpoint.partition} of {self._topic} is not ours")
        await self._topics.ensure({output.topic.name for output in checkpoint.outputs})
        await checkpoints.write(checkpoint)
        self._committed[TopicPartition(self._topic, checkpoint.partition)] = position_here(checkpoint.position)
        if self._showing.done():
            self._showing = asyncio.create_task(self._show())

    async def _shown(self) -> None:
        """A consumer that is stopped while it commits leaves a connection open. Without a broker it would commit for
        ever."""
        await asyncio.wait([self._showing], timeout=STOP_S)
        self._showing.cancel()

    async def _show(self) -> None:
        """Commits positions to the group too: only so that any tool can show the lag. Nothing reads on from them."""
        while self._committed:
            shown, self._committed = self._committed, {}
            with suppress(KafkaError):
                await self._consumer.commit(shown)


def _member(settings: KafkaSettings, group: str, gather: float) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **settings.client(),
        group_id=group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(settings.session_timeout * 1000),
        heartbeat_interval_ms=int(settings.session_timeout * 1000 / 4),
        fetch_max_wait_ms=int(max(FETCH_WAIT_S, gather) * 1000),
        fetch_min_bytes=GATHERED_BYTES if gather else 1,
        max_partition_fetch_bytes=FETCH_BYTES,
        metadata_max_age_ms=int(METADATA_S * 1000),
    )


def raw(message: Any) -> Raw:
    """One of aiokafka's messages as ours."""
    return Raw(message.partition, message.offset, message.timestamp / 1000, message.value or b"")
