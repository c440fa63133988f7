"""Checkpoints are Kafka transactions on the compacted state topic.

The transactional id belongs to the input partition, so whoever takes a partition over fences its former owner, restores
what that checkpointed, and reads on from there.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing

from aiokafka import AIOKafkaProducer, TopicPartition

from driftline.bus.kafka.connection import answering, fetch, reader, start, stop
from driftline.bus.kafka.producer import producer, send_all
from driftline.bus.kafka_settings import KafkaSettings
from driftline.bus.port import Checkpoint
from driftline.errors import Fenced
from driftline.messages import state_topic

POSITION = b"@"
"""The key of a partition's position on the state topic; series are named stream/key, so it is free."""
SENT_AT_ONCE = 25
"""States that are sent before other tasks get a turn."""
STUCK_S = 60.0
"""So long without a state while states are read is too long. How long all of them take depends on their number."""
TRANSACTION_TIMEOUT_MS = 10_000

Restore = Callable[[Mapping[str, bytes | None]], Awaitable[None]]
"""Takes up a part of the states; see `driftline.bus.port.Owner`."""


class Checkpoints:
    """The checkpoints of one partition, as long as it is ours."""

    def __init__(self, settings: KafkaSettings, group: str, partition: int) -> None:
        self._settings = settings
        self._partition = TopicPartition(state_topic(group), partition)
        self._producer: AIOKafkaProducer = producer(
            settings,
            transactional_id=f"driftline-{group}-{partition}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )
        self._given_up = False

    async def take_over(self, restore: Restore) -> tuple[int, int] | None:
        """Fences the partition's former owner and restores its states; returns its position and where to read from,
        None where there was no owner before. Raises BusUnavailable and Fenced."""
        await start(self._producer, self._settings)
        try:
            return await self._read(restore)
        except BaseException:
            await self.stop()
            raise

    async def write(self, checkpoint: Checkpoint) -> None:
        """All of it or nothing. Raises Fenced when the partition is another worker's by now, and BusUnavailable."""
        producer, (topic, partition) = self._producer, self._partition
        written = [(name.encode(), value) for name, value in checkpoint.states.items()]
        written.append((POSITION, f"{checkpoint.position} {checkpoint.reads_from}".encode()))
        patience = self._settings.send_timeout
        with answering():
            # Whoever gives a transaction up waits for the broker, too: hence a limit on that as well.
            async with asyncio.timeout(2 * patience), asyncio.timeout(patience), producer.transaction():
                # Every send is awaited before the commit: a commit that overtakes one costs 100 ms.
                await send_all(producer, checkpoint.outputs)
                sent = []
                for number, (key, value) in enumerate(written, start=1):
                    sent.append(await producer.send(topic, value, key=key, partition=partition))
                    if number % SENT_AT_ONCE == 0:
                        # While there is room for messages a send returns at once.
                        await asyncio.sleep(0)
                await asyncio.gather(*sent)

    def give_up(self) -> None:
        """Has `take_over` end soon, with Fenced: gentler than a cancellation, which aiokafka answers in the middle of a
        connection by leaving that open."""
        self._given_up = True

    async def stop(self) -> None:
        await stop(self._producer)

    async def _read(self, restore: Restore) -> tuple[int, int] | None:
        """Reads the partition of the state topic to its end, in parts: all states at once may not fit into memory."""
        saved: bytes | None = None
        async with aclosing(read_states(self._settings, self._partition)) as parts:
            async for part in parts:
                if self._given_up:
                    raise Fenced(f"partition {self._partition.partition} was taken away before it was restored")
                saved = part.pop(POSITION, saved)
                if part:
                    await restore({key.decode(): state for key, state in part.items()})
        return None if saved is None else _offsets(saved)


async def read_states(settings: KafkaSettings, partition: TopicPartition) -> AsyncGenerator[dict[bytes, bytes | None]]:
    """All that lies on a partition of a state topic by now, in parts, some of them empty, with the position under its
    key. Raises BusUnavailable."""
    consumer = reader(settings)
    await start(consumer, settings)
    try:
        with answering():
            consumer.assign([partition])
            end = (await consumer.end_offsets([partition]))[partition]
            await consumer.seek_to_beginning(partition)
        until = asyncio.get_running_loop().time() + STUCK_S
        while True:
            with answering():
                async with asyncio.timeout_at(until):
                    if await consumer.position(partition) >= end:
                        return
                    fetched = await fetch(consumer, partition, timeout=0.2)
            part = {message.key: message.value for message in fetched.get(partition, ())}
            yield part
            if part:
                until = asyncio.get_running_loop().time() + STUCK_S
    finally:
        await stop(consumer)


def _offsets(saved: bytes) -> tuple[int, int]:
    """The position and where to read from. Release 0.1.0 saved the position alone: its states were as of there."""
    position, *restart = map(int, saved.split())
    return position, restart[0] if restart else position
