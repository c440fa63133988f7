"""The same trace by three processes on Apache Kafka."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from driftline.errors import Unavailable
from driftline.streams.definition_files import load
from driftline_cli import broker
from driftline_cli.broker import free_port
from tests.conftest import ROOT
from tests.started import Started
from tests.tracing.receiver import Receiver

pytestmark = [pytest.mark.kafka, pytest.mark.process]
TRACE, CALLER = "2af7651916cd43dd8448eb211c80319c", "d7ad6b7169203331"
SERVICES = ("ingest", "inference", "combiner")


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[str]:
    """Of this test alone: the services read whatever lies on their topics."""
    port = free_port()
    try:
        process = broker.start(tmp_path / "kafka", port)
    except Unavailable as error:
        pytest.skip(str(error))
    yield f"127.0.0.1:{port}"
    os.kill(process, signal.SIGKILL)


async def test_a_post_is_one_trace_through_three_processes(tmp_path: Path, own_broker: str):
    stream = load(ROOT / "streams" / "outdoor-temperature.yaml")
    record = {stream.time.column: "2015-01-01T00:00:00Z", stream.key: "a", stream.columns[0]: 4.2}
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    with Receiver() as receiver:
        async with AsyncExitStack() as running:
            environment = receiver.environment | {"DRIFTLINE_BROKERS": own_broker}
            services = [await running.enter_async_context(Started(s, tmp_path, environment)) for s in SERVICES]
            await asyncio.gather(*(service.ready() for service in services))
            url = f"http://127.0.0.1:{services[0].port}/v1/records?stream={stream.name}&mapped=true"
            async with httpx.AsyncClient(timeout=30) as client:
                assert (await client.post(url, json=record, headers=headers)).status_code == 202
            spans = await receiver.has(TRACE, 4)
    below = {span.parent: span for span in spans}
    way, parent = [], CALLER
    while parent in below:
        way.append(below[parent].service)
        parent = below[parent].id
    assert way == ["driftline-ingest", "driftline-ingest", "driftline-inference", "driftline-combiner"]
