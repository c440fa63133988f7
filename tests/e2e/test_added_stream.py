"""A stream file and a CSV, put there while four processes run: its records are forecast, blended and learned from."""

import asyncio
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import stamina

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.messages import BLENDS, DEAD_LETTERS
from driftline.names import SERVICES
from driftline_cli import processes
from driftline_cli.stack import Ports, Stack

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.e2e]
PATIENCE_S = 120
COUNT = 300
TANK = "name: tank\ntime: {column: when, period: 1min}\ntarget: level\nkey: id\n"
BATCH = "training: {units: [8], networks: 1, epochs: 1}\ngate: {parent: 100, persistence: 100}\n"


def csv(first: int, last: int) -> str:
    random = np.random.default_rng(1)
    levels = 40 + np.sin(np.arange(last) / 20) + random.normal(scale=0.1, size=last)
    times = [np.datetime64("2026-01-01") + np.timedelta64(n, "m") for n in range(last)]
    rows = [f"{times[n].astype('datetime64[s]')}Z,north,{levels[n]:.3f}" for n in range(first, last)]
    return "\n".join(["when,id,level", *rows]) + "\n"


async def send(client: httpx.AsyncClient, stack: Stack, body: str) -> None:
    answer = await client.post(
        f"{stack.url('ingest')}/v1/records?stream=tank", content=body, headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 202, answer.text


async def blended(bus: KafkaBus, count: int) -> set[int]:
    found: set[int] = set()
    async with asyncio.timeout(PATIENCE_S), aclosing(bus.tail(BLENDS, earliest=True)) as pages:
        async for page in pages:
            found |= {envelope.value.t for envelope in page if envelope.value.stream == "tank"}
            if len(found) >= count:
                return found
    raise AssertionError


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.5, wait_max=1.0)
async def ended(client: httpx.AsyncClient, stack: Stack) -> dict[str, Any]:
    job: dict[str, Any] = (await client.get(f"{stack.url('trainer')}/v1/jobs")).json()[0]
    assert job["state"] in {"published", "refused", "failed"}
    return job


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.5, wait_max=1.0)
async def serves(client: httpx.AsyncClient, stack: Stack) -> None:
    answer = (await client.get(f"{stack.url('inference')}/v1/models/tank.batch")).json()
    assert answer["state"] == "serving"


@pytest.mark.usefixtures("brokers")
async def test_a_file_and_a_csv_that_are_added_while_everything_runs(tmp_path: Path, calm_folder: Path):
    streams, data = tmp_path / "streams", tmp_path / "data"
    shutil.copytree(calm_folder, streams)
    data.mkdir()
    stack = Stack(tmp_path / "run", streams, ports=Ports.free(), environment={"DRIFTLINE_DATA_DIR": str(data)})
    try:
        await stack.up()
        before = {service: processes.running(stack.folder, service) for service in SERVICES}
        bus = KafkaBus(KafkaSettings(f"127.0.0.1:{stack.ports.kafka}"))
        async with httpx.AsyncClient(timeout=30) as client:
            (streams / "broken.yaml").write_text("name: broken\ntime: {column: when, period: soon}\n")
            (streams / "tank.yaml").write_text(TANK + BATCH)
            # At once: no service has had the time to look by itself.
            await send(client, stack, csv(0, COUNT))
            assert len(await blended(bus, COUNT)) == COUNT
            (data / "history.csv").write_text(csv(0, 3 * COUNT))
            asked = {"stream": "tank", "member": "batch", "history": "history.csv"}
            assert (await client.post(f"{stack.url('trainer')}/v1/jobs", json=asked)).status_code == 202
            job = await ended(client, stack)
            assert job["state"] == "published", job
            await serves(client, stack)
            await send(client, stack, csv(COUNT, 2 * COUNT))
            assert len(await blended(bus, 2 * COUNT)) == 2 * COUNT
            for service in SERVICES:
                listed = (await client.get(f"{stack.url(service)}/v1/streams")).json()
                assert {found["stream"] for found in listed["streams"]} == {"outdoor-temperature", "tank"}
                assert "broken.yaml: line 2: time.period: found 'soon'" in listed["refused"]["broken.yaml"]
            assert sum((await bus.lag(DEAD_LETTERS, "nobody")).values()) == 0
        await bus.close()
        assert {service: processes.running(stack.folder, service) for service in SERVICES} == before
    finally:
        stack.down()
