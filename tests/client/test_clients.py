"""Both clients against real services: records in; forecasts, live events, scores, models and problems out."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from itertools import count
from typing import Any

import httpx
import pytest
import stamina

from driftline.bus.memory import MemoryBus
from driftline.messages import FORECASTS, Forecast
from driftline.store.folder import FolderStore
from driftline.streams.definition_files import parse
from driftline_client import (
    AsyncClient,
    BadRequest,
    Busy,
    Client,
    Forbidden,
    LiveBlend,
    NoAnswer,
    NoSuchThing,
    RefusedRecord,
    StrangeAnswer,
)
from driftline_client.calls.call import Call, get
from driftline_client.gathering import gathered
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings
from tests.serving import served

BEGIN = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
PERIOD = 600_000
RECORDS_KNOWN = 40
KEYS = [f"k{number}" for number in range(5)]
DEFINITION = (
    "name: sun\ntime: {column: when, period: 10min}\nkey: id\ntarget: power\nhorizon: [1, 6]\n"
    "range: [0, 3000]\ncolumns: {power: {unit: kW}}\n"
)
TOKEN = "a-token-of-the-tests-own"  # noqa: S105


def forecast(key: str, n: int) -> Forecast:
    level = 100 + n % 3
    return Forecast("sun", key, BEGIN + n * PERIOD, level, [1, 6], {"persistence": [level] * 2}, {}, 0.0)


def row(n: int, key: str = "k0", **other: Any) -> dict[str, Any]:
    return {"when": datetime(2026, 1, 1, tzinfo=UTC) + n * timedelta(minutes=10), "id": key, "power": n, **other}


@dataclass
class Site:
    """addresses: of ingest and combiner. run: has the loop of the services do something."""

    addresses: dict[str, Any]
    bus: MemoryBus
    loop: asyncio.AbstractEventLoop

    def publish(self, *messages: Forecast) -> None:
        asyncio.run_coroutine_threadsafe(self.bus.publish(FORECASTS, messages), self.loop).result()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """In a thread of its own, since one of the clients has no loop."""
    ready, done, sites = threading.Event(), threading.Event(), []

    async def serve() -> None:
        bus, streams = MemoryBus(), {"sun": parse(DEFINITION, "sun.yaml")}
        store = FolderStore(tmp_path_factory.mktemp("store"))
        async with AsyncExitStack() as stack:
            combiner = create_combiner(CombinerSettings(), bus, streams=streams, on_death=lambda *_: None)
            ingest = create_ingest(IngestSettings(token=TOKEN), MemoryBus(1), store, streams=streams)
            at = {
                "combiner": f"http://{await stack.enter_async_context(served(combiner))}",
                "ingest": f"http://{await stack.enter_async_context(served(ingest))}",
            }
            sites.append(Site(at, bus, asyncio.get_running_loop()))
            for key in KEYS:
                await bus.publish(FORECASTS, [forecast(key, n) for n in range(RECORDS_KNOWN)])
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    yield sites[0]
    done.set()
    thread.join()


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with Client(**site.addresses, token=TOKEN) as client:
        all_known(client)
        yield client


@stamina.retry(on=AssertionError, attempts=None, timeout=30, wait_max=0.2)
def all_known(client: Client) -> None:
    issued = [series.issued for series in client.forecasts("sun")]
    assert len(issued) == len(KEYS)
    assert min(issued) >= BEGIN + (RECORDS_KNOWN - 1) * PERIOD


def test_one_series(client: Client):
    series = client.forecast("sun", "k1")
    assert (series.stream, series.key, series.unit, series.range) == ("sun", "k1", "kW", (0, 3000))
    assert series.issued_time == datetime.fromtimestamp(series.issued / 1000, UTC)
    ahead = series.at_horizon(6)
    assert (ahead.ahead, ahead.time - series.issued_time) == (3600, timedelta(hours=1))
    assert 0 <= ahead.interval.lower <= ahead.value <= ahead.interval.upper <= 3000
    with pytest.raises(KeyError, match="found no horizon 7"):
        series.at_horizon(7)


def test_a_series_as_it_was(client: Client):
    then = datetime(2026, 1, 1, 3, 5, tzinfo=UTC)
    assert client.forecast("sun", "k1", horizons=[6], at=then).issued == BEGIN + 18 * PERIOD


def test_all_pages_are_read(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("driftline_client.calls.forecasts.PAGE", 2)
    assert [series.key for series in client.forecasts("sun")] == KEYS
    assert [series.key for series in client.forecasts("sun", keys=["k3", "k1"])] == ["k1", "k3"]


def test_scores_and_weights_and_streams(client: Client):
    assert client.scores()[0].horizons[0].scores["blend"].n > 0
    assert [series.key for series in client.weights("sun")] == KEYS
    assert [(stream.stream, stream.keys) for stream in client.streams()] == [("sun", KEYS)]
    assert isinstance(client.alerts(), list)


def test_records_of_any_number(client: Client):
    assert client.send("sun", row(0)).accepted == 1
    total = client.send("sun", (row(n) for n in range(10)), batch=3)
    assert (total.accepted, total.repeated, total.rows) == (9, 1, 10)


def test_a_record_that_is_none_is_listed_by_its_number(client: Client):
    total = client.send("sun", [row(n, "k7", power="much" if n == 4 else n) for n in range(6)], batch=3)
    assert (total.accepted, total.refused_total) == (5, 1)
    assert [(refused.row, refused.column) for refused in total.refused] == [(5, "power")]
    assert isinstance(total.refused[0], RefusedRecord)


def test_all_records_refused_are_a_receipt(client: Client):
    assert client.send("sun", [{"when": "noon", "id": "k", "power": 1}]).refused_total == 1


@pytest.mark.parametrize(
    ("asked", "kind", "says"),
    [
        (
            lambda client: client.forecast("sun", "attic"),
            NoSuchThing,
            "combiner answered 404: no forecast of sun/attic",
        ),
        (lambda client: client.forecast("rain", "k1"), NoSuchThing, "found no stream 'rain'"),
        (lambda client: client.forecast("sun", "k1", horizons=[7]), BadRequest, "horizon: found 7, expected one of"),
        (lambda client: client.forecast("sun", "k1", at="noon"), BadRequest, "query.at"),
        (lambda client: client.send("rain", row(1)), BadRequest, "found stream 'rain'"),
        (lambda client: client.send_body("sun", b"{"), BadRequest, "ingest answered 400"),
    ],
)
def test_a_problem_says_what_was_found_and_expected(
    client: Client, asked: Callable[[Client], Any], kind: type[Exception], says: str
):
    with pytest.raises(kind, match=says):
        asked(client)


def test_without_the_token_nothing_is_taken(site: Site):
    with Client(**site.addresses) as client, pytest.raises(Forbidden) as refused:
        client.send("sun", row(1))
    assert (refused.value.service, refused.value.status) == ("ingest", 401)


def test_live_events_come_and_what_is_remembered_first(client: Client, site: Site):
    events = client.live("sun", "k4", after=BEGIN + (RECORDS_KNOWN - 2) * PERIOD)
    first = next(events)
    assert isinstance(first, LiveBlend)
    assert first.t == BEGIN + (RECORDS_KNOWN - 1) * PERIOD
    site.publish(forecast("k4", RECORDS_KNOWN))
    assert next(events).t == BEGIN + RECORDS_KNOWN * PERIOD
    events.close()


def test_without_a_time_only_news_come(client: Client, site: Site):
    events = client.live("sun", "k3")
    coming = threading.Thread(target=lambda: said.append(next(events).t))
    said: list[int] = []
    coming.start()
    # Whenever the reader is there: what came before is not news to it.
    for n in count(RECORDS_KNOWN):
        site.publish(forecast("k3", n))
        coming.join(0.1)
        if said:
            break
    assert said[0] > BEGIN + (RECORDS_KNOWN - 1) * PERIOD


def test_what_was_forecast_before_is_read_page_by_page(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("driftline_client.calls.history.PAGE", 3)
    since, until = datetime(2026, 1, 1, 1, tzinfo=UTC), "2026-01-01T03:00:00Z"
    former = list(client.history("sun", "k1", since=since, until=until, horizons=[6]))
    assert [row.issued for row in former] == [BEGIN + n * PERIOD for n in range(6, 18)]
    assert {(value.horizon, value.t - row.issued) for row in former for value in row.forecasts} == {(6, 6 * PERIOD)}
    with pytest.raises(NoSuchThing):
        next(client.history("rain", "k1"))


@pytest.mark.parametrize("service", ["ingest", "combiner"])
def test_a_service_says_how_it_is(client: Client, service: Any):
    readiness = client.readiness(service)
    assert (readiness.ready, readiness.missing) == (True, "")
    assert abs(readiness.now - datetime.now(UTC)) < timedelta(minutes=1)
    assert [(stream.stream, stream.state) for stream in client.definitions(service).streams] == [("sun", "runs")]
    assert client.release(service) == version("driftline")
    assert "driftline_streams 1.0" in client.metrics(service)


def test_one_that_is_not_ready_is_an_answer():
    body = {"ready": False, "checks": {"bus": "the broker does not answer", "store": "ok"}}
    with Client(transport=answers(httpx.Response(503, json=body, headers={"Date": "yesterday"}))) as client:
        readiness = client.readiness("ingest")
    assert (readiness.ready, readiness.missing, readiness.now) == (False, "bus: the broker does not answer", None)


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 01 Jan 2026 00:00:00 -0000", "Thu, 01 Jan 2026 00:00:00 GMT"])
def test_its_clock_is_one_of_utc_or_unknown(date: str):
    reply = httpx.Response(200, json={"ready": True, "checks": {}}, headers={"Date": date} if date else {})
    with Client(transport=answers(reply)) as client:
        assert client.readiness("ingest").now in {None, datetime(2026, 1, 1, tzinfo=UTC)}


def test_a_malformed_request_lists_its_parts(client: Client):
    with pytest.raises(BadRequest) as refused:
        client.forecast("sun", "k1", at="noon")
    error = refused.value
    assert (error.type, error.title, error.status) == (
        "/docs/problems#malformed-request",
        "The request is not as expected",
        422,
    )
    assert error.instance == "/v1/forecasts/sun/k1"
    assert {part.where.partition(".")[0] for part in error.malformed} == {"query"}
    with pytest.raises(NoSuchThing) as missing:
        client.forecast("sun", "attic")
    assert (missing.value.type, missing.value.title, missing.value.malformed) == ("about:blank", "Not Found", [])


@pytest.mark.parametrize("url", ["http://[::1", "127.0.0.1:8003", "http://127.0.0.1:99999", ""])
def test_what_is_no_address_does_not_answer(url: str):
    with Client(combiner=url or "http://", patience=0) as client, pytest.raises(NoAnswer):
        client.scores()


def answers(*replies: httpx.Response | Exception) -> httpx.MockTransport:
    """One after the other, at the rim of the network."""
    left = iter(replies)

    def answer(_: httpx.Request) -> httpx.Response:
        reply = next(left)
        if isinstance(reply, Exception):
            raise reply
        return reply

    return httpx.MockTransport(answer)


RECEIPT = {"accepted": 1, "repeated": 0, "out_of_order": 0, "refused_total": 0, "refused": []}
LATER = httpx.Response(429, headers={"Retry-After": "0"}, json={"detail": "found more rows than a sender may send"})


@pytest.mark.parametrize(
    "first",
    [
        LATER,
        httpx.Response(503, headers={"Retry-After": "0"}, json={}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout(""),
    ],
)
def test_what_may_succeed_later_is_tried_again(first: httpx.Response | Exception):
    with Client(transport=answers(first, httpx.Response(202, json=RECEIPT))) as client:
        assert client.send("sun", row(1)).accepted == 1


def test_nothing_is_tried_again_without_patience_or_for_longer_than_it():
    with Client(transport=answers(LATER), patience=0) as client, pytest.raises(Busy):
        client.scores()
    tomorrow = httpx.Response(503, headers={"Retry-After": "86400"}, json={"detail": "down"})
    with Client(transport=answers(tomorrow)) as client, pytest.raises(Busy) as busy:
        client.scores()
    assert (busy.value.retry_after, busy.value.detail) == (86400, "down")


def test_a_training_is_not_asked_for_twice():
    with Client(transport=answers(httpx.ReadTimeout(""))) as client, pytest.raises(NoAnswer, match="8004"):
        client.train("sun")


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'"no"', b'{"detail": 7}', b'{"errors": [3, {"where": 1}]}', b"\xff"]
)
def test_whatever_an_error_says_it_is_one(body: bytes):
    with Client(transport=answers(httpx.Response(404, content=body))) as client, pytest.raises(NoSuchThing):
        client.scores()


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'[{"stream": 1}]', b"\xff"])
def test_what_is_no_answer_of_ours_is_strange(body: bytes):
    with Client(transport=answers(httpx.Response(200, content=body))) as client, pytest.raises(StrangeAnswer):
        client.scores()


async def test_the_other_client_does_the_same(site: Site, client: Client):
    async with AsyncClient(**site.addresses, token=TOKEN) as other:
        assert (await other.forecast("sun", "k1")).key == client.forecast("sun", "k1").key
        assert [series.key async for series in other.forecasts("sun")] == KEYS
        assert (await other.send("sun", row(0, "k8"))).accepted == 1
        assert (await other.send("sun", [row(n, "k8") for n in range(5)], batch=2)).accepted == 4
        with pytest.raises(NoSuchThing):
            await other.forecast("sun", "attic")
        async for event in other.live("sun", "k2", after=BEGIN):
            assert isinstance(event, LiveBlend)
            break


async def test_what_comes_piece_by_piece_is_sent_at_once(site: Site):
    acknowledged = asyncio.Event()

    async def readings() -> AsyncIterator[dict[str, Any]]:
        for n in range(3):
            yield row(n, "k9")
            await acknowledged.wait()  # the next comes only when this one was taken
            acknowledged.clear()

    async with AsyncClient(**site.addresses, token=TOKEN) as other:
        receipts = []
        async for receipt in other.sending("sun", readings()):
            receipts.append(receipt.accepted)
            acknowledged.set()
    assert receipts == [1, 1, 1]


async def test_a_source_that_fails_fails_after_what_it_brought():
    async def source() -> AsyncIterator[int]:
        yield 1
        yield 2
        raise RuntimeError("torn")

    lists = gathered(source(), 10)
    assert await anext(lists) == [1, 2]
    with pytest.raises(RuntimeError, match="torn"):
        await anext(lists)


def test_both_clients_have_the_same_methods_and_every_call():
    assert {name for name in vars(Client) if not name.startswith("_")} - {"close"} == {
        name for name in vars(AsyncClient) if not name.startswith("_")
    } - {"aclose"}
    assert (
        inspect.signature(Client.forecast).parameters.keys()
        == inspect.signature(AsyncClient.forecast).parameters.keys()
    )


def test_a_call_can_be_asked_by_hand(client: Client):
    call: Call[list[dict[str, Any]]] = get("combiner", "/v1/series", list[dict[str, Any]])
    assert client.ask(call)[0]["stream"] == "sun"
