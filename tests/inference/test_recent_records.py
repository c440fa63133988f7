"""Forecasts from records that a client sends are those that the edge makes of the same records."""

import json
from collections.abc import AsyncIterator, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pytest
import tritonclient.http.aio as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

from driftline.arrays import Floats
from driftline.errors import InvalidInput
from driftline.messages import Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.features import Inputs
from driftline.streams.tables import read_file
from driftline_inference.recent_records import RECORDS_LIMIT, recent_series
from driftline_inference.step import ForecastStep
from tests.conftest import ROOT
from tests.inference.conftest import app_of, put
from tests.models import Models
from tests.serving import served

HOUR = 3_600_000
BEGIN = 1_767_225_600_000
PLAIN = (
    "name: tank\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {x: level}\nlags: 3\nhorizon: [1, 2]\n"
)
KINDS = {
    "alone": parse(PLAIN, "a"),
    "with neighbours": parse(f"{PLAIN}group: site\n", "b"),
    "known ahead": parse(f"{PLAIN}futures: {{f: level}}\n", "c"),
}


class Weighing:
    """A model that says something of all of its inputs."""

    version = "v1"

    def __init__(self) -> None:
        self.skills: list[float] = []

    def forecast(self, inputs: Inputs) -> Floats:
        weights = np.arange(1, inputs.net.shape[1] + 1) / inputs.net.shape[1]
        sums = (inputs.net.astype(np.float64) * weights).sum(axis=1)
        forecasts = inputs.last[:, None] + np.stack([sums, -sums], axis=1)
        return np.where(inputs.ready[:, None], forecasts, np.nan)


def iso(t: int) -> str:
    return str(np.datetime64(t, "ms")) + "Z"


