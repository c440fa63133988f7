"""One post, several streams: each record on the topic and in the archive once, each stream's blends as if alone."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.messages import FORECASTS, RECORDS, Blend, M, Topic
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline.streams.sources import joined
from driftline_cli.replay import chunks, post
from driftline_client import AsyncClient
from tests.edge.edge_process import EdgeProcess, Left, killed_at

pytestmark = pytest.mark.process

PATIENCE_S = 240
CLOSE = 1e-9
BEGIN_MS = 1_767_225_600_000
TARGETS = ("temperature", "humidity", "pressure")
BASE = """
time: {column: when, period: 10min}
key: device
lags: 6
horizon: [1, 6]
window: 50
"""
DEFINITION = f"name: station\ntargets: [{', '.join(TARGETS)}]\nfeatures: {{temperature: level, wind: level}}\n{BASE}"


def definition() -> StreamDefinition:
    return parse(DEFINITION, "station.yaml")


def put(folder: Path, *texts: str) -> dict[str, str]:
    """The settings of an edge with these definitions, and a store of its own."""
    streams = folder / "streams"
    streams.mkdir(parents=True)
    for number, text in enumerate(texts):
        (streams / f"{number}.yaml").write_text(text)
    return {"DRIFTLINE_STREAMS": str(streams), "DRIFTLINE_STORE": str(folder / "store")}


def records(source: StreamDefinition, keys: int, count: int) -> Rows:
    """`count` of each key, in turn, with values that wander."""
    n = np.arange(keys * count)
    values = np.random.default_rng(3).normal(size=(len(n), len(source.columns))).cumsum(0) / 10 + 15
    return Rows(np.array([f"d{key}" for key in n % keys]), BEGIN_MS + n // keys * 600_000, values)


def client(edge: EdgeProcess, service: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=edge.url(service), timeout=60)


async def send(edge: EdgeProcess, source: StreamDefinition, rows: Rows, at_once: int) -> None:
    async with AsyncClient(ingest=edge.url("ingest"), patience=60) as door:
        for part in chunks(rows, at_once):
            receipt = await post(door, source, part)
            assert receipt.refused_total + receipt.out_of_order == 0


async def blended(edge: EdgeProcess, streams: tuple[StreamDefinition, ...], rows: Rows) -> None:
    """Returns when the combiner shows the newest blend of every series of every stream."""
    newest = {str(key): int(t) for key, t in zip(rows.keys, rows.t, strict=True)}
    waiting = [(stream.name, key) for key in newest for stream in streams]
    async with client(edge, "combiner") as combiner, asyncio.timeout(PATIENCE_S):
        while waiting:
            stream, key = waiting[-1]
            answer = await combiner.get(f"/v1/blends/{stream}/{key}")
            if answer.is_success and answer.json()["t"] == newest[key]:
                waiting.pop()


Name = tuple[str, str, int]


def by_name(blends: list[Blend]) -> dict[Name, Blend]:
    return {(blend.stream, blend.key, blend.t): blend for blend in blends}


async def left_on(edge: EdgeProcess, topic: Topic[M]) -> list[M]:
    bus = EmbeddedBus(EmbeddedSettings(edge.data / "bus"))
    try:
        return [envelope.value for envelope in await bus.read(topic)]
    finally:
        await bus.close()


async def on_the_topic(edge: EdgeProcess) -> Counter[tuple[str, str, int]]:
    return Counter((record.stream, record.key, record.t) for record in await left_on(edge, RECORDS))


async def archived(store: FolderStore, stream: StreamDefinition) -> Counter[tuple[str, int]]:
    """How often each record is in the archive of the stream's source."""
    times: Counter[tuple[str, int]] = Counter()
    async for listed in store.list("windows/"):
        assert listed.key.startswith("windows/station/")
        content = tables.decode((await store.get(listed.key)).body, stream, listed.key, mapped=True)
        assert not np.isnan(content.values).any()
        times.update(zip(content.keys.tolist(), content.t.tolist(), strict=True))
    return times


