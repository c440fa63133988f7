"""The MQTT door behind a real mosquitto: what was acknowledged to a sensor reaches the bus, whatever restarts."""

import asyncio
import gc
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import time as wall_clock
from typing import Any

import aiomqtt
import httpx
import pytest
import stamina
from fastapi import FastAPI
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from driftline.bus.memory import MemoryBus
from driftline.messages import OBSERVATIONS, RECORDS, Record
from driftline.store.folder import FolderStore
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline_cli.broker import free_port
from driftline_ingest.app import create_app
from driftline_ingest.mqtt import refused_topics
from driftline_ingest.settings import IngestSettings
from tests.ingest.test_mqtt_routes import BASE, BY_COLUMN, PLAIN, TANK, stream

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
PATIENCE_S = 90
VERSIONS = ("5", "3.1.1")


class Broker:
    """A mosquitto that keeps its sessions on disk."""

    def __init__(self, folder: Path, access: str = "allow_anonymous true\n") -> None:
        """access: lines of its configuration that say who may come."""
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n{access}persistence true\npersistence_location {folder}/\n"
            "autosave_interval 1\nmax_queued_messages 0\nmax_inflight_messages 1000\nuser root\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self._config)], stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        """Until it answers."""
        for attempt in stamina.retry_context(on=OSError, attempts=None, timeout=PATIENCE_S, wait_max=0.2):
            with attempt:
                socket.create_connection(("127.0.0.1", self.port)).close()

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
async def ingest(
    broker: Broker,
    bus: MemoryBus,
    folder: Path,
    streams: Mapping[str, StreamDefinition] | None = None,
    clock: Callable[[], float] = wall_clock,
    **changes: Any,
) -> AsyncIterator[FastAPI]:
    usual: dict[str, Any] = {"mqtt_host": "127.0.0.1", "mqtt_port": broker.port, "mqtt_name": "one"}
    settings = IngestSettings(**usual | changes)
    store = FolderStore(folder)
    app = create_app(settings, bus, store, streams=streams or {"tank": TANK}, on_death=lambda *_: None, clock=clock)
    async with app.router.lifespan_context(app):
        yield app


async def publish(broker: Broker, first: int, last: int, place: str = "tank", **access: Any) -> None:
    """QoS 1, again and again until the broker has acknowledged: as a sensor does."""
    pending = list(range(first, last))
    retrying = stamina.retry_context(on=aiomqtt.MqttError, attempts=None, timeout=PATIENCE_S, wait_max=0.5)
    async for attempt in retrying:
        with attempt:
            async with aiomqtt.Client("127.0.0.1", broker.port, identifier=f"sensor-{os.getpid()}", **access) as client:
                while pending:
                    n = pending[0]
                    payload = f'{{"y": {n}, "when": "{time(n)}"}}'
                    await client.publish(f"plant/k{n % 7}/{place}", payload, qos=1)
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
async def until_followed(broker: Broker, bus: MemoryBus, place: str = "tank", **access: Any) -> None:
    """What comes before anybody has subscribed is nobody's."""
    await publish(broker, 0, 1, place, **access)
    async with asyncio.timeout(1):
        await received(bus, 1)


@pytest.mark.process
@pytest.mark.parametrize("version", VERSIONS)
async def test_ten_thousand_messages_and_nothing_lost_through_restarts(broker: Broker, tmp_path: Path, version: str):
    bus, store = MemoryBus(capacity=20_000), tmp_path / "store"
    async with ingest(broker, bus, store, mqtt_version=version):
        # The first subscription makes the session; from then on the broker keeps what comes.
        await until_followed(broker, bus)
        await publish(broker, 1, 3000)
    # Nobody is at the door.
    await publish(broker, 3000, 5000)
    async with ingest(broker, bus, store, mqtt_version=version):
        sending = asyncio.create_task(publish(broker, 5000, 10_000))
        await received(bus, 6000)
        await asyncio.to_thread(broker.stop)
        broker.start()
        await sending
        assert await received(bus, 10_000) == {float(n) for n in range(10_000)}


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
async def until_said(caplog: pytest.LogCaptureFixture, part: str) -> None:
    assert any(part in record.message for record in caplog.records)


