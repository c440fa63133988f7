"""What a service does with the bus, done with Kafka."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner

from driftline.bus.kafka.checkpoints import POSITION, read_states
from driftline.bus.kafka.connection import answering, fetch, reader, start, stop
from driftline.bus.kafka.producer import Sender
from driftline.bus.kafka.subscription import KafkaSubscription, raw
from driftline.bus.kafka.topics import KafkaTopics
from driftline.bus.kafka_settings import KafkaSettings
from driftline.bus.port import Envelope, Output, Owner, Raw, Wanted, every_state
from driftline.errors import PoisonMessage
from driftline.messages import DEAD_LETTERS, M, Topic, state_topic

KEYS_REMEMBERED = 100_000
PAGE = 500
"""Messages that a tail hands out at once at most, of all partitions."""
READ_S = 30.0
"""How long a small topic may take to be read."""


class KafkaBus:
    """See `driftline.bus.port.Bus`. Clients are made when they are needed first."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.topics = KafkaTopics(settings)
        self._sender = Sender(settings)
        self._partitioner = DefaultPartitioner()
        self._partitions: dict[str, int] = {}

    async def publish(self, topic: Topic[M], messages: Sequence[M]) -> None:
        keyed = [(message, topic.key(message)) for message in messages]
        await self.topics.ensure([topic.name])
        await self._sender.send([Output(self._partition(key), topic, message) for message, key in keyed])

    def _partition(self, key: str) -> int:
        if key not in self._partitions:
            if len(self._partitions) >= KEYS_REMEMBERED:
                self._partitions.clear()
            every = list(range(self.settings.partitions))
            self._partitions[key] = self._partitioner(key.encode(), every, every)
        return self._partitions[key]

    @asynccontextmanager
    async def join(
        self, topic: Topic[Any], group: str, owner: Owner, *, gather: float = 0.0
    ) -> AsyncIterator[KafkaSubscription]:
        await self.topics.ensure([topic.name, state_topic(group), DEAD_LETTERS.name])
        subscription = KafkaSubscription(self.settings, self.topics, self._sender, topic.name, group, owner, gather)
        try:
            await subscription.start()
            yield subscription
        finally:
            await subscription.stop()

    async def tail(self, topic: Topic[M], *, earliest: bool = False) -> AsyncGenerator[Sequence[Envelope[M]]]:
        # Whoever made the topic may have chosen another number of partitions.
        partitions = (await self.topics.make([topic.name]))[topic.name]
        consumer = reader(self.settings)
        await start(consumer, self.settings)
        try:
            every = [TopicPartition(topic.name, p) for p in range(partitions)]
            consumer.assign(every)
            with answering():
                await (consumer.seek_to_beginning(*every) if earliest else consumer.seek_to_end(*every))
                yield []
                while True:
                    fetched = await fetch(consumer, timeout=1.0, limit=PAGE)
                    page = [_decoded(topic, raw(message)) for messages in fetched.values() for message in messages]
                    if page:
                        yield [envelope for envelope in page if envelope is not None]
        finally:
            await stop(consumer)

    async def read(self, topic: Topic[M]) -> Sequence[Envelope[M]]:
        partitions = (await self.topics.make([topic.name]))[topic.name]
        consumer = reader(self.settings)
        await start(consumer, self.settings)
        try:
            with answering():
                async with asyncio.timeout(READ_S):
                    raws = await _to_the_end(consumer, [TopicPartition(topic.name, p) for p in range(partitions)])
        finally:
            await stop(consumer)
        return [envelope for message in raws if (envelope := _decoded(topic, message)) is not None]

    async def states(
        self,
        topic: Topic[Any],  # noqa: ARG002 - the group's name is the topic's here
        group: str,
        wanted: Wanted = every_state,
    ) -> AsyncGenerator[tuple[int, Mapping[str, bytes | None]]]:
        name = state_topic(group)
        partitions = (await self.topics.make([name]))[name]
        for partition in range(partitions):
            async for part in read_states(self.settings, TopicPartition(name, partition)):
                part.pop(POSITION, None)
                named = {key.decode(): state for key, state in part.items()}
                yield partition, {name: state for name, state in named.items() if wanted(partition, name)}

    async def lag(self, topic: Topic[Any], group: str) -> Mapping[int, int]:
        every = [TopicPartition(topic.name, p) for p in range(self.settings.partitions)]
        committed = await self.topics.committed(group)
        consumer = reader(self.settings)
        await start(consumer, self.settings)
        try:
            with answering():
                ends = await consumer.end_offsets(every)
        finally:
            await stop(consumer)
        return {tp.partition: end - max(0, committed.get(tp, 0)) for tp, end in ends.items()}

    async def check(self) -> None:
        await self._sender.check()

    async def close(self) -> None:
        await self._sender.close()


async def _to_the_end(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]) -> list[Raw]:
    """What lies on the partitions by now, in their order."""
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    await consumer.seek_to_beginning(*partitions)
    raws: list[Raw] = []
    for partition in partitions:
        while await consumer.position(partition) < ends[partition]:
            pages = await consumer.getmany(partition, timeout_ms=200)
            raws += [raw(message) for message in pages.get(partition, ())]
    return raws


def _decoded(topic: Topic[M], raw: Raw) -> Envelope[M] | None:
    try:
        return Envelope(raw.partition, raw.offset, raw.timestamp, topic.decode(raw.payload))
    except PoisonMessage:
        return None
