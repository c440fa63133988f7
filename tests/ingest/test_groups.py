"""Groups from the door to the bus and the archive: a group is one partition, and a series stays in its group."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.bus.memory import MemoryBus
from driftline.bus.port import Bus, Envelope
from driftline.messages import RECORDS, Record
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows, concatenate
from driftline_cli.replay import post
from driftline_client import AsyncClient
from driftline_ingest.app import create_app
from driftline_ingest.archive import ArchiveStep
from driftline_ingest.census import Census
from driftline_ingest.settings import IngestSettings
from driftline_ingest.windows import RecordWindows

BASE = "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nwindow: 5\nforget: 1d\n"
SITES = parse(f"{BASE}group: site\n", "a.yaml")
TOGETHER = parse(f"{BASE}group: all\n", "a.yaml")
HOUR_MS = 3_600_000
PATIENCE_S = 60


def row(hour: int, key: str = "k", site: object = "north") -> dict[str, object]:
    return {"when": f"2015-01-01T{hour:02d}:00:00Z", "id": key, "site": site, "y": 1.0}


@asynccontextmanager
async def served(bus: Bus, folder: Path, stream: StreamDefinition) -> AsyncIterator[httpx.ASGITransport]:
    app = create_app(IngestSettings(), bus, FolderStore(folder), streams={stream.name: stream})
    async with app.router.lifespan_context(app):
        yield httpx.ASGITransport(app)


@asynccontextmanager
async def door(bus: Bus, folder: Path, stream: StreamDefinition = SITES) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        served(bus, folder, stream) as transport,
        httpx.AsyncClient(transport=transport, base_url="http://ingest") as client,
    ):
        yield client


async def published(bus: Bus, count: int, stream: str = "a") -> list[Envelope[Record]]:
    envelopes: list[Envelope[Record]] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(bus.tail(RECORDS, earliest=True)) as pages:
        async for page in pages:
            envelopes += [envelope for envelope in page if envelope.value.stream == stream]
            if len(envelopes) >= count:
                return envelopes
    raise AssertionError("unreachable")


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    kafka = request.param == "kafka"
    bus = KafkaBus(KafkaSettings(request.getfixturevalue("brokers"), partitions=4)) if kafka else MemoryBus(4)
    yield bus
    await bus.close()


@pytest.mark.parametrize("group", ["site", "all", None])
async def test_a_group_lies_on_one_partition(bus: Bus, group: str | None):
    # The broker and its topic are shared with other tests.
    stream = f"grouped-{uuid.uuid4().hex[:8]}"
    records = [
        Record(stream, f"sensor-{n}", 0, {"y": 1.0}, 0.0, {"site": f"site-{n % 3}", "all": "all", None: ""}[group])
        for n in range(60)
    ]
    await bus.publish(RECORDS, records)
    partitions: dict[str, set[int]] = defaultdict(set)
    for envelope in await published(bus, len(records), stream):
        partitions[envelope.value.group].add(envelope.partition)
    assert len(partitions) == {"site": 3, "all": 1, None: 1}[group]
    # Without groups the series are spread.
    assert {len(used) for used in partitions.values()} == {4 if group is None else 1}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", msgspec.json.encode([row(0), row(0, "m", 7)])),
        ("application/x-ndjson", b"\n".join(map(msgspec.json.encode, [row(0), row(0, "m", 7)]))),
        ("text/csv", b"when,id,site,y\n2015-01-01T00:00:00Z,k,north,1\n2015-01-01T00:00:00Z,m,7,1\n"),
    ],
)
async def test_the_column_s_text_is_the_group(tmp_path: Path, kind: str, body: bytes):
    bus = MemoryBus(1)
    async with door(bus, tmp_path) as client:
        answer = await client.post("/v1/records", content=body, headers={"Content-Type": kind})
    assert answer.json()["accepted"] == 2, answer.text
    assert [envelope.value.group for envelope in await published(bus, 2)] == ["north", "7"]


async def test_all_series_of_a_stream_are_a_group_without_a_column(tmp_path: Path):
    bus = MemoryBus(1)
    rows = [{"when": "2015-01-01T00:00:00Z", "id": key, "y": 1.0} for key in "km"]
    async with door(bus, tmp_path, TOGETHER) as client:
        assert (await client.post("/v1/records", json=rows)).json()["accepted"] == 2
        assert (await client.post("/v1/records", json=row(1))).json()["accepted"] == 1
    assert {envelope.value.group for envelope in await published(bus, 3)} == {"all"}


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("application/json", msgspec.json.encode(row(1, site="south"))),
        ("application/x-ndjson", msgspec.json.encode(row(1, site="south")) + b"\n"),
        ("text/csv", b"when,id,site,y\n2015-01-01T01:00:00Z,k,south,1\n"),
    ],
)
async def test_a_series_that_changes_its_group_is_refused_and_goes_on_in_its_own(tmp_path: Path, kind: str, bad: bytes):
    bus = MemoryBus(1)
    async with door(bus, tmp_path) as client:
        assert (await client.post("/v1/records", json=row(0))).status_code == 202
        answer = await client.post("/v1/records", content=bad, headers={"Content-Type": kind})
        assert answer.status_code == 422
        assert answer.json()["refused"] == [
            {"row": 1, "column": "site", "found": "'south'", "expected": "'north', which key 'k' has had"}
        ]
        metrics = (await client.get("/metrics")).text
        assert 'driftline_records_refused_total{stream="a"} 1.0' in metrics
        assert (await client.post("/v1/records", json=row(1))).json()["accepted"] == 1
    assert [envelope.value.group for envelope in await published(bus, 2)] == ["north", "north"]


async def test_rows_that_change_the_group_are_refused_by_their_own_numbers(tmp_path: Path):
    rows = [row(0), row(0, "m", None), row(1, site="south"), row(0, "n", "south"), row(2), row(1, "n")]
    async with door(MemoryBus(1), tmp_path) as client:
        answer = (await client.post("/v1/records", json=rows)).json()
    assert (answer["accepted"], answer["refused_total"]) == (3, 3)
    assert [(refused["row"], refused["found"]) for refused in answer["refused"]] == [
        (2, "nothing"),
        (3, "'south'"),
        (6, "'north'"),
    ]


async def test_a_long_group_and_key_are_cut_in_the_answer(tmp_path: Path):
    async with door(MemoryBus(1), tmp_path) as client:
        await client.post("/v1/records", json=row(0, "k" * 200, "a" * 200))
        (refused,) = (await client.post("/v1/records", json=row(1, "k" * 200, "b" * 200))).json()["refused"]
        (too_long,) = (await client.post("/v1/records", json=row(1, "m", "b" * 201))).json()["refused"]
    assert len(refused["found"] + refused["expected"]) < 300
    assert too_long["expected"] == "a name of 1 to 200 printable characters"


def test_a_series_that_was_silent_for_long_may_come_in_another_group():
    census = Census({"a": SITES})
    census.admit([record(0, "k", "north")])
    moved = record(100, "k", "south")
    assert census.former_groups("a", [moved]) == {0: "north"}
    census.admit([record(100, "m", "north")])
    assert census.former_groups("a", [moved]) == {}


def record(hour: int, key: str, group: str) -> Record:
    return Record("a", key, hour * HOUR_MS, {"y": float(hour)}, 0.0, group)


def envelopes(records: list[Record]) -> list[Envelope[Record]]:
    return [Envelope(0, offset, 0.0, one) for offset, one in enumerate(records)]


def archived(stream: StreamDefinition, records: list[Record]) -> list[Rows]:
    packing = RecordWindows({"a": stream})
    windows = ArchiveStep(packing, lambda *_: None).step(envelopes(records))
    bodies = [packing.encode(window.stream, window.key, window.rows, window.group) for window in windows]
    return [tables.decode(body, stream, "window") for body in bodies]


@pytest.mark.parametrize(("stream", "group"), [(SITES, "north"), (TOGETHER, "all")])
def test_a_window_holds_the_group_of_its_series(stream: StreamDefinition, group: str):
    (rows,) = archived(stream, [record(hour, "k", group) for hour in range(5)])
    assert rows.groups.tolist() == [group] * 5
    assert rows.values[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_window_ends_where_its_series_moves_to_another_group():
    moving = [record(hour, "k", "north" if hour < 3 else "south") for hour in range(8)]
    north, south = archived(SITES, moving)
    assert (set(north.groups), set(south.groups)) == ({"north"}, {"south"})
    assert north.t.tolist() + south.t.tolist() == [hour * HOUR_MS for hour in range(8)]
    joined = concatenate([north, south])
    assert joined.in_newest_groups().t.tolist() == south.t.tolist()


@pytest.mark.parametrize(("stream", "groups"), [(SITES, ["north", "south"]), (TOGETHER, ["all", "all"])])
async def test_a_table_is_replayed_with_its_groups(tmp_path: Path, stream: StreamDefinition, groups: list[str]):
    bus = MemoryBus(1)
    rows = Rows(np.array(["k", "m"]), np.array([0, 0]), np.array([[1.0], [2.0]]), np.array(groups))
    again = tables.decode(tables.encode(rows, stream), stream, "history")
    async with served(bus, tmp_path, stream) as transport, AsyncClient(transport=transport) as client:
        assert (await post(client, stream, replace(again, t=again.t + HOUR_MS))).accepted == 2
    assert [envelope.value.group for envelope in await published(bus, 2)] == groups
