"""A stream with a grid on the edge as a real process: killed at any moment, it makes each record once, and the same."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import stamina

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.messages import RECORDS, Record
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from tests.edge.edge_process import EdgeProcess, Left, killed_at

pytestmark = pytest.mark.process
TEXT = """
name: rooms
time: {period: 10min}
key: room
group: all
target: temperature
features: {humidity: level, energy: level}
grid: {take: {energy: difference}, grace: 1, fill: last}
"""
START = 1_772_323_200
KEYS = ("attic", "cellar", "hall")
PATIENCE_S = 60


@pytest.fixture
def rooms() -> StreamDefinition:
    return parse(TEXT, "rooms.yaml")


def rows(count: int) -> list[dict[str, Any]]:
    """A column each, half a minute apart, and a little out of order."""
    random_ = random.Random(2)
    sent = []
    for n in range(count):
        column = random_.choice(["temperature", "humidity", "energy"])
        seconds = START + 30 * n - random_.choice([0, 0, 0, 300])
        value = round(n / 100, 2) if column == "energy" else round(random_.gauss(20, 1), 2)
        row: dict[str, Any] = {"time": seconds, "room": random_.choice(KEYS), column: value}
        sent.append(row)
    return sent


def lines(sent: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, sent)).encode()


async def send(edge: EdgeProcess, sent: list[dict[str, Any]], at_once: int) -> None:
    """Returns when all are acknowledged, however often the process is killed meanwhile."""
    async with httpx.AsyncClient(base_url=edge.url("ingest"), timeout=30) as client:
        for begin in range(0, len(sent), at_once):
            await post(client, lines(sent[begin : begin + at_once]))


@stamina.retry(on=httpx.HTTPError, attempts=None, timeout=PATIENCE_S, wait_initial=0.05, wait_max=0.3)
async def post(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/v1/records", content=body, headers={"Content-Type": "application/x-ndjson"})
    answer.raise_for_status()
    assert answer.json()["refused_total"] == 0


async def blended(edge: EdgeProcess, newest: dict[str, int]) -> None:
    """Returns when the combiner shows the newest blend of every series."""
    async with httpx.AsyncClient(base_url=edge.url("combiner"), timeout=30) as client, asyncio.timeout(PATIENCE_S):
        for key, t in newest.items():
            while True:
                answer = await client.get(f"/v1/blends/rooms/{key}")
                if answer.is_success and answer.json()["t"] == t:
                    break
                await asyncio.sleep(0.05)


async def records_of(edge: EdgeProcess) -> list[Record]:
    bus = EmbeddedBus(EmbeddedSettings(edge.data / "bus"))
    try:
        return [envelope.value for envelope in await bus.read(RECORDS)]
    finally:
        await bus.close()


def content(record: Record) -> tuple[str, int, tuple[float | None, ...]]:
    return record.key, record.t, tuple(record.values[name] for name in ("temperature", "humidity", "energy"))


async def test_killed_at_random_it_makes_every_record_and_always_the_same(tmp_path: Path, rooms: StreamDefinition):
    sent, randomness, folder = rows(1500), random.Random(1), tmp_path / "streams"
    folder.mkdir()
    (folder / "rooms.yaml").write_text(TEXT)
    expected = tables.decode(lines(sent), rooms, "rooms.ndjson")
    newest = {key: int(part.t[-1]) for key, part in expected.by_key().items()}
    async with EdgeProcess(tmp_path, {"DRIFTLINE_STREAMS": str(folder)}) as edge:
        over = asyncio.Event()
        moments = [randomness.uniform(0.02, 0.6) for _ in range(6)]
        killing = asyncio.create_task(killed_at(edge, moments, over))
        await send(edge, sent[:-1], 8)
        over.set()
        assert await killing >= 3, "it ended before it could be killed"
        await edge.all_ready()
        await send(edge, sent[-1:], 1)
        await blended(edge, newest)
        assert await edge.end() == -15
    made_once = {content(record) for record in await records_of(edge)}
    in_file = {
        (str(key), int(t), tuple(None if np.isnan(value) else float(value) for value in values))
        for key, t, values in zip(expected.keys, expected.t, expected.values, strict=True)
    }
    assert made_once == in_file
    assert await Left(edge.data).forecasts() == Counter((key, t) for key, t, _ in in_file)
