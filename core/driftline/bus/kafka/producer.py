"""Messages to the broker: in order per partition, many in a batch, every acknowledgement awaited."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from driftline.bus.kafka.connection import answering, start, stop
from driftline.bus.kafka_settings import KafkaSettings
from driftline.bus.port import Output
from driftline.errors import BusUnavailable, Fenced

BATCH_BYTES = 256 * 1024
FEW = 4
"""Up to so many messages of a partition are sent one by one, so that those of concurrent callers share a batch."""


def producer(settings: KafkaSettings, **options: Any) -> AIOKafkaProducer:
    """Not yet started."""
    return AIOKafkaProducer(
        **settings.client(),
        **options,
        max_batch_size=BATCH_BYTES,
        request_timeout_ms=settings.request_timeout_ms(),
    )


class Sender:
    """A producer that all callers share. It is made when it is needed first, and anew after it failed."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, outputs: Sequence[Output]) -> None:
        """Returns when all are acknowledged. A producer that failed is replaced: what it held may be sent twice.
        Raises BusUnavailable."""
        ready = await self._ready()
        try:
            with answering():
                async with asyncio.timeout(self._settings.send_timeout):
                    await send_all(ready, outputs)
        except (BusUnavailable, Fenced):
            if self._producer is ready:
                self._producer = None
            await stop(ready)
            raise

    async def check(self) -> None:
        """Raises BusUnavailable while the broker does not answer."""
        ready = await self._ready()
        with answering():
            async with asyncio.timeout(self._settings.send_timeout):
                await ready.client.fetch_all_metadata()

    async def close(self) -> None:
        if self._producer is not None:
            await stop(self._producer)
            self._producer = None

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                client = producer(self._settings, enable_idempotence=True)
                await start(client, self._settings)
                self._producer = client
            return self._producer


async def send_all(producer: AIOKafkaProducer, outputs: Iterable[Output]) -> None:
    """Returns when the broker has acknowledged every one."""
    groups: dict[tuple[str, int], list[Output]] = defaultdict(list)
    for output in outputs:
        groups[output.topic.name, output.partition].append(output)
    sent = await asyncio.gather(*(_send_group(producer, *address, group) for address, group in groups.items()))
    await asyncio.gather(*(future for futures in sent for future in futures))


async def _send_group(producer: AIOKafkaProducer, topic: str, partition: int, group: Sequence[Output]) -> list[Any]:
    encoded = [(o.topic.key(o.message).encode(), o.topic.encode(o.message)) for o in group]
    if len(encoded) <= FEW:
        return [await producer.send(topic, value, key=key, partition=partition) for key, value in encoded]
    futures = []
    batch = producer.create_batch()
    for key, value in encoded:
        if batch.append(timestamp=None, key=key, value=value) is None:
            futures.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value)
    batch.close()
    futures.append(await producer.send_batch(batch, topic, partition=partition))
    return futures