async def alone(folder: Path, rows: Rows, source: StreamDefinition) -> dict[Name, Blend]:
    """What streams of sources of their own make of the same data, each sent by itself."""
    streams = definition().streams
    texts = []
    for stream in streams:
        features = ", ".join(f"{name}: level" for name in stream.columns[1:])
        texts.append(f"name: {stream.name}\ntarget: {stream.target}\nfeatures: {{{features}}}\n{BASE}")
    async with EdgeProcess(folder, put(folder, *texts)) as edge:
        await edge.all_ready()
        for text in texts:
            stream = parse(text, "alone.yaml")
            columns = [source.columns.index(name) for name in stream.columns]
            await send(edge, stream, Rows(rows.keys, rows.t, rows.values[:, columns]), 100)
        await blended(edge, streams, rows)
        await edge.end()
    return by_name(await Left(edge.data).blends())


async def test_killed_at_random_every_stream_of_a_source_is_forecast_once_and_as_if_alone(tmp_path: Path):
    streams, randomness = definition().streams, random.Random(2)
    source = joined(streams)
    rows = records(source, keys=3, count=120)
    async with EdgeProcess(tmp_path / "one", put(tmp_path / "one", DEFINITION)) as edge:
        over = asyncio.Event()
        moments = [randomness.uniform(0.02, 0.6) for _ in range(3)]
        killing = asyncio.create_task(killed_at(edge, moments, over))
        await send(edge, source, rows.take(slice(0, -3)), 3)
        over.set()
        assert await killing >= 2, "it ended before it could be killed"
        await edge.all_ready()
        await send(edge, source, rows.take(slice(-3, None)), 3)
        await blended(edge, streams, rows)
        await edge.end()
        assert "Traceback" not in edge.log
    sent = Counter((str(key), int(t)) for key, t in zip(rows.keys, rows.t, strict=True))
    assert set(await on_the_topic(edge)) == {("station", *name) for name in sent}
    blends = await Left(edge.data).blends()
    assert Counter((blend.stream, blend.key, blend.t) for blend in blends) == {
        (stream.name, *name): 1 for name in sent for stream in streams
    }
    # Two whole windows of each series.
    assert await archived(FolderStore(tmp_path / "one" / "store"), streams[1]) == {
        name: 1 for name in sent if name[1] < BEGIN_MS + 100 * 600_000
    }
    expected = await alone(tmp_path / "alone", rows, source)
    for name, blend in by_name(blends).items():
        assert blend.value == pytest.approx(expected[name].value, abs=CLOSE), name
        assert blend.lower == pytest.approx(expected[name].lower, abs=CLOSE), name


async def test_a_thousand_devices_of_three_targets(tmp_path: Path):
    streams = definition().streams
    source = joined(streams)
    rows = records(source, keys=1000, count=2)
    async with EdgeProcess(tmp_path, put(tmp_path, DEFINITION)) as edge:
        await edge.all_ready()
        await send(edge, source, rows, 500)
        await blended(edge, streams, rows)
        await edge.end()
        assert "Traceback" not in edge.log
    assert set((await on_the_topic(edge)).values()) == {1}
    assert len(by_name(await Left(edge.data).blends())) == 3 * len(rows)


async def test_a_target_that_comes_later_and_alone_is_the_truth_of_its_own_stream(tmp_path: Path):
    streams = definition().streams
    async with EdgeProcess(tmp_path, put(tmp_path, DEFINITION)) as edge:
        await edge.all_ready()
        async with client(edge, "ingest") as door:
            for body in (
                {"temperature": 1.0, "humidity": None, "pressure": 3.0, "wind": 4.0},
                {"humidity": 2.0},
            ):
                row = {"when": "2026-01-01T00:00:00Z", "device": "d", **body}
                assert (await door.post("/v1/records?stream=station", json=row)).json()["accepted"] == 1
        await blended(edge, streams, Rows(np.array(["d"]), np.array([BEGIN_MS]), np.empty((1, 4))))
        await edge.end()
    observed: dict[str, list[float | None]] = {}
    for forecast in await left_on(edge, FORECASTS):
        observed.setdefault(forecast.stream, []).append(forecast.observed)
    assert observed == {
        "station-temperature": [1.0],
        "station-humidity": [None, 2.0],
        "station-pressure": [3.0],
    }
