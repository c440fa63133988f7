"""Topics of others on a real Kafka: what is on them becomes records, whatever restarts."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import time as wall_clock
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
import stamina
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.bus.memory import MemoryBus
from driftline.messages import DEAD_LETTERS, RECORDS, M, Topic
from driftline.service.settings import read_settings
from driftline.store.folder import FolderStore
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_ingest.app import create_app
from driftline_ingest.settings import IngestSettings
from tests.edge.edge_process import EdgeProcess, Left
from tests.ingest.published import published
from tests.security.kafka_server import SecureKafka

PATIENCE_S = 90
FIRST = 1772323200000


def definition(topic: str, payload: str = "json", more: str = "") -> str:
    return (
        f"name: tank\ntime: {{column: when, period: 1s}}\nkey: id\ntarget: y\nwindow: 100\n{more}"
        f"kafka: {{topic: {topic}, payload: {payload}}}\n"
    )


def stream(topic: str, payload: str = "json", more: str = "") -> StreamDefinition:
    return parse(definition(topic, payload, more), "tank.yaml")


@pytest.fixture
def topic() -> str:
    return f"plant.measurements-{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def ingest(
    bus: MemoryBus,
    folder: Path,
    topics: KafkaSettings | None,
    *streams: StreamDefinition,
    catalog: Streams | None = None,
) -> AsyncIterator[FastAPI]:
    known = catalog or {stream.name: stream for stream in streams}
    store = FolderStore(folder)
    app = create_app(IngestSettings(), bus, store, streams=known, on_death=lambda *_: None, topics=topics)
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def producing(brokers: str, **access: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=brokers, **access)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def make(brokers: str, topic: str) -> None:
    bus = KafkaBus(KafkaSettings(brokers, partitions=2))
    await bus.topics.make([topic])
    await bus.close()


async def send(brokers: str, topic: str, *messages: bytes, key: bytes | None = None) -> None:
    await make(brokers, topic)
    async with producing(brokers) as producer:
        for message in messages:
            await producer.send_and_wait(topic, message, key=key, timestamp_ms=FIRST)


def message(n: int) -> bytes:
    return json.dumps({"y": n, "id": f"k{n % 3}", "when": FIRST + n * 1000}).encode()


async def readiness(app: FastAPI) -> Mapping[str, str]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        checks: dict[str, str] = (await client.get("/readyz")).json()["checks"]
    return checks


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
async def until_said(app: FastAPI, beginning: str) -> None:
    assert (await readiness(app))["kafka"].startswith(beginning)


@pytest.mark.kafka
async def test_messages_become_records_and_others_dead_letters(brokers: str, topic: str, tmp_path: Path):
    bus, before = MemoryBus(), wall_clock()
    await send(brokers, topic, message(0), b"{", b"[1]", b'{"y": "x", "id": "k0", "when": 1772323300}', b'{"y": 7}')
    await send(brokers, topic, b'[{"y": 8, "when": 1772323400}, {"y": 9, "when": 1772323401}]', key=b"pump")
    await send(brokers, topic, b'{"y": 10}', key=b"valve")
    async with ingest(bus, tmp_path, KafkaSettings(brokers), stream(topic)) as app:
        records = await published(bus, 4)
        await until_said(app, "ok")
        letters = [envelope.value for envelope in await bus.read(DEAD_LETTERS)]
    *timed, valve = sorted(records, key=lambda record: record.values["y"])
    assert [(record.key, record.t, record.values["y"]) for record in timed] == [
        ("k0", FIRST, 0.0),
        ("pump", 1772323400000, 8.0),
        ("pump", 1772323401000, 9.0),
    ]
    # Its time is when it was written.
    assert (valve.key, valve.values["y"]) == ("valve", 10.0)
    assert round(before * 1000) <= valve.t <= wall_clock() * 1000
    assert {letter.topic for letter in letters} == {topic}
    assert {letter.payload for letter in letters} == {
        b"{",
        b"[1]",
        b'{"y": "x", "id": "k0", "when": 1772323300}',
        b'{"y": 7}',
    }
    reasons = {letter.payload: letter.reason for letter in letters}
    assert reasons[b"[1]"] == "expected JSON objects: found int"
    assert reasons[b'{"y": 7}'].startswith("id: found nothing, expected this column")
    assert len({(letter.partition, letter.offset) for letter in letters}) == 4


@pytest.mark.kafka
async def test_lines_of_telegraf_s_kafka_plugin_are_read(brokers: str, topic: str, tmp_path: Path):
    bus, lines = MemoryBus(), f"m,id=a y=1 {FIRST}000000\nm,id=a y= 2\nm,id=a y=3 {FIRST + 1000}000000\n"
    await send(brokers, topic, lines.encode())
    async with ingest(bus, tmp_path, KafkaSettings(brokers), stream(topic, "influx")):
        records = await published(bus, 2)
        (letter,) = await dead_letters(bus)
    assert [record.values["y"] for record in records] == [1.0, 3.0]
    assert letter.startswith("found 'm,id=a y= 2', expected a line such as")


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
async def dead_letters(bus: MemoryBus) -> list[str]:
    reasons = [envelope.value.reason for envelope in await bus.read(DEAD_LETTERS)]
    assert reasons
    return reasons


@pytest.mark.kafka
async def test_rows_in_a_message_are_refused_one_by_one_in_one_letter(brokers: str, topic: str, tmp_path: Path):
    bus, rows = MemoryBus(), [{"y": n if n % 3 else "x", "when": FIRST + n * 1000} for n in range(9)]
    await send(brokers, topic, json.dumps({"id": "k", "samples": rows}).encode(), b'[{"y": "x"}, {"y": "x"}]')
    async with ingest(bus, tmp_path, KafkaSettings(brokers), stream(topic, more="rows: samples\n")) as app:
        records = await published(bus, 6)
        await until_said(app, "ok")
        reasons = await dead_letters(bus)
    assert [record.values["y"] for record in records] == [1.0, 2.0, 4.0, 5.0, 7.0, 8.0]
    assert sorted(reason.rpartition("; ")[2] for reason in reasons) == [
        "and 1 more of its rows",
        "and 2 more of its rows",
    ]


class JoiningBus(MemoryBus):
    """A stream is added while it takes the first records."""

    def __init__(self, streams: Streams, added: StreamDefinition) -> None:
        super().__init__()
        self.streams = streams
        self.added = [added]

    async def publish(self, topic: Topic[M], messages: Sequence[M]) -> None:
        if self.added and topic is RECORDS:
            added = [self.added.pop()]
            self.streams.sources.add(added)
            self.streams.sources.tell(added)
        await super().publish(topic, messages)


@pytest.mark.kafka
async def test_a_stream_that_is_added_while_messages_are_taken_is_followed(brokers: str, topic: str, tmp_path: Path):
    later = f"{topic}-later"
    await send(brokers, topic, message(0))
    await send(brokers, later, message(1))
    streams = Streams({"tank": stream(topic)})
    other = parse(definition(later).replace("name: tank", "name: other"), "other.yaml")
    bus = JoiningBus(streams, other)
    async with ingest(bus, tmp_path, KafkaSettings(brokers), catalog=streams):
        records = await published(bus, 2)
    assert [record.stream for record in records] == ["tank", "other"]


@pytest.mark.kafka
async def test_a_topic_that_is_missing_is_named_and_stops_no_other(brokers: str, topic: str, tmp_path: Path):
    bus, later = MemoryBus(), f"{topic}-later"
    await send(brokers, topic, message(0))
    other = parse(definition(later).replace("name: tank", "name: other"), "other.yaml")
    async with ingest(bus, tmp_path, KafkaSettings(brokers), stream(topic), other) as app:
        await published(bus, 1)
        await until_said(app, f"the Kafka at {brokers} has no topic {later}")
        await send(brokers, later, message(1))
        await published(bus, 2)
        await until_said(app, "ok")


async def test_without_a_broker_the_stream_and_the_setting_are_named(topic: str, tmp_path: Path):
    async with ingest(MemoryBus(), tmp_path, None, stream(topic)) as app:
        await until_said(
            app, f"stream 'tank' reads the Kafka topic '{topic}', and no broker has it: found no DRIFTLINE"
        )


async def test_a_broker_that_is_away_is_named(unused_tcp_port: int, topic: str, tmp_path: Path):
    address = f"127.0.0.1:{unused_tcp_port}"
    async with ingest(MemoryBus(), tmp_path, KafkaSettings(address, send_timeout=2.0), stream(topic)) as app:
        await until_said(app, f"the Kafka topics {topic} at {address} wait: the broker does not answer")


def test_the_other_kafka_has_settings_of_its_own(secure_kafka: SecureKafka, monkeypatch: pytest.MonkeyPatch):
    for name, value in secure_kafka.environment().items():
        monkeypatch.setenv(name.replace("_KAFKA_", "_SOURCE_").replace("_BROKERS", "_SOURCE_BROKERS"), value)
    settings = read_settings(IngestSettings)
    topics = settings.topics(own=False)
    assert topics is not None
    assert (topics.brokers, topics.security_protocol) == (secure_kafka.brokers, "SASL_SSL")
    assert topics.sasl_password not in repr(settings)
    assert settings.brokers == "127.0.0.1:9092"
    assert IngestSettings(source_brokers=None).topics(own=False) is None


@pytest.mark.kafka
@pytest.mark.process
async def test_a_kill_loses_no_message_and_archives_none_twice(brokers: str, topic: str, tmp_path: Path):
    count, streams = 3000, tmp_path / "streams"
    await asyncio.to_thread(streams.mkdir)
    await asyncio.to_thread((streams / "tank.yaml").write_text, definition(topic))
    await make(brokers, topic)
    environment = {
        "DRIFTLINE_SOURCE_BROKERS": brokers,
        "DRIFTLINE_STREAMS": str(streams),
        "DRIFTLINE_ALLOW_UNSIGNED": "true",
        "DRIFTLINE_SESSION_TIMEOUT": "6",
    }
    sent = 0
    async with producing(brokers) as producer:
        for until in (1500, 2000, count):
            async with EdgeProcess(tmp_path, environment) as edge:
                while sent < until:
                    await producer.send(topic, message(sent), partition=0)
                    sent += 1
                await producer.flush()
                await edge.says("following Kafka")
                await until_metric(edge, 200)
                edge.kill()
                await edge.ended()
        async with EdgeProcess(tmp_path, environment) as edge:
            await until_archived(tmp_path / "store", count - 300)
    records = await Left(edge.data).records()
    assert {(record.key, record.t) for record in records} == {(f"k{n % 3}", FIRST + n * 1000) for n in range(count)}
    t = archived(tmp_path / "store")
    assert len(t) == len(set(t)) >= count - 300


@stamina.retry(on=(AssertionError, httpx.HTTPError), attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.2)
async def until_metric(edge: EdgeProcess, least: int) -> None:
    lines = (await edge.get("/metrics")).text.splitlines()
    (line,) = (line for line in lines if line.startswith('driftline_records_total{stream="tank"}'))
    assert float(line.split()[-1]) >= least


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.2, wait_max=1.0)
async def until_archived(folder: Path, least: int) -> None:
    assert len(await asyncio.to_thread(archived, folder)) >= least


def archived(folder: Path) -> list[int]:
    """The times of all records in the store."""
    files = sorted((folder / "windows").rglob("*.parquet"))
    return [int(when.timestamp() * 1000) for file in files for when in pq.read_table(file)["when"].to_pylist()]
