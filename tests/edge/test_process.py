"""The edge as a real process: one bus, three doors, and nothing acknowledged that is lost or done twice."""

import asyncio
import json
import random
import socket
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from driftline.messages import Blend
from driftline.service.run import STARTUP_FAILURE
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from driftline_cli.replay import chunks, post
from driftline_client import AsyncClient
from tests.conftest import ROOT
from tests.edge.edge_process import EdgeProcess, Left, killed_at

pytestmark = pytest.mark.process
KEYS = 5
RECORDS = 1000
PATIENCE_S = 60
CLOSE = 1e-9


@pytest.fixture(scope="module")
def stream() -> StreamDefinition:
    return load(ROOT / "streams" / "outdoor-temperature.yaml")


def records(stream: StreamDefinition, count: int) -> Rows:
    """Of several series in turn, with values that wander."""
    n = np.arange(count)
    values = np.random.default_rng(7).normal(size=(count, len(stream.columns))).cumsum(0) / 10 + 15
    t = 1_420_070_400_000 + n // KEYS * stream.time.period * 1000
    return Rows(np.array([f"sensor-{key}" for key in n % KEYS]), t, values)


async def send(edge: EdgeProcess, stream: StreamDefinition, rows: Rows, at_once: int) -> None:
    """Returns when all are acknowledged, however often the process is killed meanwhile."""
    async with AsyncClient(ingest=edge.url("ingest"), patience=60) as client:
        for part in chunks(rows, at_once):
            receipt = await post(client, stream, part)
            assert receipt.refused_total + receipt.out_of_order == 0


def names(rows: Rows) -> Counter[tuple[str, int]]:
    """Each once."""
    return Counter((str(key), int(t)) for key, t in zip(rows.keys, rows.t, strict=True))


def by_name(blends: list[Blend]) -> dict[tuple[str, int], Blend]:
    return {(blend.key, blend.t): blend for blend in blends}


async def blended(edge: EdgeProcess, stream: StreamDefinition, rows: Rows) -> None:
    """Returns when the combiner shows the newest blend of every series. It shows what it blended since its start."""
    newest = {str(key): int(t) for key, t in zip(rows.keys, rows.t, strict=True)}
    async with httpx.AsyncClient(base_url=edge.url("combiner"), timeout=30) as client, asyncio.timeout(PATIENCE_S):
        while newest:
            for key, t in list(newest.items()):
                answer = await client.get(f"/v1/blends/{stream.name}/{key}")
                if answer.is_success and answer.json()["t"] == t:
                    del newest[key]


async def undisturbed(folder: Path, stream: StreamDefinition, rows: Rows) -> dict[tuple[str, int], Blend]:
    async with EdgeProcess(folder) as edge:
        await edge.all_ready()
        await send(edge, stream, rows, 50)
        await blended(edge, stream, rows)
    return by_name(await Left(edge.data).blends())


async def test_killed_at_random_it_forecasts_and_blends_every_acknowledged_record_once(
    tmp_path: Path, stream: StreamDefinition
):
    rows, randomness = records(stream, RECORDS), random.Random(1)
    (tmp_path / "calm").mkdir()
    async with EdgeProcess(tmp_path) as edge:
        over = asyncio.Event()
        moments = [randomness.uniform(0.02, 0.6) for _ in range(6)]
        killing = asyncio.create_task(killed_at(edge, moments, over))
        await send(edge, stream, rows.take(slice(0, -KEYS)), 5)
        over.set()
        assert await killing >= 3, "it ended before it could be killed"
        await edge.all_ready()
        await send(edge, stream, rows.take(slice(-KEYS, None)), KEYS)
        await blended(edge, stream, rows)
        assert await edge.end() == -15
    left = Left(edge.data)
    assert await left.forecasts() == names(rows)
    blends = await left.blends()
    assert Counter((blend.key, blend.t) for blend in blends) == names(rows)
    expected = await undisturbed(tmp_path / "calm", stream, rows)
    for name, blend in by_name(blends).items():
        assert blend.value == pytest.approx(expected[name].value, abs=CLOSE)
        assert blend.weights == {m: pytest.approx(row, abs=CLOSE) for m, row in expected[name].weights.items()}


