"""The edge says when live records contradict the period of their stream's definition, and forecasts on."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

import httpx
import pytest

from driftline.bus.memory import MemoryBus
from driftline.messages import FORECASTS, RECORDS, Forecast, Record
from driftline.store.folder import FolderStore
from driftline.streams.definition_files import parse
from driftline_inference.app import create_app
from driftline_inference.settings import InferenceSettings

PATIENCE_S = 60
MINUTE_MS = 60_000
BEGIN_MS = 1_767_225_600_000
SENTENCE = "found most records 5 min apart, expected the definition's period of 10 min"
STREAMS = {
    name: parse(f"name: {name}\ntime: {{column: when, period: 10min}}\nkey: id\ntarget: y\n", f"{name}.yaml")
    for name in ("wrong", "right")
}


def records(stream: str, minutes: int, first: int, count: int, keys: int = 3) -> list[Record]:
    return [
        Record(stream, f"k{key}", BEGIN_MS + n * minutes * MINUTE_MS, {"y": float(n % 7)}, 0.0)
        for n in range(first, first + count)
        for key in range(keys)
    ]


async def forecast(bus: MemoryBus, sent: Sequence[Record]) -> None:
    """Returns when each of the records has its forecast."""
    awaited = {(record.stream, record.key, record.t) for record in sent}
    async with asyncio.timeout(PATIENCE_S), aclosing(bus.tail(FORECASTS)) as batches:
        sending = asyncio.create_task(bus.publish(RECORDS, sent))
        async for batch in batches:
            forecasts: list[Forecast] = [envelope.value for envelope in batch]
            awaited -= {(message.stream, message.key, message.t) for message in forecasts}
            if not awaited:
                break
        await sending


async def test_it_warns_once_and_says_so_until_the_records_are_as_defined(
    store: FolderStore, caplog: pytest.LogCaptureFixture
):
    bus = MemoryBus()
    app = create_app(InferenceSettings(), bus, store, streams=STREAMS)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:

        async def shown() -> tuple[dict[str, str], dict[str, str]]:
            """By stream its note, and its gauge."""
            answer = (await client.get("/v1/streams")).json()
            text = (await client.get("/metrics")).text
            lines = [line.split() for line in text.splitlines() if line.startswith("driftline_period_contradicted{")]
            gauges = {name: value for name in STREAMS for label, value in lines if f'"{name}"' in label}
            return {state["stream"]: state["note"] for state in answer["streams"]}, gauges

        assert await shown() == ({"wrong": "", "right": ""}, {"wrong": "0.0", "right": "0.0"})
        await forecast(bus, [*records("wrong", 5, 0, 100), *records("right", 10, 0, 100)])
        assert await shown() == ({"wrong": SENTENCE, "right": ""}, {"wrong": "1.0", "right": "0.0"})
        await forecast(bus, records("wrong", 5, 100, 100))
        # From the 200th record on as the definition says.
        await forecast(bus, records("wrong", 10, 101, 120))
        assert await shown() == ({"wrong": "", "right": ""}, {"wrong": "0.0", "right": "0.0"})
    warnings = [record for record in caplog.records if SENTENCE in record.getMessage()]
    assert [record.levelno for record in warnings] == [logging.WARNING]
