"""Asks every replica of inference and combiner whether it is ready, and the broker how far all is: once a second."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from driftline.messages import BLENDS, FORECASTS, RECORDS
from tests.chaos.fleet import Fleet
from tests.chaos.standstill import Ends, Watch

EVERY_S = 1.0
ANSWER_S = 2.0
PARTITIONS = 4
"""Of every topic; the services' default."""
GROUPS = {"inference": (RECORDS.name, FORECASTS.name), "combiner": (FORECASTS.name, BLENDS.name)}
"""By service its input and its output; what a partition's records cause goes to the same partition."""


@dataclass
class Sampler:
    fleet: Fleet

    def __post_init__(self) -> None:
        self.watches = {service: Watch(service) for service in GROUPS}

    async def run(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(timeout=ANSWER_S) as client:
            while True:
                # A reader that could not be started, or was left by the broker, is made anew.
                with suppress(KafkaError, TimeoutError, OSError):
                    await self._look_on(client)
                await self._sample(client, None)
                await asyncio.sleep(EVERY_S)

    async def _look_on(self, client: httpx.AsyncClient) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.fleet.brokers, isolation_level="read_committed", request_timeout_ms=3000
        )
        try:
            async with asyncio.timeout(ANSWER_S):
                await consumer.start()
            while True:
                await self._sample(client, await self._ends(consumer))
                await asyncio.sleep(EVERY_S)
        finally:
            with suppress(KafkaError, TimeoutError, OSError):
                async with asyncio.timeout(ANSWER_S):
                    await consumer.stop()

    async def _ends(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        topics = {topic for pair in GROUPS.values() for topic in pair}
        async with asyncio.timeout(ANSWER_S):
            found: dict[TopicPartition, int] = await consumer.end_offsets(
                [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
            )
        return found

    async def _sample(self, client: httpx.AsyncClient, ends: Mapping[TopicPartition, int] | None) -> None:
        names = [name for name in self.fleet.services if name.partition("-")[0] in GROUPS]
        answers = await asyncio.gather(*(self._green(client, name) for name in names))
        green = dict(zip(names, answers, strict=True))
        for service, (into, out) in GROUPS.items():
            of_group = {name: is_green for name, is_green in green.items() if name.partition("-")[0] == service}
            found = None if ends is None else Ends(_of(ends, into), _of(ends, out))
            self.watches[service].sample(time.monotonic(), found, of_group)

    async def _green(self, client: httpx.AsyncClient, name: str) -> bool:
        if not self.fleet.is_up(name):
            return False
        try:
            return (await client.get(f"{self.fleet.url(name)}/readyz")).is_success
        except httpx.HTTPError:
            return False


def _of(ends: Mapping[TopicPartition, int], topic: str) -> dict[int, int]:
    return {place.partition: end for place, end in ends.items() if place.topic == topic}