async def test_ended_in_the_middle_it_goes_on_where_it_was(tmp_path: Path, stream: StreamDefinition):
    rows = records(stream, 400)
    async with EdgeProcess(tmp_path) as edge:
        await edge.all_ready()
        await send(edge, stream, rows.take(slice(0, 300)), 300)
        # At once, so that most of it was not blended yet.
        assert await edge.end() == -15
        await edge.__aenter__()
        await edge.all_ready()
        await send(edge, stream, rows.take(slice(300, None)), 100)
        await blended(edge, stream, rows)
        await edge.end()
        assert "Traceback" not in edge.log
    left = Left(edge.data)
    assert await left.forecasts() == names(rows)
    assert Counter((blend.key, blend.t) for blend in await left.blends()) == names(rows)


async def test_each_service_has_its_own_door_metrics_and_name_in_the_log(tmp_path: Path, stream: StreamDefinition):
    rows = records(stream, 10)
    async with EdgeProcess(tmp_path, {"DRIFTLINE_LOG_LEVEL": "debug"}) as edge:
        await edge.all_ready()
        await send(edge, stream, rows, 10)
        await blended(edge, stream, rows)
        groups = {}
        async with httpx.AsyncClient(timeout=60) as client:
            for service in edge.ports:
                assert (await client.get(f"{edge.url(service)}/livez")).json() == {"status": "ok"}
                families = text_string_to_metric_families((await client.get(f"{edge.url(service)}/metrics")).text)
                samples = [sample for family in families for sample in family.samples]
                sent = [sample for sample in samples if sample.name == "driftline_messages_read_total"]
                groups[service] = {sample.labels["group"] for sample in sent}
    assert groups["inference"] == {"inference"}
    assert groups["combiner"] == {"combiner"}
    assert groups["ingest"] <= {"ingest-windows", "ingest-results"}
    lines = [json.loads(line) for line in edge.log.splitlines()]
    running = {line["service"] for line in lines if line["message"].startswith("Uvicorn running")}
    assert running == {"ingest", "inference", "combiner"}
    assert {line["service"] for line in lines if line["logger"].startswith("driftline_inference")} == {"inference"}


async def test_a_second_one_on_the_same_folder_ends_with_a_sentence(tmp_path: Path):
    async with EdgeProcess(tmp_path) as edge:
        await edge.ready()
        (tmp_path / "second").mkdir()
        async with EdgeProcess(tmp_path / "second", {"DRIFTLINE_DATA": str(edge.data)}) as second:
            assert await second.ended() == 3
        (said,) = [line for line in second.log.splitlines() if not line.startswith("{")]
        assert said == (
            f"{edge.data / 'bus'}: the process {edge.pid} uses this folder, and only one may: end that, or choose "
            "another folder"
        )
        assert (await edge.readiness())["ready"]


async def test_wrong_settings_end_it_with_a_line_each(tmp_path: Path):
    wrong = {"DRIFTLINE_PORT": "8000", "DRIFTLINE_COMBINER_PORT": "high", "DRIFTLINE_STORE": "gs://bucket"}
    async with EdgeProcess(tmp_path, wrong) as edge:
        assert await edge.ended() == 1
    said = edge.log.splitlines()
    assert sorted(line.split(":")[0] for line in said) == sorted(wrong)


async def test_a_data_folder_that_is_no_folder_is_named(tmp_path: Path):
    (tmp_path / "edge").write_text("in the way")
    async with EdgeProcess(tmp_path) as edge:
        assert await edge.ended() == 3
    assert f"{tmp_path / 'edge' / 'bus'}: " in edge.log
    assert "Traceback" not in edge.log


async def test_a_taken_port_is_said_in_a_line(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with EdgeProcess(tmp_path, {"DRIFTLINE_COMBINER_PORT": str(port)}) as edge:
            assert await edge.ended() == STARTUP_FAILURE
    (said,) = [line for line in edge.log.splitlines() if "address already in use" in line]
    assert str(port) in said
    assert "Traceback" not in edge.log
