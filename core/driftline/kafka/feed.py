"""A member of a consumer group, with the checkpoints of the partitions that it owns."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from driftline.bus import Checkpoint, Output, Owner, Raw
from driftline.errors import Fenced
from driftline.kafka.checkpoints import Checkpoints
from driftline.kafka.connection import FETCH_BYTES, FETCH_WAIT_S, STOP_S, KafkaSettings, answering, start, stop
from driftline.kafka.sending import Sender
from driftline.kafka.topics import KafkaTopics

log = logging.getLogger(__name__)

GATHERED_BYTES = 256 * 1024
"""A feed that gathers reads when there is so much, or when its time is over."""


class KafkaFeed(ConsumerRebalanceListener):  # type: ignore[misc]
    """See `driftline.bus.Feed`."""

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
        self._checkpoints: dict[int, Checkpoints] = {}
        self._failure: Exception | None = None
        self._committed: dict[TopicPartition, int] = {}
        self._showing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._showing.set_result(None)

    async def start(self) -> None:
        self._consumer.subscribe([self._topic], listener=self)
        await start(self._consumer, self._settings)

    async def stop(self) -> None:
        await self._shown()
        await stop(self._consumer)
        await asyncio.gather(*(checkpoints.stop() for checkpoints in self._checkpoints.values()))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Aiokafka logs and forgets what a listener raises, so it is kept for the next poll, whatever it is."""
        try:
            await asyncio.gather(*(self._assigned(place) for place in assigned))
        except Exception as error:  # noqa: BLE001
            self._failure = error

    async def _assigned(self, place: TopicPartition) -> None:
        checkpoints = Checkpoints(self._settings, self._group, place.partition)
        restored = await checkpoints.take_over()
        self._checkpoints[place.partition] = checkpoints
        with answering():
            first = (await self._consumer.beginning_offsets([place]))[place]
        if restored.position is not None and restored.position < first:
            log.warning(
                "records were dropped by retention before they were read",
                extra={
                    "topic": self._topic,
                    "partition": place.partition,
                    "position": restored.position,
                    "first": first,
                },
            )
        begin = max(first, restored.position or 0)
        await self._owner.assigned(place.partition, begin, restored.states)
        self._consumer.seek(place, begin)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        for place in revoked:
            await self._owner.revoked(place.partition)
            await self._shown()
            checkpoints = self._checkpoints.pop(place.partition, None)
            if checkpoints is not None:
                await checkpoints.stop()

    async def poll(self, limit: int, timeout: float) -> Sequence[Raw]:
        if self._failure is not None:
            raise self._failure
        with answering():
            found = await self._consumer.getmany(timeout_ms=int(timeout * 1000), max_records=limit)
        return [raw(message) for messages in found.values() for message in messages]

    async def send(self, outputs: Sequence[Output]) -> None:
        await self._topics.ensure({output.topic.name for output in outputs})
        await self._sender.send(outputs)

    async def commit(self, checkpoint: Checkpoint) -> None:
        checkpoints = self._checkpoints.get(checkpoint.partition)
        if checkpoints is None:
            raise Fenced(f"partition {checkpoint.partition} of {self._topic} is not ours")
        await self._topics.ensure({output.topic.name for output in checkpoint.outputs})
        await checkpoints.write(checkpoint)
        self._committed[TopicPartition(self._topic, checkpoint.partition)] = checkpoint.position
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
    )


def raw(message: Any) -> Raw:
    """One of aiokafka's messages as ours."""
    return Raw(message.partition, message.offset, message.timestamp / 1000, message.value or b"")