def rows(stream: StreamDefinition, ticks: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """Of two series the same periods."""
    random = np.random.default_rng(seed)
    site = {"site": "north"} if stream.group else {}
    return [
        {"when": iso(BEGIN + tick * HOUR), "id": key, "y": random.normal(), "x": random.normal(), **site}
        for tick in ticks
        for key in ("a", "b")
    ]


def futures(ticks: Sequence[int]) -> list[dict[str, Any]]:
    return [
        {"issued": iso(BEGIN + (tick - 1) * HOUR), "when": iso(BEGIN + tick * HOUR), "id": "a", "f": float(tick % 7)}
        for tick in ticks
    ]


def message(stream: StreamDefinition, row: dict[str, Any]) -> Record:
    t = int(np.datetime64(row["when"].removesuffix("Z"), "ms").astype(np.int64))
    if "issued" in row:
        issued = int(np.datetime64(row["issued"].removesuffix("Z"), "ms").astype(np.int64))
        return Record(stream.name, row["id"], t, {"f": row["f"]}, 0.0, issued=issued)
    return Record(stream.name, row["id"], t, {"y": row["y"], "x": row["x"]}, 0.0, row.get("site", ""))


def of_the_edge(stream: StreamDefinition, messages: Sequence[Record]) -> dict[str, Forecast]:
    """The last forecast of each series, of a step that has had the messages one by one."""
    step = ForecastStep(stream, lambda: {(stream.name, "batch"): Weighing()})
    newest = {}
    for one in messages:
        if one.issued is not None:
            step.foresee(one)
            continue
        for _, made in (emission for part in step.work([one]) for emission in part):
            if isinstance(made, Forecast):
                newest[made.key] = made
    return newest


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_it_forecasts_what_the_edge_does(kind: str, data: st.DataObject):
    stream = KINDS[kind]
    ticks = sorted(data.draw(st.sets(st.integers(0, 300), min_size=1, max_size=40), "ticks"))
    ticks += [ticks[-1] + n for n in range(1, stream.lags + 1)]
    given_rows = rows(stream, ticks, data.draw(st.integers(0, 2**32 - 1), "seed"))
    ahead = futures(ticks[1:]) if stream.futures else []
    # Each future comes after the record with which it was issued became known, and before the next.
    order = sorted([*given_rows, *ahead], key=lambda row: (row["issued"], 0) if "issued" in row else (row["when"], 1))
    expected = of_the_edge(stream, [message(stream, row) for row in order])
    # Of neighbours it makes a difference which of one time comes first.
    shuffled = sorted(given_rows, key=lambda row: row["when"], reverse=True)
    series = recent_series(stream, [json.dumps(row) for row in shuffled], [json.dumps(row) for row in ahead])
    forecasts = dict(zip(series.keys, series.forecast(Weighing()).tolist(), strict=True))
    assert set(forecasts) == set(expected) == {"a", "b"}
    newest_of_group = max(expected)
    for key, forecast in expected.items():
        # Of neighbours the one that came last saw the other's newest record; the other one sees it here, too.
        if kind != "with neighbours" or key == newest_of_group:
            np.testing.assert_allclose(forecasts[key], forecast.members["batch"], rtol=1e-3, atol=1e-3)
    times = dict(zip(series.keys, series.times.tolist(), strict=True))
    assert times["a"] == [BEGIN + (ticks[-1] + h) * HOUR for h in (1, 2)]


@pytest.mark.parametrize(
    ("given_rows", "ahead", "message"),
    [
        (["{"], [], "records: row 1: expected a JSON object"),
        (["[]"], [], r"records: row 1: found \[\], expected an object"),
        (['{"when": "2026-01-01T00:00:00Z", "id": "a"}'], [], "records: row 1: y: found nothing"),
        (['{"when": "x", "id": "a", "y": 1}'], [], "records: row 1: when: found 'x'"),
        (['{"when": "2026-01-01T00:00:00Z", "id": "a", "y": "high"}'], [], "records: row 1: y: found 'high'"),
        (['{"when": "2026-01-01T00:00:00Z", "id": "a", "y": 1}'] * 2, [], "records: found two of 'a' at 2026-01-01"),
        (['{"when": "2026-01-01T00:00:00Z", "id": "a", "y": 1}'], ["{}"], "futures: found 1, expected none"),
    ],
)
def test_what_is_no_record_is_refused_by_its_row(given_rows: list[str], ahead: list[str], message: str):
    with pytest.raises(InvalidInput, match=message):
        recent_series(KINDS["alone"], given_rows, ahead)


def test_too_few_records_are_told():
    series = recent_series(KINDS["alone"], [json.dumps(row) for row in rows(KINDS["alone"], [0, 1], 1)])
    with pytest.raises(InvalidInput, match="found too little of 'a' to forecast from, expected the newest 3 periods"):
        series.forecast(Weighing())


def test_readings_are_put_on_the_grid_first():
    stream = parse(PLAIN.replace("lags: 3", "lags: 3\ngrid: {grace: 1}"), "g")
    readings = [
        {"when": iso(BEGIN + minute * 60_000), "id": "a", "y": float(minute // 60), "x": 1.0}
        for minute in range(0, 301, 10)
    ]
    series = recent_series(stream, [json.dumps(row) for row in readings])
    assert series.keys == ["a"]
    # The mean of 2:10 to 3:00: later periods may still get readings, since the grid waits for one more.
    assert series.inputs.last.tolist() == pytest.approx([(5 * 2 + 3) / 6])
    assert series.times.tolist() == [[BEGIN + 4 * HOUR, BEGIN + 5 * HOUR]]


@pytest.fixture
async def client(store, stream: StreamDefinition, versions) -> AsyncIterator[triton.InferenceServerClient]:
    await put(store, stream, versions[0])
    app = app_of(store, stream)
    await Models.of(app).reconcile()
    async with served(app) as address, triton.InferenceServerClient(address) as opened:
        yield opened


def real_rows(stream: StreamDefinition, count: int) -> list[str]:
    table = read_file(ROOT / "data" / "la-haute-borne.parquet", stream)
    of_key = table.take(table.keys == "R80711").take(slice(0, count))
    named = [dict(zip(stream.columns, values, strict=True)) for values in of_key.values.tolist()]
    return [
        json.dumps({stream.time.column: iso(t), stream.key: "R80711", **{n: v for n, v in row.items() if isfinite(v)}})
        for t, row in zip(of_key.t.tolist(), named, strict=True)
    ]


@pytest.mark.parametrize("binary", [True, False])
async def test_a_client_sends_recent_records_and_gets_forecasts(client, stream: StreamDefinition, *, binary: bool):
    texts = real_rows(stream, 200)
    data = np.array([text.encode() for text in texts], dtype=np.object_)
    tensor = triton.InferInput("records", [len(texts)], "BYTES").set_data_from_numpy(data, binary_data=binary)
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("key", "time", "forecast")]
    result = await client.infer("outdoor-temperature.batch.records", [tensor], outputs=wanted)
    assert [bytes(key) if binary else key.encode() for key in result.as_numpy("key")] == [b"R80711"]
    (newest,) = (json.loads(text) for text in texts[-1:])
    last = int(np.datetime64(newest[stream.time.column].removesuffix("Z"), "ms").astype(np.int64))
    assert result.as_numpy("time").tolist() == [[last + 1000 * stream.time.period * h for h in stream.horizon]]
    assert abs(result.as_numpy("forecast")[0, 0] - newest[stream.target]) < 2.0


async def test_a_request_that_is_none_of_records_is_refused(client):
    tensor = triton.InferInput("input", [1], "BYTES").set_data_from_numpy(np.array([b"{}"], dtype=np.object_))
    with pytest.raises(InferenceServerException, match=r"found \['input'\], expected 'records'"):
        await client.infer("outdoor-temperature.batch.records", [tensor])
    many = np.array([b"{}"] * (RECORDS_LIMIT + 1), dtype=np.object_)
    tensor = triton.InferInput("records", [len(many)], "BYTES").set_data_from_numpy(many)
    with pytest.raises(
        InferenceServerException, match=rf"records: found shape \[{len(many)}\], expected \[1 to 4096\]"
    ):
        await client.infer("outdoor-temperature.batch.records", [tensor])
