"""The flavours of docs/your-own-stream.md, typed as they are, but for the address of the broker."""

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import pytest

from driftline.bus.memory import MemoryBus
from driftline.messages import RECORDS, Record
from driftline.streams import tables
from driftline.streams.definition_files import load
from tests.conftest import ROOT
from tests.ingest.test_mqtt import MOSQUITTO, PATIENCE_S, Broker, ingest

pytestmark = pytest.mark.process
PAGE = ROOT / "docs" / "your-own-stream.md"
BROKER = "BROKER=localhost:1883"
LIMIT_S = 120
PAYLOAD = '{"temperature": %s, "humidity": 58, "linkquality": 92, "update": {"state": "idle"}}'


def typed(heading: str, folder: Path, broker: str = BROKER) -> str:
    """The output of the blocks below a heading."""
    _, _, after = PAGE.read_text(encoding="utf-8").partition(f"### {heading}\n")
    section = re.split(r"^##", after, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert blocks, heading
    (folder / "streams").mkdir(exist_ok=True)
    script = "\n".join(["set -eu", *blocks]).replace(BROKER, broker)
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env=os.environ | {"COLUMNS": "200", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
