"""A bare aiokafka relay, as the yardstick: reads a topic, sends each message on, padded to a size.

python -m tests.bench.relay BROKERS SOURCE TARGET BYTES
"""

import asyncio
import sys

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def main(brokers: str, source: str, target: str, size: int) -> None:
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=brokers,
        group_id=f"relay-{source}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=brokers, enable_idempotence=True)
    await producer.start()
    await consumer.start()
    while True:
        sent = []
        for place, messages in (await consumer.getmany(timeout_ms=200, max_records=500)).items():
            for message in messages:
                payload = message.value[:size].ljust(size)
                sent.append(await producer.send(target, payload, key=message.key, partition=place.partition))
        await asyncio.gather(*sent)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
