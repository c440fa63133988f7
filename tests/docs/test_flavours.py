"""The flavours of docs/your-own-stream.md, typed as they are, but for the address of the broker."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiomqtt
import numpy as np
import pytest

from driftline.bus.memory import MemoryBus
from driftline.errors import Unavailable
from driftline.messages import RECORDS, Record
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition_files import load
from driftline_ingest.app import create_app
from driftline_ingest.settings import IngestSettings
from tests.conftest import ROOT
from tests.golang import telegraf
from tests.ingest.test_door import published
from tests.ingest.test_mqtt import MOSQUITTO, PATIENCE_S, Broker, ingest
from tests.serving import served

pytestmark = pytest.mark.process
PAGE = ROOT / "docs" / "your-own-stream.md"
BROKER = "BROKER=localhost:1883"
INGEST = "INGEST=http://localhost:8001"
LIMIT_S = 120
TOKEN = "hush"  # noqa: S105
PAYLOAD = '{"temperature": %s, "humidity": 58, "linkquality": 92, "update": {"state": "idle"}}'


def blocks(heading: str) -> list[str]:
    """What is to be typed below a heading."""
    _, _, after = PAGE.read_text(encoding="utf-8").partition(f"### {heading}\n")
    section = re.split(r"^##", after, maxsplit=1, flags=re.MULTILINE)[0]
    typed_there = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert typed_there, heading
    return typed_there


def run(script: Sequence[str], folder: Path, **environment: str) -> str:
    """The output of blocks that are typed one after the other. Raises AssertionError where one of them fails."""
    (folder / "streams").mkdir(exist_ok=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", "\n".join(["set -eu", *script])],
        cwd=folder,
        env=os.environ | {"COLUMNS": "200", "PATH": path} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def typed(heading: str, folder: Path, broker: str = BROKER) -> str:
    """The output of the blocks below a heading."""
    return run([block.replace(BROKER, broker) for block in blocks(heading)], folder)


def test_a_spreadsheet(tmp_path: Path):
    said = typed("A spreadsheet's CSV", tmp_path)
    assert "5,760 rows would be taken, 0 refused" in said
    stream = load(tmp_path / "streams" / "heating.yaml")
    assert (stream.target, stream.key) == ("Leistung [kW]", "Haus")
    assert (stream.time.zone, stream.time.period) == ("Europe/Berlin", 900)
    steps = tables.read_file(tmp_path / "heating.csv", stream).steps()
    assert set(steps.tolist()) == {900_000}, "the hour that comes twice is taken twice"


async def _report(port: int, over: threading.Event) -> None:
    async with aiomqtt.Client("127.0.0.1", port, identifier="bridge") as client:
        for n in range(10_000):
            await client.publish(f"zigbee2mqtt/{('attic', 'cellar')[n % 2]}", PAYLOAD % (20 + n / 10), qos=1)
            if await asyncio.to_thread(over.wait, 1.0):
                return


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Broker]:
    """A broker, and devices that report to it."""
    if MOSQUITTO is None:
        pytest.skip("no mosquitto here: Debian's package mosquitto has it")
    (tmp_path / "broker").mkdir()
    broker, over = Broker(tmp_path / "broker"), threading.Event()
    broker.start()
    broker.wait()
    devices = threading.Thread(target=lambda: asyncio.run(_report(broker.port, over)))
    devices.start()
    yield broker
    over.set()
    devices.join()
    broker.stop()


async def test_zigbee(bridge: Broker, tmp_path: Path):
    said = await asyncio.to_thread(typed, "Zigbee by MQTT", tmp_path, f"BROKER=127.0.0.1:{bridge.port}")
    assert "as they would be taken" in said
    stream = load(tmp_path / "streams" / "rooms.yaml")
    assert stream.mqtt is not None
    assert (stream.mqtt.topic, stream.key, stream.target) == ("zigbee2mqtt/{key}", "device", "temperature")
    # Whether this machine's clock is synchronised is not what is tested.
    trusting = stream.model_copy(update={"time": stream.time.model_copy(update={"arrival": "trust"})})
    bus = MemoryBus(1)
    async with ingest(bridge, bus, tmp_path / "store", {stream.name: trusting}):
        assert await _keys(bus) == {"attic", "cellar"}


async def _keys(bus: MemoryBus) -> set[str]:
    keys: set[str] = set()
    async with asyncio.timeout(PATIENCE_S):
        async for page in bus.tail(RECORDS, earliest=True):
            records: list[Record] = [envelope.value for envelope in page]
            keys |= {record.key for record in records}
            if len(keys) > 1:
                return keys
    raise AssertionError


@pytest.mark.parametrize("sender", ["telegraf", "curl"])
async def test_telegraf(sender: str, tmp_path: Path):
    described, lines, *senders = blocks("Telegraf")
    (command,) = [block for block in senders if block.startswith(sender)]
    folders = {"PATH": f"{Path(await _program()).parent}:{os.environ['PATH']}"} if sender == "telegraf" else {}
    await asyncio.to_thread(run, [described], tmp_path)
    stream, bus = load(tmp_path / "streams" / "roof.yaml"), MemoryBus(1)
    app = create_app(IngestSettings(token=TOKEN), bus, FolderStore(tmp_path / "store"), streams={stream.name: stream})
    async with served(app) as address:
        typed_lines = lines.replace(INGEST, f"INGEST=http://{address}")
        await asyncio.to_thread(run, [typed_lines, command], tmp_path, DRIFTLINE_TOKEN=TOKEN, **folders)
        async with asyncio.timeout(PATIENCE_S):
            records = await published(bus, 3)
    assert {record.key for record in records} == {"roof"}
    assert [record.values["temperature"] for record in records] == [11.0, 11.2, 11.5]
    assert [record.values["humidity"] for record in records] == [70.0, 69.0, 69.0]


async def _program() -> str:
    try:
        return await asyncio.to_thread(telegraf)
    except Unavailable as error:
        pytest.skip(str(error))


def test_a_counter(tmp_path: Path):
    said = typed("A counter that reports on change", tmp_path)
    assert "4,000 rows would be taken, 0 refused" in said
    stream = load(tmp_path / "streams" / "meter.yaml")
    records = tables.read_file(tmp_path / "meter.csv", stream)
    assert f"the grid makes {len(records):,} records of them" in said
    assert set(records.steps().tolist()) == {900_000}
    counted = records.values[:, 0]
    # A reading adds 0.1, and is a minute after the last one at least.
    assert np.nanmin(counted) == 0
    assert np.nanmax(counted) < 1.6
    assert np.nansum(counted) == pytest.approx(400, abs=2)
