"""Several edges on one store, and keys of any shape: nothing is overwritten, and nothing stops."""

import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftline.bus.edge import edge_id
from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.bus.memory import MemoryBus
from driftline.errors import Unavailable
from driftline.messages import RECORDS
from driftline.metrics import Metrics
from driftline.service.settings import read_settings
from driftline.store import windows
from driftline.store.folder import FolderStore
from driftline.store.port import Store
from driftline.streams import tables
from driftline.streams.definition_files import parse
from driftline_cli import broker, processes
from driftline_ingest.app import create_app
from driftline_ingest.settings import IngestSettings

PATIENCE_S = 60.0
POLL_S = 0.05
STREAM = parse(
    "name: a\ntime: {column: time, period: 1h}\nkey: sensor\ntarget: value\nfeatures: {}\nwindow: 4\n", "a.yaml"
)
SINGLE = STREAM.model_copy(update={"window": 1})


def rows(key: str, hours: Iterable[int], value: float) -> list[dict[str, object]]:
    return [
        {"time": f"2026-03-{1 + hour // 24:02d}T{hour % 24:02d}:00:00+00:00", "sensor": key, "value": value}
        for hour in hours
    ]


@asynccontextmanager
async def ingest(bus, store: Store, stream=STREAM, metrics=None) -> AsyncIterator[httpx.AsyncClient]:
    """One edge's ingest at work; nothing in it may die."""
    deaths: list[str] = []
    app = create_app(
        read_settings(IngestSettings, token=None),
        bus,
        store,
        streams={stream.name: stream},
        metrics=metrics,
        on_death=lambda job, error: deaths.append(f"{job}: {error!r}"),
    )
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://in") as client:
        yield client
    assert deaths == []


async def take(client: httpx.AsyncClient, sent: Sequence[dict[str, object]]) -> dict[str, Any]:
    answer = await client.post("/v1/records", json=sent)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def archived(store: Store, count: int) -> list[str]:
    """The names of all windows, when there are so many."""
    async for _ in store.watch("windows/", poll=POLL_S):
        found = [listed.key async for listed in store.list("windows/")]
        if len(found) >= count:
            return found
    raise AssertionError("unreachable")


