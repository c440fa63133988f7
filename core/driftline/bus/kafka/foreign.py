"""Topics that others write: read as a member of a consumer group, whose positions the broker keeps."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from driftline.bus.foreign_message import ForeignMessage
from driftline.bus.kafka.connection import FETCH_BYTES, answering, fetch, start, stop
from driftline.bus.kafka_settings import KafkaSettings

METADATA_S = 10.0
"""How long a topic that was made meanwhile may stay unknown."""


class ForeignTopics:
    """Whoever reads must call `commit` once all that the last `poll` has brought is safe."""

    def __init__(self, consumer: AIOKafkaConsumer, names: Collection[str]) -> None:
        self.lacking: list[str] = []
        """Topics that were missing when it joined, and are not followed."""
        self._consumer = consumer
        self._names = names
        self._reached: dict[TopicPartition, int] = {}

    @classmethod
    @asynccontextmanager
    async def joined(
        cls, settings: KafkaSettings, group: str, names: Collection[str]
    ) -> AsyncIterator["ForeignTopics"]:
        """Raises BusUnavailable."""
        consumer = AIOKafkaConsumer(
            **settings.client(),
            group_id=group,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=int(settings.session_timeout * 1000),
            heartbeat_interval_ms=int(settings.session_timeout * 1000 / 4),
            max_partition_fetch_bytes=FETCH_BYTES,
            metadata_max_age_ms=int(METADATA_S * 1000),
        )
        try:
            await start(consumer, settings)
            topics = cls(consumer, names)
            # To ask for a topic that is missing makes it, at many brokers.
            topics.lacking = await topics.missing()
            consumer.subscribe(sorted(set(names) - set(topics.lacking)))
            yield topics
        finally:
            await stop(consumer)

    async def missing(self) -> list[str]:
        """Topics that the broker does not have, or does not show to this client. Raises BusUnavailable."""
        with answering():
            return sorted(set(self._names) - await self._consumer.topics())

    async def poll(self, limit: int, timeout: float) -> Sequence[ForeignMessage]:
        """In order within each partition. Raises BusUnavailable."""
        fetched = await fetch(self._consumer, timeout=timeout, limit=limit)
        self._reached = {partition: messages[-1].offset + 1 for partition, messages in fetched.items() if messages}
        return [_message(message) for messages in fetched.values() for message in messages]

    async def commit(self) -> None:
        """Raises BusUnavailable, also where others have the partitions by now: they read the same again."""
        if self._reached:
            with answering():
                await self._consumer.commit(self._reached)
            self._reached = {}


def _message(message: Any) -> ForeignMessage:
    try:
        key = message.key.decode() if message.key else None
    except UnicodeDecodeError:
        key = None
    payload = message.value or b""
    return ForeignMessage(message.topic, message.partition, message.offset, message.timestamp / 1000, key, payload)
