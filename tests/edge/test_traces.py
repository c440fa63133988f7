"""A record's way from the door to the blend as one trace, sent by the edge as a real process."""

import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline_cli.broker import free_port
from tests.conftest import ROOT
from tests.edge.edge_process import EdgeProcess
from tests.tracing.receiver import Received, Receiver

pytestmark = pytest.mark.process
LATER = 1_420_071_000_000
"""Ten minutes into 2015."""
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BY_CALLER = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def stream() -> StreamDefinition:
    return load(ROOT / "streams" / "outdoor-temperature.yaml")


def lines(stream: StreamDefinition, keys: int, minute: int = 0) -> str:
    """One record of each series, as CSV."""
    others = "," * (len(stream.columns) - 1)
    head = ",".join([stream.time.column, stream.key, *stream.columns])
    return "\n".join([head, *(f"2015-01-01T00:{minute:02}:00Z,sensor-{key},{key}{others}" for key in range(keys))])


async def send(edge: EdgeProcess, stream: StreamDefinition, body: str, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=edge.url("ingest"), timeout=30) as client:
        answer = await client.post(
            f"/v1/records?stream={stream.name}&mapped=true",
            content=body,
            headers={"content-type": "text/csv"} | headers,
        )
        assert answer.status_code == 202, answer.text


def chain(spans: list[Received]) -> list[tuple[str, str]]:
    """Service and name of the spans from the caller down, where each has one child."""
    below = {span.parent: span for span in spans}
    ordered, parent = [], CALLER
    while parent in below:
        ordered.append((below[parent].service, below[parent].name))
        parent = below[parent].id
    return ordered


async def test_a_post_is_one_trace_from_the_door_to_the_blend(
    tmp_path: Path, stream: StreamDefinition, receiver: Receiver
):
    async with EdgeProcess(tmp_path, receiver.environment) as edge:
        await edge.all_ready()
        await send(edge, stream, lines(stream, 1), BY_CALLER)
        spans = await receiver.has(TRACE, 4)
    assert chain(spans) == [
        ("driftline-ingest", "POST /v1/records"),
        ("driftline-ingest", "send driftline.records.v1"),
        ("driftline-inference", "process driftline.records.v1"),
        ("driftline-combiner", "process driftline.forecasts.v1"),
    ]
    assert all(span.lasted > 0 for span in spans)
    (door,) = [span for span in spans if span.name.startswith("POST")]
    assert door.attributes["http.response.status_code"] == 202


async def test_what_is_done_again_after_a_kill_is_the_same_spans(
    tmp_path: Path, stream: StreamDefinition, receiver: Receiver
):
    # No position is written before the kill.
    async with EdgeProcess(tmp_path, receiver.environment | {"DRIFTLINE_CHECKPOINT_EVERY": "3600"}) as edge:
        await edge.all_ready()
        await send(edge, stream, lines(stream, 5), BY_CALLER)
        edge.kill()
        await edge.ended()
        await edge.__aenter__()
        await edge.all_ready()
        await send(edge, stream, lines(stream, 5, minute=10), BY_CALLER)
        await receiver.has(TRACE, 2 * 5, t=LATER)
    by_name = defaultdict(set)
    for span in followed(receiver):
        by_name[span.service, span.attributes["driftline.key"], span.attributes["driftline.t"]].add(span.id)
    # Whether those of before the kill are there depends on how far it had come.
    assert len(by_name) >= 2 * 5
    assert all(len(ids) == 1 for ids in by_name.values())


async def test_a_request_that_names_no_trace_begins_one(tmp_path: Path, stream: StreamDefinition, receiver: Receiver):
    environment = receiver.environment | {"OTEL_SERVICE_NAME": "roof", "OTEL_TRACES_SAMPLER": "always_on"}
    async with EdgeProcess(tmp_path, environment) as edge:
        await edge.all_ready()
        await send(edge, stream, lines(stream, 1), {"traceparent": "nonsense"})
    # SIGTERM sends what has not gone yet.
    assert [span.name for span in receiver.spans if not span.parent] == ["POST /v1/records"]
    assert {span.service for span in receiver.spans} == {"roof"}


async def test_a_receiver_that_is_away_holds_nothing_up(tmp_path: Path, stream: StreamDefinition):
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port()}", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    async with EdgeProcess(tmp_path, environment) as edge:
        await edge.all_ready()
        await send(edge, stream, lines(stream, 3), BY_CALLER)
        await edge.says("opentelemetry.exporter")
        assert await edge.end() == -signal.SIGTERM


def followed(receiver: Receiver) -> list[Received]:
    """The spans of single records."""
    return [span for span in receiver.of(TRACE) if "driftline.key" in span.attributes]