@pytest.mark.process
async def test_of_a_list_each_row_is_taken_or_refused_by_itself(broker: Broker, tmp_path: Path):
    bus = MemoryBus()
    async with ingest(broker, bus, tmp_path / "store"):
        await until_followed(broker, bus)
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            rows = [{"y": n, "when": time(n)} for n in range(1, 4)]
            await client.publish("plant/k0/tank", json.dumps([*rows[:2], "end", rows[2]]), qos=1)
        assert await received(bus, 4) == {0, 1, 2, 3}


@pytest.mark.process
async def test_a_plan_comes_by_mqtt_beside_the_records(broker: Broker, tmp_path: Path):
    planned = stream("tank", "{topic: 'plant/{key}/tank', futures: 'plan/{key}'}", "futures: {demand: level}\n")
    bus = MemoryBus()
    async with ingest(broker, bus, tmp_path / "store", streams=Streams({"tank": planned})):
        await until_followed(broker, bus)
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            plan = {"when": time(60), "issued": time(0), "demand": 2.5}
            await client.publish("plan/k0", json.dumps(plan), qos=1)
        async with asyncio.timeout(PATIENCE_S):
            async for page in bus.tail(RECORDS, earliest=True):
                futures = [envelope.value for envelope in page if envelope.value.issued is not None]
                if futures:
                    break
    assert [(future.key, future.values) for future in futures] == [("k0", {"demand": 2.5})]
    assert futures[0].t - futures[0].issued == 60_000


@pytest.mark.process
async def test_a_topic_for_each_value_becomes_records_of_a_room_and_a_period(broker: Broker, tmp_path: Path):
    """All at once, and without a time of their own, as sensors send; what the definition does not name is ignored."""
    bus, clock = MemoryBus(), Seconds(1_772_323_200.0)
    async with ingest(broker, bus, tmp_path / "store", {"rooms": BY_COLUMN}, clock.now) as app:
        await until_ready(app, "ok", ready=True)
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            for period in range(3):
                for room, y, x in (("cellar", 12.0, 71.0), ("attic", 19.5, 44.0)):
                    for column, value in (("y", y + period), ("x", x), ("battery", 3.0)):
                        await client.publish(f"home/{room}/{column}", str(value), qos=1)
                await until_observed(bus, 4 * (period + 1))
                clock.seconds += 1.0
            records = await gridded(bus, 4)
    assert {(record.key, record.t % 60_000): record.values for record in records} == {
        (room, 1000 * period): {"y": y + period, "x": x}
        for period in range(2)
        for room, y, x in (("cellar", 12.0, 71.0), ("attic", 19.5, 44.0))
    }


class Seconds:
    """A clock that somebody sets."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now(self) -> float:
        return self.seconds


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.05, wait_max=0.2)
async def until_observed(bus: MemoryBus, count: int) -> None:
    assert sum((await bus.lag(OBSERVATIONS, "nobody")).values()) == count


async def gridded(bus: MemoryBus, count: int) -> list[Record]:
    records: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        async for page in bus.tail(RECORDS, earliest=True):
            records += [envelope.value for envelope in page]
            if len(records) >= count:
                return records
    raise AssertionError


@pytest.mark.process
async def test_while_the_clock_is_not_set_messages_wait_at_the_broker(broker: Broker, tmp_path: Path, caplog):
    bus, store = MemoryBus(), tmp_path / "store"
    async with ingest(broker, bus, store):
        await until_followed(broker, bus)
    async with ingest(broker, bus, store, clock=lambda: 5.0):
        await publish(broker, 1, 20)
        await until_said(caplog, "this machine's clock is not set")
        assert sum((await bus.lag(RECORDS, "nobody")).values()) == 1
    async with ingest(broker, bus, store):
        assert await received(bus, 20) == {float(n) for n in range(20)}


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
async def until_ready(app: FastAPI, mqtt: str, *, ready: bool) -> None:
    """Once /readyz says so, and of the MQTT broker what begins as it is given."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        answer = await client.get("/readyz")
    assert (answer.status_code == 200) == ready
    assert answer.json()["checks"]["mqtt"].startswith(mqtt)