async def values(store: Store, names: Iterable[str]) -> list[tuple[int, float]]:
    """Hour and value of every row."""
    found = [tables.decode((await store.get(name)).body, STREAM, name) for name in names]
    start = 1772323200000  # 2026-03-01
    return [
        ((t - start) // 3_600_000, value)
        for part in found
        for t, value in zip(part.t.tolist(), part.values[:, 0].tolist(), strict=True)
    ]


def edges_of(names: Iterable[str]) -> list[str]:
    parsed = [windows.parse(name.rpartition("/")[2]) for name in names]
    assert None not in parsed
    return [name.edge for name in parsed]


async def test_two_edges_with_the_same_key_and_one_store_overwrite_nothing(tmp_path: Path):
    store, buses = FolderStore(tmp_path), [MemoryBus(), MemoryBus()]
    for number, bus in enumerate(buses):
        async with ingest(bus, store) as client:
            await take(client, rows("k", range(8), float(number)))
            names = await archived(store, 2 + 2 * number)
    assert len(names) == 4
    assert set(edges_of(names)) == {await edge_id(bus) for bus in buses}
    assert sorted(await values(store, names)) == sorted((hour, float(edge)) for hour in range(8) for edge in range(2))


async def test_an_edge_whose_disk_was_replaced_goes_on_after_its_old_windows(tmp_path: Path):
    store, names = FolderStore(tmp_path), list[str]()
    for number, hours in enumerate((range(8), range(8, 16), range(16, 24))):
        # A new bus, as an empty disk has: the topic begins at offset 0 again.
        async with ingest(MemoryBus(), store) as client:
            await take(client, rows("k", hours, float(number)))
            found = await archived(store, len(names) + 2)
        assert found[: len(names)] == names, "new windows sort after the old ones"
        names = found
    assert len(set(edges_of(names))) == 3
    assert await values(store, names) == [(hour, float(hour // 8)) for hour in range(24)]


async def test_a_window_that_is_written_again_after_a_restart_is_the_same_one(tmp_path: Path):
    store, bus = FolderStore(tmp_path), MemoryBus()
    async with ingest(bus, store) as client:
        await take(client, rows("k", range(8), 1.0))
        names = await archived(store, 2)
    before = [(await store.get(name)).etag for name in names]
    bus._groups.clear()  # as if the last checkpoint had never been written
    async with ingest(bus, store) as client:
        await take(client, rows("k", range(8, 12), 1.0))
        again = await archived(store, 3)
        told = (await client.get("/metrics")).text
    assert again[:2] == names
    assert [(await store.get(name)).etag for name in names] == before
    assert 'driftline_windows_left_out_total{kind="windows",reason="repeated",stream="a"} 2.0' in told


@pytest.fixture
def own_brokers(tmp_path: Path) -> Iterator[str]:
    """Where nobody else sends records, which would be of streams that are unknown here."""
    port = broker.free_port()
    try:
        broker.start(tmp_path / "kafka", port)
    except Unavailable as error:
        pytest.skip(str(error))
    yield f"127.0.0.1:{port}"
    processes.stop(tmp_path / "kafka", "kafka")


@pytest.mark.kafka
async def test_on_kafka_services_of_one_edge_write_under_one_id(own_brokers: str, tmp_path: Path):
    store = FolderStore(tmp_path / "store")
    settings = KafkaSettings(own_brokers)
    stream = STREAM.model_copy(update={"name": "edges-on-kafka"})
    async with ingest(KafkaBus(settings), store, stream) as one, ingest(KafkaBus(settings), store, stream) as other:
        await take(one, rows("k", range(4), 1.0))
        await take(other, rows("m", range(4), 1.0))
        found = await archived(store, 2)
    bus = KafkaBus(settings)
    assert set(edges_of(found)) == {await edge_id(bus)}
    await bus.close()


ODD = [
    ".hidden",
    "..",
    ".",
    "a/b",
    "../../x",
    "風" * 60,
    "/" * 200,
    " a",
    "\U0001f300" * 200,
    "%2Ehidden",
    "a",
    "x" * 200,
]
UNPRINTABLE = ["a\u200bb", "", "x" * 201, "\0", "\n"]


async def test_keys_that_are_trouble_as_names_are_archived_in_folders_of_their_own_or_refused(tmp_path: Path):
    root = tmp_path / "store"
    store, bus = FolderStore(root), MemoryBus()
    sent = [row for key in (*ODD, *UNPRINTABLE) for row in rows(key, [0], 1.0)]
    async with ingest(bus, store, SINGLE) as client:
        receipt = await take(client, sent)
        names = await archived(store, len(ODD))
    assert (receipt["accepted"], receipt["refused_total"]) == (len(ODD), len(UNPRINTABLE))
    assert all("printable characters" in refusal["expected"] for refusal in receipt["refused"])
    keys = [tables.decode((await store.get(name)).body, STREAM, name).keys.tolist() for name in names]
    assert sorted(keys) == sorted([key] for key in ODD)
    assert {name.count("/") for name in names} == {3}
    assert len({name.rpartition("/")[0] for name in names}) == len(ODD)
    everything = [listed.key async for listed in FolderStore(tmp_path).list("")]
    assert everything == [f"store/{name}" for name in names], "nothing lies outside"


async def test_keys_that_look_like_numbers_are_five_series(tmp_path: Path):
    store, keys = FolderStore(tmp_path), ["007", "7", "1.0", "1e5", "0x1F"]
    lines = ["time,sensor,value", *(f"2026-03-01T00:00:00+00:00,{key},{n}" for n, key in enumerate(keys))]
    async with ingest(MemoryBus(), store, SINGLE) as client:
        answer = await client.post("/v1/records", content="\n".join(lines), headers={"content-type": "text/csv"})
        assert answer.json()["accepted"] == len(keys)
        names = await archived(store, len(keys))
    assert sorted(name.split("/")[2] for name in names) == sorted(keys)


async def test_a_store_that_takes_no_long_names_holds_nothing_else_back(tmp_path: Path):
    """A folder so deep that a long key's path is beyond what the system takes."""
    root = tmp_path.joinpath(*["d" * 250] * 15)
    room = 4096 - len(str(root)) - len("/windows/a/")
    assert 80 < room < 300, "the folder for temporary files is deeper than expected"
    store = FolderStore(root)
    metrics = Metrics()
    async with ingest(MemoryBus(), store, SINGLE, metrics) as client:
        for hour in range(2):
            await take(client, [*rows("風" * 200, [hour], 1.0), *rows("k", [hour], 1.0), *rows("m", [hour], 1.0)])
        names = await archived(store, 4)
    assert [name.split("/")[2] for name in names] == ["k", "k", "m", "m"]
    labels = {"kind": "windows", "reason": "never", "stream": "a"}
    assert metrics.registry.get_sample_value("driftline_windows_left_out_total", labels) == 2


def test_a_record_s_key_goes_through_the_topic_as_it_is():
    for key in ODD:
        record = RECORDS.decode(RECORDS.encode(RECORDS.type("a", key, 0, {"value": 1.0}, 0.0)))
        assert record.key == key == json.loads(json.dumps(key))
