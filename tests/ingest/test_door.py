"""The door over a real app: what a client sends, and what it gets back."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import stamina
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from driftline.bus.memory import MemoryBus
from driftline.errors import BusUnavailable
from driftline.messages import RECORDS, M, Record, Topic
from driftline.store.folder import FolderStore
from driftline.streams.definition_files import parse
from driftline_client import AsyncClient
from driftline_ingest.app import create_app
from driftline_ingest.parsing import PARSERS
from driftline_ingest.settings import IngestSettings

STREAM = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\n", "a.yaml")
JSON = {"Content-Type": "application/json"}
PATIENCE_S = 10


def row(hour: int, y: object = 1.0, key: str = "k") -> dict[str, object]:
    return {"when": f"2015-01-01T{hour:02d}:00:00Z", "id": key, "y": y}


class AwayBus(MemoryBus):
    """A real bus whose broker can go away."""

    away = False

    async def publish(self, topic: Topic[M], messages: Sequence[M]) -> None:
        if self.away:
            raise BusUnavailable("the broker does not answer")
        await super().publish(topic, messages)

    async def check(self) -> None:
        if self.away:
            raise BusUnavailable("the broker does not answer")


@pytest.fixture
def bus() -> AwayBus:
    return AwayBus(1)


def build(bus: MemoryBus, folder: Path, **changes: Any) -> FastAPI:
    return create_app(
        IngestSettings(body_limit=2000, rows_limit=100, **changes), bus, FolderStore(folder), streams={"a": STREAM}
    )


@pytest.fixture
async def client(bus: AwayBus, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = build(bus, tmp_path)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
            yield client


async def published(bus: MemoryBus, count: int) -> list[Record]:
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(bus.tail(RECORDS, earliest=True)) as pages:
        async for page in pages:
            found += [envelope.value for envelope in page]
            if len(found) >= count:
                return found
    raise AssertionError("unreachable")


async def test_rows_of_every_content_type_are_published(client: httpx.AsyncClient, bus: AwayBus):
    bodies = {
        "application/json": msgspec.json.encode([row(0)]),
        "application/x-ndjson": msgspec.json.encode(row(1)) + b"\n",
        "application/jsonl": msgspec.json.encode(row(2)),
        "text/csv": b"when,id,y\n2015-01-01T03:00:00Z,k,1.0\n",
    }
    for kind, body in bodies.items():
        answer = await client.post("/v1/records", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 202, answer.text
        assert answer.json()["accepted"] == 1
    assert [record.t // 3_600_000 % 24 for record in await published(bus, 4)] == [0, 1, 2, 3]
    assert set(bodies) == set(PARSERS)


async def test_good_rows_are_taken_and_bad_ones_listed(client: httpx.AsyncClient):
    answer = await client.post("/v1/records?stream=a", json=[row(0), row(1, "x"), row(2, None)])
    assert answer.status_code == 202
    assert answer.json() == {
        "accepted": 2,
        "repeated": 0,
        "out_of_order": 0,
        "refused_total": 1,
        "refused": [
            {
                "row": 2,
                "column": "y",
                "found": "'x'",
                "expected": "a number between -1e+30 and 1e+30, or null for a missing value",
            }
        ],
    }


async def test_late_rows_are_accepted_and_repeated_ones_dropped_and_counted(client: httpx.AsyncClient, bus: AwayBus):
    answer = (await client.post("/v1/records", json=[row(1), row(2)])).json()
    assert "late" not in answer
    answer = (await client.post("/v1/records", json=[row(2), row(1), row(3), row(3)])).json()
    assert (answer["accepted"], answer["repeated"], answer["out_of_order"]) == (1, 3, 0)
    answer = (await client.post("/v1/records", json=row(0))).json()
    assert (answer["accepted"], answer["late"], answer["repeated"], answer["out_of_order"]) == (1, 1, 0, 0)
    assert len(await published(bus, 4)) == 4
    metrics = (await client.get("/metrics")).text
    assert 'driftline_records_dropped_total{reason="repeated",stream="a"} 3.0' in metrics


@pytest.mark.parametrize(
    ("bounds", "beyond"),
    [("[0, 10]", 2), ("[null, 10]", 1), ("[0, null]", 1), ("{y: [0, 10]}", 2), (None, 0)],
)
async def test_readings_beyond_the_range_are_taken_and_counted(bus: AwayBus, tmp_path: Path, bounds, beyond: int):
    ranged = f"range: {bounds}\n" if bounds else ""
    stream = parse(f"name: a\ntime: {{column: when, period: 1h}}\nkey: id\ntarget: y\n{ranged}", "a.yaml")
    app = create_app(IngestSettings(), bus, FolderStore(tmp_path), streams={"a": stream})
    async with app.router.lifespan_context(app), AsyncClient(transport=httpx.ASGITransport(app)) as client:
        rows = [row(hour, y) for hour, y in enumerate((-0.1, 0, None, 10, 10.1))]
        for _ in range(2):  # what comes again is not counted again
            await client.send("a", rows)
        assert f'driftline_readings_beyond_range_total{{stream="a"}} {beyond}.0' in await client.metrics("ingest")


async def test_when_a_record_came_last_and_how_often_one_must_is_told(client: httpx.AsyncClient):
    before = (await client.get("/metrics")).text
    assert 'driftline_stream_period_seconds{stream="a"} 3600.0' in before
    assert "driftline_last_record_timestamp_seconds{" not in before
    began = time.time()
    await client.post("/v1/records", json=row(1))
    told = text_string_to_metric_families((await client.get("/metrics")).text)
    (sample,) = next(f for f in told if f.name == "driftline_last_record_timestamp_seconds").samples
    assert began <= sample.value <= time.time()


async def test_a_target_that_was_missing_may_come_later(client: httpx.AsyncClient):
    await client.post("/v1/records", json=row(1, None))
    assert (await client.post("/v1/records", json=row(1, 5.0))).json()["accepted"] == 1
    assert (await client.post("/v1/records", json=row(1, 5.0))).json()["repeated"] == 1


@pytest.mark.parametrize(
    ("body", "headers", "status", "said"),
    [
        (b"{", JSON, 400, "broken JSON"),
        (b"x" * 2001, JSON, 413, "found more than 2000 bytes"),
        (b"<a/>", {"Content-Type": "text/xml"}, 415, "expected one of application/json"),
        (b"{}", {}, 415, "found content type ''"),
        (b'[{"a": 1}]', JSON, 422, "this column; a missing value is null"),
        (b"[1]", JSON, 422, "an object of column names and values"),
        (b"[" + b"1," * 100 + b"1]", JSON, 413, "found 101 rows, expected at most 100 in one request"),
    ],
)
async def test_bad_input_gets_its_own_answer(client, body: bytes, headers: dict[str, str], status: int, said: str):
    answer = await client.post("/v1/records", content=body, headers=headers)
    assert answer.status_code == status
    assert said in answer.text


async def test_a_body_that_never_ends_is_cut_off_at_the_limit(client: httpx.AsyncClient):
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 1000:
            sent += 1
            yield b" " * 1000

    answer = await client.post("/v1/records", content=endless(), headers=JSON)
    assert answer.status_code == 413


async def test_what_is_no_post_to_a_door_goes_the_usual_way(client: httpx.AsyncClient):
    assert (await client.get("/v1/records")).status_code == 405
    assert (await client.post("/v1/record")).status_code == 404
    documented = (await client.get("/openapi.json")).json()["paths"]
    assert {"/v1/records", "/v1/futures"} <= documented.keys()


async def test_an_unknown_stream_is_told_the_known_ones(client: httpx.AsyncClient):
    answer = await client.post("/v1/records?stream=b", json=row(1))
    assert (answer.status_code, answer.json()["detail"]) == (422, "found stream 'b', expected ?stream= with one of a")


async def test_nothing_is_acknowledged_while_the_broker_is_away_and_all_of_it_later(client, bus: AwayBus):
    bus.away = True
    answer = await client.post("/v1/records", json=row(1))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert (await client.get("/readyz")).status_code == 503
    bus.away = False
    assert (await client.post("/v1/records", json=row(1))).json()["accepted"] == 1
    assert (await client.get("/readyz")).status_code == 200


async def test_a_token_is_asked_for_where_one_is_set(bus: AwayBus, tmp_path: Path):
    app = build(bus, tmp_path, token="s3cret")  # noqa: S106
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        for given_ in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
            answer = await client.post("/v1/records", json=row(1), headers=given_)
            assert answer.status_code == 401
            assert "s3cret" not in answer.text
        answer = await client.post("/v1/records", json=row(1), headers={"Authorization": "Bearer s3cret"})
        assert answer.status_code == 202


@pytest.mark.parametrize("token", [None, "s3cret"])
async def test_who_sends_more_than_it_may_is_told_when_to_come_again(bus: AwayBus, tmp_path: Path, token: str | None):
    app = build(bus, tmp_path, token=token, rate=0.01, rate_burst=3)
    header = {"Authorization": f"Bearer {token}"}

    def sender(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app, client=(address, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://ingest", headers=header)

    async with sender("10.0.0.1") as one, sender("10.0.0.2") as other:
        assert (await one.post("/v1/records", json=[row(hour) for hour in range(4)])).json()["accepted"] == 4
        refused = await one.post("/v1/records", json=row(5))
        assert refused.status_code == 429
        assert 90 <= int(refused.headers["Retry-After"]) <= 100
        assert "found more rows than a sender may send" in refused.json()["detail"]
        elsewhere = await other.post("/v1/records", json=row(5))
        assert elsewhere.status_code == (202 if token is None else 429)
        told = (await one.get("/metrics")).text
        assert f"driftline_requests_limited_total {1.0 if token is None else 2.0}" in told


async def test_broken_bodies_count_too(bus: AwayBus, tmp_path: Path):
    app = build(bus, tmp_path, rate=0.01, rate_burst=3)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        answers = [(await client.post("/v1/records", content=b"{", headers=JSON)).status_code for _ in range(5)]
    assert answers == [400, 400, 400, 400, 429]


KINDS = st.sampled_from([*PARSERS, "text/plain", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(["when", "id", "y", "z"]), v, max_size=4),
    max_leaves=10,
)
BODIES = st.binary(max_size=300) | VALUES.map(msgspec.json.encode)


@given(KINDS, BODIES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_gets_more_than_a_documented_answer(tmp_path: Path, kind: str, body: bytes):
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(build(MemoryBus(1), tmp_path))
        async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
            return await client.post("/v1/records", content=body, headers={"Content-Type": kind})

    answer = asyncio.run(ask())
    assert answer.status_code in {202, 400, 413, 415, 422}
    assert isinstance(answer.json(), dict)
    assert "Traceback" not in answer.text


LIMITED = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nkeys: 2\n", "a.yaml")


def limited(bus: MemoryBus, folder: Path) -> FastAPI:
    return create_app(IngestSettings(checkpoint_every=0.05), bus, FolderStore(folder), streams={"a": LIMITED})


async def test_a_key_beyond_the_limit_is_refused_also_after_a_restart(bus: AwayBus, tmp_path: Path):
    for start in range(2):
        app = limited(bus, tmp_path)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
                if start:
                    await known(client, 2)
                else:
                    answer = await client.post("/v1/records", json=[row(0, key="k"), row(0, key="m"), row(0, key="n")])
                    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
                answer = await client.post("/v1/records", json=row(1 + start, key="n"))
                assert answer.status_code == 422
                assert answer.json()["refused"] == [
                    {
                        "row": 1,
                        "column": "id",
                        "found": "'n'",
                        "expected": "one of the 2 keys that the stream may have (`keys`)",
                    }
                ]
                assert (await client.post("/v1/records", json=row(1 + start, key="k"))).status_code == 202
                metrics = (await client.get("/metrics")).text
                assert f'driftline_keys_refused_total{{stream="a"}} {2 - start}.0' in metrics
                assert 'driftline_keys_limit{stream="a"} 2.0' in metrics


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.05, wait_max=0.1)
async def known(client: httpx.AsyncClient, keys: int) -> None:
    assert f'driftline_keys{{stream="a"}} {keys}.0' in (await client.get("/metrics")).text


async def test_a_row_that_is_no_record_is_refused_once(bus: AwayBus, tmp_path: Path):
    app = limited(bus, tmp_path)
    transport = httpx.ASGITransport(app)
    rows = [row(0, key="k"), row(0, key="m"), row(0, "x", key="n"), row(1, key="n")]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://ingest") as client,
    ):
        answer = (await client.post("/v1/records", json=rows)).json()
    assert (answer["accepted"], answer["refused_total"]) == (2, 2)
    assert [refused["column"] for refused in answer["refused"]] == ["y", "id"]


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


class Clock:
    """Shows what it is set to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def door_at(clock: Clock, bus: MemoryBus, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(IngestSettings(), bus, FolderStore(folder), streams={"a": STREAM}, clock=clock)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://ingest") as client:
            yield client


async def test_one_record_of_2099_silences_nobody(bus: AwayBus, tmp_path: Path):
    future = row(0) | {"when": "2099-12-31T00:00:00Z"}
    async with door_at(Clock(NOON), bus, tmp_path) as client:
        answer = (await client.post("/v1/records", json=[future, *(row(hour) for hour in range(19))])).json()
        assert (answer["accepted"], answer["refused_total"]) == (19, 1)
        (refused,) = answer["refused"]
        assert (refused["row"], refused["found"]) == (1, "'2099-12-31T00:00:00.000Z'")
        assert "2026-03-01T13:00:00.000Z" in refused["expected"]
        assert (await client.post("/v1/records", json=future)).status_code == 422


async def test_a_clock_that_nobody_has_set_refuses_no_record_for_good(bus: AwayBus, tmp_path: Path, caplog):
    clock = Clock(5.0)
    async with door_at(clock, bus, tmp_path) as client:
        for _ in range(2):
            answer = await client.post("/v1/records", json=row(1))
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
            assert "found 1970-01-01T00:00:05.000Z, expected a time after 2025" in answer.json()["detail"]
        asked = await client.get("/readyz")
        assert (asked.status_code, asked.json()["checks"]["clock"]) == (503, answer.json()["detail"])
        clock.now = NOON
        assert (await client.post("/v1/records", json=row(1))).json()["accepted"] == 1
        assert (await client.get("/readyz")).json()["checks"]["clock"] == "ok"
    said = [record.message for record in caplog.records if "clock" in record.message]
    assert len(said) == 2, "once when it was not believed, and once when it was"


async def test_a_clock_set_back_an_hour_stops_no_door(bus: AwayBus, tmp_path: Path):
    clock = Clock(NOON)
    async with door_at(clock, bus, tmp_path) as client:
        assert (await client.post("/v1/records", json=row(1))).status_code == 202
        clock.now -= 3600
        assert (await client.post("/v1/records", json=row(2))).json()["accepted"] == 1


async def test_an_answer_that_accepts_nothing_says_why(client: httpx.AsyncClient):
    await client.post("/v1/records", json=[row(1), row(2), row(5)])
    long_ago = row(1) | {"when": "2014-11-01T00:00:00Z"}
    answer = (await client.post("/v1/records", json=[row(1), row(2), long_ago])).json()
    assert (answer["accepted"], answer["repeated"], answer["out_of_order"]) == (0, 2, 1)
    assert answer["detail"] == (
        "nothing new: 2 repeated, 1 out of order; the newest record of 'k' is of 2015-01-01T05:00:00.000Z"
    )
    assert "detail" not in (await client.post("/v1/records", json=[row(5), row(6)])).json()
    assert "detail" not in (await client.post("/v1/records", json=[])).json()


async def test_a_client_that_sends_again_what_it_sent_long_ago_learns_that_it_is_repeated(client: httpx.AsyncClient):
    rows = [row(hour) for hour in range(20)]
    await client.post("/v1/records", json=rows)
    answer = (await client.post("/v1/records", json=rows)).json()
    assert (answer["accepted"], answer["repeated"], answer["out_of_order"]) == (0, 20, 0)