@pytest.mark.process
async def test_ingest_is_unready_while_its_broker_is_away_and_comes_back_by_itself(broker: Broker, tmp_path: Path):
    bus = MemoryBus()
    broker.stop()
    async with ingest(broker, bus, tmp_path / "store") as app:
        for _ in range(2):
            await until_ready(app, f"the MQTT broker 127.0.0.1:{broker.port} is away", ready=False)
            broker.start()
            await until_ready(app, "ok", ready=True)
            broker.stop()
        broker.start()
        await until_followed(broker, bus)


async def test_a_service_without_an_mqtt_broker_asks_for_none(tmp_path: Path):
    app = create_app(IngestSettings(), MemoryBus(), FolderStore(tmp_path), streams={"tank": TANK})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        assert set((await client.get("/readyz")).json()["checks"]) == {"bus", "clock", "windows", "results", "store"}


@pytest.mark.process
@pytest.mark.parametrize("version", VERSIONS)
async def test_replicas_of_one_group_divide_the_messages(broker: Broker, tmp_path: Path, version: str):
    buses = [MemoryBus(), MemoryBus()]
    async with (
        ingest(broker, buses[0], tmp_path / "a", mqtt_name="one", mqtt_group="site", mqtt_version=version),
        ingest(broker, buses[1], tmp_path / "b", mqtt_name="two", mqtt_group="site", mqtt_version=version),
    ):
        for bus in buses:
            await until_followed(broker, bus)
        await publish(broker, 1, 1000)
        found = await divided(buses, 1000)
    assert all(len(part) > 100 for part in found), [len(part) for part in found]
    assert found[0] & found[1] <= {0.0}, "the first may have been sent to both until both followed"


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
async def divided(buses: list[MemoryBus], count: int) -> list[set[float]]:
    """What each replica took, once it is all together."""
    found = [await received(bus, sum((await bus.lag(RECORDS, "nobody")).values())) for bus in buses]
    assert set.union(*found) == {float(n) for n in range(count)}
    return found


@pytest.mark.process
async def test_a_stream_that_is_added_is_followed_and_the_others_lose_nothing(broker: Broker, tmp_path: Path):
    bus, folder = MemoryBus(), tmp_path / "streams"
    folder.mkdir()
    (folder / "tank.yaml").write_text(f"name: tank\n{BASE}mqtt: {{topic: 'plant/{{key}}/tank'}}\n")
    async with ingest(broker, bus, tmp_path / "store", Streams.open(folder)):
        await until_followed(broker, bus)
        sending = asyncio.create_task(publish(broker, 1, 1000))
        (folder / "boiler.yaml").write_text(f"name: boiler\n{BASE}mqtt: {{topic: 'plant/{{key}}/boiler'}}\n")
        await until_of(broker, bus, "boiler")
        await sending
        assert await received(bus, 1000) == {float(n) for n in range(1000)}


@pytest.mark.process
async def test_a_source_is_followed_once_for_all_its_streams_also_for_one_that_is_added(broker: Broker, tmp_path: Path):
    bus, folder = MemoryBus(), tmp_path / "streams"
    folder.mkdir()
    shared = f"source: plant\n{BASE}mqtt: {{topic: 'plant/{{key}}/tank'}}\n"
    (folder / "first.yaml").write_text(f"name: first\n{shared}")
    streams = Streams.open(folder)
    async with ingest(broker, bus, tmp_path / "store", streams):
        await until_followed(broker, bus)
        (folder / "second.yaml").write_text(f"name: second\nhorizon: 2\n{shared}")
        await streams.look()
        await publish(broker, 1, 100)
        assert await received(bus, 100) == {float(n) for n in range(100)}
        assert sum((await bus.lag(RECORDS, "nobody")).values()) == 100


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.2, wait_max=0.5)
async def until_of(broker: Broker, bus: MemoryBus, stream: str) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier=stream) as client:
        await client.publish(f"plant/k/{stream}", f'{{"y": 0, "when": "{time(0)}"}}', qos=1)
    async for page in bus.tail(RECORDS, earliest=True):
        if page or not sum((await bus.lag(RECORDS, "nobody")).values()):
            assert stream in {envelope.value.stream for envelope in page}
            return


