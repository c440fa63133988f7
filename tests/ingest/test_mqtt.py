"""The MQTT door behind a real mosquitto: what was acknowledged to a sensor reaches the bus, whatever restarts."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
import stamina

from driftline.definition import StreamDefinition, parse
from driftline.errors import InvalidDefinition
from driftline.folder import FolderStore
from driftline.memory import MemoryBus
from driftline.messages import RECORDS, Record
from driftline_cli.broker import free_port
from driftline_ingest.app import create_app
from driftline_ingest.mqtt import Route
from driftline_ingest.settings import IngestSettings

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
PATIENCE_S = 90
BASE = "time: {column: when, period: 1s}\nkey: id\ntarget: y\n"


def stream(name: str, mqtt: str, more: str = "") -> StreamDefinition:
    return parse(f"name: {name}\n{BASE}{more}mqtt: {mqtt}\n", f"{name}.yaml")


TANK = stream("tank", "{topic: 'plant/{key}/tank'}")
PLAIN = stream("plain", "{topic: 'plain/{key}', payload: number}")
LINES = stream("lines", "{topic: 'lines/+', payload: csv, columns: [when, id, y, x]}", "features: {x: level}\n")


def row(defined: StreamDefinition, topic: str, payload: bytes) -> dict[str, object]:
    return Route.of(defined, defined.mqtt).row(topic, payload, 0.0)


def test_topics_and_payloads_become_rows():
    now = "1970-01-01T00:00:00.000+00:00"
    assert row(TANK, "plant/n 1/tank", b'{"y": 1.5, "when": "2026-01-01T00:00:00Z"}') == {
        "y": 1.5,
        "when": "2026-01-01T00:00:00Z",
        "id": "n 1",
    }
    assert row(PLAIN, "plain/a", b"2.5") == {"y": 2.5, "id": "a", "when": now}
    assert row(LINES, "lines/any", b"2026-01-01T00:00:00Z,k,1.5,\n") == {
        "when": "2026-01-01T00:00:00Z",
        "id": "k",
        "y": "1.5",
        "x": None,
    }


@pytest.mark.parametrize("mqtt", ["{topic: a, payload: csv}", "{topic: a, columns: [y]}", "{topic: a, payload: xml}"])
def test_a_mapping_that_makes_no_sense_is_refused(mqtt: str):
    with pytest.raises(InvalidDefinition, match="mqtt"):
        stream("wrong", mqtt)


class Broker:
    """A mosquitto that keeps its sessions on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
            "autosave_interval 1\nmax_queued_messages 0\nmax_inflight_messages 1000\nuser root\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=20)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    if MOSQUITTO is None:
        pytest.skip("no mosquitto here: Debian's package mosquitto has it")
    found = Broker(tmp_path)
    found.start()
    yield found
    found.stop()


@asynccontextmanager
async def ingest(broker: Broker, bus: MemoryBus, folder: Path) -> AsyncIterator[None]:
    settings = IngestSettings(mqtt_host="127.0.0.1", mqtt_port=broker.port, mqtt_name="one")
    store = FolderStore(folder)
    app = create_app(settings, bus, store, streams={"tank": TANK}, on_death=lambda *_: None)
    async with app.router.lifespan_context(app):
        yield


async def publish(broker: Broker, first: int, last: int) -> None:
    """QoS 1, again and again until the broker has acknowledged: as a sensor does."""
    pending = list(range(first, last))
    retrying = stamina.retry_context(on=aiomqtt.MqttError, attempts=None, timeout=PATIENCE_S, wait_max=0.5)
    async for attempt in retrying:
        with attempt:
            async with aiomqtt.Client("127.0.0.1", broker.port, identifier=f"sensor-{os.getpid()}") as client:
                while pending:
                    n = pending[0]
                    payload = f'{{"y": {n}, "when": "{time(n)}"}}'
                    await client.publish(f"plant/k{n % 7}/tank", payload, qos=1)
                    pending.pop(0)


def time(n: int) -> str:
    return f"2026-01-{1 + n // 3600 // 24:02d}T{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}Z"


async def received(bus: MemoryBus, count: int) -> set[float]:
    found: set[float] = set()
    async with asyncio.timeout(PATIENCE_S):
        async for page in bus.tail(RECORDS, earliest=True):
            records: list[Record] = [envelope.value for envelope in page]
            found |= {record.values["y"] for record in records}
            if len(found) >= count:
                return found
    raise AssertionError


@stamina.retry(on=TimeoutError, attempts=None, timeout=PATIENCE_S)
async def until_followed(broker: Broker, bus: MemoryBus) -> None:
    """What comes before anybody has subscribed is nobody's."""
    await publish(broker, 0, 1)
    async with asyncio.timeout(1):
        await received(bus, 1)


async def test_ten_thousand_messages_and_nothing_lost_through_restarts(broker: Broker, tmp_path: Path):
    bus, store = MemoryBus(capacity=20_000), tmp_path / "store"
    async with ingest(broker, bus, store):
        # The first subscription makes the session; from then on the broker keeps what comes.
        await until_followed(broker, bus)
        await publish(broker, 1, 3000)
    # Nobody is at the door.
    await publish(broker, 3000, 5000)
    async with ingest(broker, bus, store):
        sending = asyncio.create_task(publish(broker, 5000, 10_000))
        await received(bus, 6000)
        await asyncio.to_thread(broker.stop)
        broker.start()
        await sending
        assert await received(bus, 10_000) == {float(n) for n in range(10_000)}
