"""An edge as one process on a Kafka of its own, which can be made as empty as a new one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.messages import BLENDS, EDGE, RECORDS, Blend, M, Topic
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli import broker, processes
from tests.edge.edge_process import EdgeProcess
from tests.edge.test_process import blended, send

PATIENCE_S = 60


class OwnKafka:
    """What a broker has, and how it loses all of it."""

    def __init__(self, brokers: str) -> None:
        self.brokers = brokers

    async def read(self, topic: Topic[M]) -> list[M]:
        bus = KafkaBus(KafkaSettings(self.brokers))
        try:
            return [envelope.value for envelope in await bus.read(topic)]
        finally:
            await bus.close()

    async def blends(self) -> list[Blend]:
        """In order of time and key."""
        return sorted(await self.read(BLENDS), key=lambda blend: (blend.t, blend.key))

    async def records(self) -> int:
        return len(await self.read(RECORDS))

    async def id(self) -> str:
        (own, *_) = await self.read(EDGE)
        return own.id

    async def topics(self) -> list[str]:
        """Those of ours."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers)
        await admin.start()
        try:
            return [name for name in await admin.list_topics() if name.startswith("driftline.")]
        finally:
            await admin.close()

    async def empty(self) -> None:
        """Returns when no topic is there any more."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.brokers)
        await admin.start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await admin.delete_topics(await self.topics())
                while await self.topics():
                    continue
        finally:
            await admin.close()


@contextmanager
def own_kafka(folder: Path) -> Iterator[OwnKafka]:
    """Raises Unavailable."""
    port = broker.free_port()
    try:
        broker.start(folder, port)
        yield OwnKafka(f"127.0.0.1:{port}")
    finally:
        processes.stop(folder, "kafka")


async def nothing() -> None:
    """Nothing more."""


async def run(
    folder: Path,
    environment: dict[str, str],
    stream: StreamDefinition,
    sent: Rows,
    *,
    at_its_end: Callable[[], Awaitable[None]] = nothing,
) -> None:
    """The edge from its start to its end: all that is sent is blended. at_its_end: done while it is still at work."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with EdgeProcess(folder, environment) as edge:
        await edge.all_ready()
        await send(edge, stream, sent, 100)
        await blended(edge, stream, sent)
        await at_its_end()
        assert await edge.end() == -15
        assert "Traceback" not in edge.log, edge.log