def certificate(folder: Path) -> Path:
    """A key and a certificate of 127.0.0.1 that vouches for itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here: Debian's package openssl has it")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem")]
    subprocess.run([*command, "-out", str(folder / "cert.pem")], check=True, capture_output=True)
    return folder / "cert.pem"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    """A mosquitto that speaks TLS only, and asks for a password."""
    if MOSQUITTO is None:
        pytest.skip("no mosquitto here: Debian's package mosquitto has it")
    cert, users = certificate(tmp_path), tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "sensor", "hush"], check=True, capture_output=True)
    access = f"certfile {cert}\nkeyfile {tmp_path}/key.pem\nallow_anonymous false\npassword_file {users}\n"
    found = Broker(tmp_path, access)
    found.start()
    yield found
    found.stop()


@pytest.mark.process
async def test_tls_and_a_password_are_spoken(guarded: Broker, tmp_path: Path):
    bus, cert = MemoryBus(), str(tmp_path / "cert.pem")
    door: dict[str, Any] = {"mqtt_tls": True, "mqtt_ca_file": cert, "mqtt_username": "sensor", "mqtt_password": "hush"}
    trusting = ssl.create_default_context(cafile=cert)
    sensor: dict[str, Any] = {"username": "sensor", "password": "hush", "tls_context": trusting}
    async with ingest(guarded, bus, tmp_path / "store", **door):
        await until_followed(guarded, bus, **sensor)
        await publish(guarded, 1, 100, **sensor)
        assert await received(bus, 100) == {float(n) for n in range(100)}


# The client library leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
@pytest.mark.process
@pytest.mark.parametrize("wrong", [{"mqtt_password": "guessed"}, {"mqtt_ca_file": None}])
async def test_a_door_with_a_wrong_password_or_no_trust_in_the_broker_takes_nothing(
    guarded: Broker, tmp_path: Path, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
):
    bus, cert = MemoryBus(), str(tmp_path / "cert.pem")
    door: dict[str, Any] = {"mqtt_tls": True, "mqtt_ca_file": cert, "mqtt_username": "sensor", "mqtt_password": "hush"}
    async with ingest(guarded, bus, tmp_path / "store", **door | wrong):
        await until_refused(caplog)
    gc.collect()
    assert sum((await bus.lag(RECORDS, "nobody")).values()) == 0


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
async def until_refused(caplog: pytest.LogCaptureFixture) -> None:
    """The door logs each try that failed."""
    assert any("does not let this door in" in record.getMessage() for record in caplog.records)


@pytest.mark.process
async def test_a_message_that_the_broker_has_kept_is_no_reading_of_now(broker: Broker, tmp_path: Path):
    bus = MemoryBus()
    async with ingest(broker, bus, tmp_path / "store") as app:
        await until_ready(app, "ok", ready=True)
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier="sensor") as client:
        await client.publish("plain/k", b"21.5", qos=1, retain=True)
    async with ingest(broker, bus, tmp_path / "store", {"plain": PLAIN}) as app:
        await until_counted(app, 'driftline_records_set_aside_total{reason="retained",stream="plain"} 1.0')
    assert sum((await bus.lag(RECORDS, "nobody")).values()) == 0


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
async def until_counted(app: FastAPI, line: str) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        assert line in (await client.get("/metrics")).text.splitlines()


@pytest.mark.process
async def test_what_a_message_of_version_5_says_of_itself_changes_no_record(broker: Broker, tmp_path: Path):
    bus, said = MemoryBus(), Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    said.UserProperty = [("unit", "F"), ("key", "another")]
    said.MessageExpiryInterval = 3600
    said.ContentType = "text/plain"
    async with ingest(broker, bus, tmp_path / "store"):
        await until_followed(broker, bus)
        async with aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5) as client:
            await client.publish("plant/k1/tank", f'{{"y": 1, "when": "{time(1)}"}}', qos=1, properties=said)
        assert await received(bus, 2) == {0.0, 1.0}


def test_topics_that_a_broker_refuses_are_named():
    """mosquitto refuses none, whatever its rules say."""
    code = ReasonCode(PacketTypes.SUBACK, identifier=135)
    assert refused_topics("plant/+/tank", code) == (
        "the MQTT broker refuses the topics 'plant/+/tank': Not authorized (DRIFTLINE_MQTT_USERNAME, "
        "DRIFTLINE_MQTT_PASSWORD)"
    )
    for granted in (0, 1, 2):
        assert refused_topics("plant/+/tank", ReasonCode(PacketTypes.SUBACK, identifier=granted)) is None
