"""A source of several streams: sent once, on the topic once, in the archive once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
import stamina
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.bus.memory import MemoryBus
from driftline.bus.port import Envelope
from driftline.messages import RECORDS, Record
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.catalog import Streams
from driftline.streams.definition_files import parse
from driftline_ingest.app import create_app
from driftline_ingest.archive import ArchiveStep
from driftline_ingest.open_windows import Lacking, Progress
from driftline_ingest.packing import FullWindow
from driftline_ingest.settings import IngestSettings
from driftline_ingest.windows import RecordWindows

HOUR_MS = 3_600_000
PATIENCE_S = 10
BASE = "time: {column: when, period: 1h}\nkey: id\nwindow: 3\nlags: 2\n"
TEMPERATURE = f"name: temperature\nsource: station\ntarget: temp\nfeatures: {{wind: level}}\n{BASE}"
HUMIDITY = f"name: humidity\nsource: station\ntarget: hum\n{BASE}"
ALONE = f"name: a\ntarget: y\n{BASE}"


def catalog(*texts: str) -> Streams:
    return Streams({stream.name: stream for text in texts for stream in parse(text, "x").streams})


@dataclass(frozen=True)
class Ingest:
    client: httpx.AsyncClient
    bus: MemoryBus
    store: FolderStore

    async def post(self, name: str, *rows: dict[str, object]) -> httpx.Response:
        return await self.client.post(f"/v1/records?stream={name}", json=rows)

    async def published(self, count: int) -> list[Record]:
        records: list[Record] = []
        async with asyncio.timeout(PATIENCE_S), aclosing(self.bus.tail(RECORDS, earliest=True)) as pages:
            async for page in pages:
                records += [envelope.value for envelope in page]
                if len(records) >= count:
                    return records
        raise AssertionError("unreachable")

    @stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.02, wait_max=0.1)
    async def archived(self, count: int) -> list[str]:
        names = [listed.key async for listed in self.store.list("windows/")]
        assert len(names) >= count
        return names


@asynccontextmanager
async def ingest(folder: Path, streams: Streams) -> AsyncIterator[Ingest]:
    bus, store = MemoryBus(1), FolderStore(folder / "store")
    app = create_app(IngestSettings(), bus, store, streams=streams)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client,
    ):
        yield Ingest(client, bus, store)


def row(hour: int, **values: object) -> dict[str, object]:
    return {"when": f"2015-01-01T{hour:02d}:00:00Z", "id": "k", **values}


async def test_what_is_posted_once_is_on_the_topic_and_in_the_archive_once(tmp_path: Path):
    streams = catalog(TEMPERATURE, HUMIDITY, ALONE)
    async with ingest(tmp_path, streams) as door:
        rows = [row(hour, temp=1.0 + hour, wind=2.0, hum=50.0 + hour) for hour in range(3)]
        assert (await door.post("station", *rows)).json()["accepted"] == 3
        records = await door.published(3)
        assert [record.stream for record in records] == ["station"] * 3
        assert records[0].values == {"temp": 1.0, "wind": 2.0, "hum": 50.0}
        (name,) = await door.archived(1)
        assert name.startswith("windows/station/k/")
        body = (await door.store.get(name)).body
        for stream in streams.sources.streams_of("station"):
            content = tables.decode(body, stream, name, mapped=True)
            expected = [[record.values[column] for column in stream.columns] for record in records]
            np.testing.assert_array_equal(content.values, expected)
        shown = (await door.client.get("/metrics")).text
        assert 'driftline_records_total{stream="station"} 3.0' in shown
        assert 'driftline_records_total{stream="temperature"}' not in shown


async def test_who_posts_to_a_stream_of_a_source_learns_the_source(tmp_path: Path):
    async with ingest(tmp_path, catalog(TEMPERATURE, HUMIDITY)) as door:
        answer = await door.post("humidity", row(0, hum=1.0))
        assert answer.status_code == 422
        assert answer.json()["detail"] == (
            "found stream 'humidity', expected ?stream=station, the source that it shares"
        )
        # The only source needs no name.
        assert (await door.client.post("/v1/records", json=[row(0, hum=1.0)])).json()["accepted"] == 1


async def test_a_target_that_was_missing_may_be_brought_alone_and_each_once(tmp_path: Path):
    async with ingest(tmp_path, catalog(TEMPERATURE, HUMIDITY)) as door:
        assert (await door.post("station", row(0, wind=1.0))).json()["accepted"] == 1
        assert (await door.post("station", row(0, wind=1.0))).json()["repeated"] == 1
        assert (await door.post("station", row(0, temp=2.0))).json()["accepted"] == 1
        assert (await door.post("station", row(0, temp=2.0))).json()["repeated"] == 1
        assert (await door.post("station", row(0, hum=3.0))).json()["accepted"] == 1
        assert (await door.post("station", row(0, temp=2.0, hum=3.0))).json()["repeated"] == 1
        await door.post("station", row(1, temp=1.0, hum=1.0), row(2, temp=1.0, hum=1.0))
        (name,) = await door.archived(1)
        content = tables.decode((await door.store.get(name)).body, parse(TEMPERATURE, "x"), name, mapped=True)
        np.testing.assert_array_equal(content.values[0], [2.0, 1.0])


async def test_a_stream_that_is_added_is_archived_from_then_on(tmp_path: Path):
    folder = tmp_path / "streams"
    folder.mkdir()
    (folder / "temperature.yaml").write_text(TEMPERATURE)
    streams = Streams.open(folder)
    async with ingest(tmp_path, streams) as door:
        await door.post("station", row(0, temp=1.0, wind=1.0, hum=9.0))
        (folder / "humidity.yaml").write_text(HUMIDITY)
        await streams.look()
        await door.post("station", *(row(hour, temp=1.0, wind=1.0, hum=9.0) for hour in (1, 2)))
        records = await door.published(3)
        assert ["hum" in record.values for record in records] == [False, True, True]
        (name,) = await door.archived(1)
        humidity = tables.decode((await door.store.get(name)).body, streams["humidity"], name, mapped=True)
        np.testing.assert_array_equal(humidity.values[:, 0], [np.nan, 9.0, 9.0])


async def test_records_from_before_their_stream_had_a_source_are_archived_as_they_are_named(tmp_path: Path):
    async with ingest(tmp_path, catalog(TEMPERATURE)) as door:
        records = [Record("temperature", "k", hour * HOUR_MS, {"temp": 1.0, "wind": 2.0}, 0.0) for hour in range(3)]
        await door.bus.publish(RECORDS, records)
        (name,) = await door.archived(1)
        assert name.startswith("windows/temperature/k/")


def windows(streams: Streams, messages: list[Envelope[Record]], cuts: list[int]) -> dict[str, bytes]:
    """By name the content, of a step that is killed and restored at each cut."""
    contents: dict[str, bytes] = {}
    states: dict[str, bytes | None] = {}
    position = 0
    for begin, end in pairwise([0, *cuts, len(messages)]):
        step = ArchiveStep(RecordWindows(streams.of_records), lambda _stream, _reason: None)
        step.restore(0, states)
        for window in step.step(messages[position:end]):
            content = _content(window)
            assert contents.setdefault(window.name("edge"), content) == content
        states |= step.snapshot(0)
        position = step.resume_at(0, end)
        assert position <= max(begin, end)
    return contents


def _content(window: FullWindow) -> bytes:
    return b"".join(row.tobytes() for row in window.rows)


MISSING = st.sets(st.sampled_from(["temp", "hum"]))


@given(st.lists(st.tuples(st.integers(0, 4), MISSING), min_size=4, max_size=30), st.data())
@settings(max_examples=60, deadline=None)
def test_where_a_restart_cuts_truths_of_several_targets_makes_no_difference(
    sent: list[tuple[int, set[str]]], data: st.DataObject
):
    newest, records = 0, []
    for back, missing in sent:
        newest += back == 0
        values: dict[str, float | None] = {"temp": 1.0, "wind": 2.0, "hum": 3.0}
        records.append(Record("station", "k", max(0, newest - back) * HOUR_MS, values | dict.fromkeys(missing), 0.0))
    messages = [Envelope(0, n, 0.0, record) for n, record in enumerate(records)]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(messages)), max_size=3)))
    streams = catalog(TEMPERATURE, HUMIDITY)
    assert windows(streams, messages, cuts) == windows(streams, messages, [])


def test_progress_of_a_source_of_one_target_is_what_it_was():
    former = Progress(5, 7, (3, 4))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(former)) == [5, 7, [3, 4], 0, None, 0, -1, 0, []]
    of_two = Progress(5, 7, (3, Lacking(4, ("hum",))))
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(of_two), type=Progress)
    assert again == of_two
    assert [again.lacks(t, ("temp", "hum")) for t in (3, 4, 5)] == [("temp", "hum"), ("hum",), ()]


def test_one_target_awaits_as_before():
    streams = catalog(ALONE)
    step: ArchiveStep[Record] = ArchiveStep(RecordWindows(streams.of_records), lambda _stream, _reason: None)
    step.step([Envelope(0, n, 0.0, Record("a", "k", n * HOUR_MS, {"y": None}, 0.0)) for n in range(3)])
    (state,) = step.snapshot(0).values()
    assert msgspec.msgpack.decode(state or b"", type=Progress).awaited == (0, HOUR_MS, 2 * HOUR_MS)


@pytest.mark.parametrize("columns", [{"temp": 1.0}, {"hum": 1.0}])
async def test_replayed_rows_of_one_stream_are_records_of_the_source(tmp_path: Path, columns: dict[str, object]):
    async with ingest(tmp_path, catalog(TEMPERATURE, HUMIDITY)) as door:
        answer = await door.client.post("/v1/records?stream=station&mapped=true", json=[row(0, **columns)])
        assert answer.json()["accepted"] == 1
        (record,) = await door.published(1)
        assert record.values == {"temp": None, "wind": None, "hum": None} | columns
