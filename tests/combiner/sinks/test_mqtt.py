"""The MQTT sink at a real mosquitto: what is retained, what comes after an outage, who is let in."""

import asyncio
import gc
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
import stamina

from driftline.bus.memory import MemoryBus
from driftline.bus.port import Bus
from driftline.messages import BLENDS
from driftline.metrics import Metrics
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.worker.loop_settings import LoopSettings
from driftline_combiner.sinks.home_assistant import discovery_topic, identifier
from driftline_combiner.sinks.job import SinkJob
from driftline_combiner.sinks.mqtt import MqttSink
from driftline_combiner.sinks.opening import open_sinks
from driftline_combiner.sinks.settings import MqttSection
from tests.combiner.sinks.blends import BEGIN, HOUR, TANK, blend
from tests.combiner.sinks.mosquitto import Mosquitto
from tests.ingest.test_mqtt import certificate

pytestmark = pytest.mark.process
PATIENCE_S = 60
STATUS = "driftline/status"
FORECAST = "driftline/tank/k1/forecast"
CONFIG = discovery_topic("homeassistant", "driftline", "tank", "k1")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    one = Mosquitto(tmp_path).start()
    yield one
    one.kill()


@asynccontextmanager
async def sink(broker: Mosquitto, bus: Bus, tank: StreamDefinition = TANK, **section: Any) -> AsyncIterator[SinkJob]:
    whole = MqttSection(type="mqtt", host="127.0.0.1", port=broker.port, **section)
    streams = Streams({"tank": tank})
    (opened,) = open_sinks({"home": whole}, streams, lambda _stream, _key: {1: 0.5})
    job = SinkJob(opened, bus, streams, LoopSettings(checkpoint_every=0.05), Metrics())
    task = asyncio.create_task(job.run())
    try:
        yield job
        await job.stop()
        async with asyncio.timeout(PATIENCE_S):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def issued(n: int) -> Callable[[dict[str, Any]], bool]:
    """Whether a forecast is that of the nth hour."""
    return lambda content: content["issued"] == BEGIN + n * HOUR


async def until(condition: Callable[[], bool]) -> None:
    async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.1):
        with attempt:
            assert condition()


async def test_the_newest_forecast_is_retained_with_its_device_and_whether_we_are_there(broker):
    bus = MemoryBus()
    await bus.publish(BLENDS, [blend(n, key) for n in range(3) for key in ("k1", "a/b +#")])
    async with sink(broker, bus):
        await broker.until_retained(FORECAST, issued(2))
        content = await broker.retained("driftline/tank/a%2Fb %2B%23/forecast")
        assert (content["key"], content["unit"], content["observed"]) == ("a/b +#", "kW", 2.0)
        first, last = content["forecasts"]
        assert (first["value"], first["interval"]["lower"], first["skill"]) == (2.5, 1.0, 0.5)
        assert (last["value"], last["skill"]) == (None, None)
        assert await broker.retained(STATUS) == "online"
        config = await broker.retained(CONFIG)
        assert config["state_topic"] == FORECAST
        assert list(config["components"]) == [f"{identifier('driftline', 'tank', 'k1')}_{steps}" for steps in (1, 6)]
    assert await broker.retained(STATUS) == "offline"


async def test_a_broker_that_was_killed_gets_everything_when_it_is_there_again(broker):
    bus = MemoryBus()
    async with sink(broker, bus) as job:
        await bus.publish(BLENDS, [blend(1)])
        await broker.until_retained(FORECAST, issued(1))
        broker.kill()
        await bus.publish(BLENDS, [blend(n, key) for n in range(2, 50) for key in ("k1", "k2")])
        await until(lambda: job.standing.state == "unavailable")
        assert "is away" in job.standing.error
        broker.start()
        for key in ("k1", "k2"):
            await broker.until_retained(f"driftline/tank/{key}/forecast", issued(49))
        await until(lambda: job.standing.state == "ok")
        assert await broker.retained(STATUS) == "online"


async def test_a_broker_that_has_forgotten_all_is_told_of_the_devices_again(tmp_path):
    broker, bus = Mosquitto(tmp_path, keeps=False).start(), MemoryBus()
    try:
        async with sink(broker, bus):
            await bus.publish(BLENDS, [blend(1)])
            await broker.until_retained(CONFIG, lambda _: True)
            broker.kill()
            broker.start()
            await broker.until_retained(STATUS, "online")
            await bus.publish(BLENDS, [blend(2)])
            await broker.until_retained(CONFIG, lambda _: True)
            await broker.until_retained(FORECAST, issued(2))
    finally:
        broker.kill()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_sensors_of_a_horizon_that_was_removed_are_removed_and_nobody_elses(broker, version):
    bus, own = MemoryBus(), identifier("driftline", "tank", "k1")
    others = "homeassistant/device/boiler/config"
    description = '{"state_topic":"driftline/tank/k1/forecast","components":{"power":{"platform":"sensor"}}}'
    async with sink(broker, bus, version=version):
        await bus.publish(BLENDS, [blend(1)])
        await broker.until_retained(CONFIG, lambda device: list(device["components"]) == [f"{own}_1", f"{own}_6"])
    async with aiomqtt.Client("127.0.0.1", broker.port) as home_assistant:
        await home_assistant.publish(others, description, qos=1, retain=True)
        await home_assistant.subscribe(CONFIG, qos=1)
        async with sink(broker, bus, TANK.model_copy(update={"horizon": (1,)}), version=version):
            said = []
            async for message in home_assistant.messages:
                said.append(json.loads(bytes(message.payload))["components"])
                if said[-1].keys() == {f"{own}_1"} and {"platform": "sensor"} in said[-2].values():
                    break
    assert said[-2] == {**said[-1], f"{own}_6": {"platform": "sensor"}}
    assert await broker.retained(others) == json.loads(description)
    assert (await broker.retained(CONFIG))["components"] == said[-1]


async def test_whatever_others_retain_about_devices_the_sink_goes_on(broker):
    bus = MemoryBus()
    async with aiomqtt.Client("127.0.0.1", broker.port) as other:
        for number, payload in enumerate((b"\xff", b"[]", b"{}", b'{"state_topic":7,"components":{}}', b"online")):
            await other.publish(f"homeassistant/device/d{number}/config", payload, qos=1, retain=True)
        await other.publish(CONFIG, b'{"state_topic":"driftline/gone/k1/forecast","components":{}}', retain=True)
    async with sink(broker, bus) as job:
        await bus.publish(BLENDS, [blend(1)])
        await broker.until_retained(FORECAST, issued(1))
        assert (await broker.retained(CONFIG))["state_topic"] == FORECAST
        assert job.standing.state == "ok"


async def test_of_a_backlog_only_the_newest_of_each_series_is_published(broker):
    bus, count = MemoryBus(), 0
    await bus.publish(BLENDS, [blend(n) for n in range(500)])
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe(FORECAST, qos=1)
        async with sink(broker, bus):
            async for message in client.messages:
                count += 1
                if f'"issued":{BEGIN + 499 * HOUR}' in bytes(message.payload).decode():
                    break
    assert count < 10


async def test_who_leaves_last_is_not_who_was_there_last(broker):
    """The will of a connection that was lost, or another replica's farewell, comes while we are there."""
    bus = MemoryBus()
    async with sink(broker, bus):
        await broker.until_retained(STATUS, "online")
        async with aiomqtt.Client("127.0.0.1", broker.port) as other:
            await other.publish(STATUS, "offline", qos=1, retain=True)
        await broker.until_retained(STATUS, "online")


async def test_a_process_that_was_killed_is_offline(broker, tmp_path):
    will = aiomqtt.Client("127.0.0.1", broker.port)
    async with will as client, sink(broker, MemoryBus()) as job:
        await broker.until_retained(STATUS, "online")
        connection = job.opened.sink
        assert isinstance(connection, MqttSink)
        await client.subscribe(STATUS, qos=1)
        # As the system does for a process that is no more: the socket ends, and nobody says farewell.
        lost = connection._connection._client._client.socket()
        assert isinstance(lost, socket.socket)
        lost.shutdown(socket.SHUT_RDWR)
        said = []
        async for message in client.messages:
            said.append(bytes(message.payload).decode())
            if said[-2:] == ["offline", "online"]:
                break


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Mosquitto]:
    """Wants a password, and lets nobody write devices."""
    users, rules = tmp_path / "users", tmp_path / "rules"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "sink", "hush"], check=True, capture_output=True)
    rules.write_text("user sink\ntopic readwrite driftline/#\n")
    for path in (users, rules):
        path.chmod(0o600)
    one = Mosquitto(tmp_path, f"allow_anonymous false\npassword_file {users}\nacl_file {rules}\n").start()
    yield one
    one.kill()


async def test_a_wrong_password_is_shown_with_the_remedy_and_one_that_is_corrected_is_used(guarded, tmp_path):
    bus, password = MemoryBus(), tmp_path / "password"
    password.write_text("guessed")
    access = {"username": "sink", "password": "hush"}
    async with sink(guarded, bus, username="sink", password_file=password, discovery=None) as job:
        await bus.publish(BLENDS, [blend(1)])
        await until(lambda: job.standing.state == "refused")
        assert "does not let us in" in job.standing.error
        assert "guessed" not in job.standing.error
        assert job.standing.remedy == "correct username and password_file"
        password.write_text("hush\n")
        await guarded.until_retained(FORECAST, issued(1), **access)


async def test_messages_that_a_broker_drops_for_its_rules_are_not_taken_for_sent(guarded, tmp_path):
    bus, password = MemoryBus(), tmp_path / "password"
    password.write_text("hush")
    async with sink(guarded, bus, username="sink", password_file=password) as job:
        await bus.publish(BLENDS, [blend(1)])
        await until(lambda: job.standing.state == "refused")
        assert "Not authorized" in job.standing.error
        assert job.standing.remedy == "allow sink to write driftline/# and homeassistant/#"
        assert job.standing.sent == 0


async def test_a_key_of_any_letters_is_published(broker):
    bus, keys = MemoryBus(), ["", "\x07 bell", "\x85", "\ufdd0", "\U0001f600", "$SYS", "a\nb", "%"]
    await bus.publish(BLENDS, [blend(1, key) for key in keys])
    async with sink(broker, bus) as job:
        await until(lambda: job.standing.sent == len(keys))
        assert (await broker.retained("driftline/tank/%EF%B7%90/forecast"))["key"] == "\ufdd0"
        assert (await broker.retained("driftline/tank//forecast"))["key"] == ""


async def test_an_older_version_of_the_protocol_can_be_spoken(broker):
    bus = MemoryBus()
    await bus.publish(BLENDS, [blend(1)])
    async with sink(broker, bus, version="3.1.1"):
        await broker.until_retained(FORECAST, issued(1))


# The client library leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
async def test_a_broker_is_believed_by_the_authority_that_is_named_and_by_no_other(tmp_path):
    cert, bus = certificate(tmp_path), MemoryBus()
    broker = Mosquitto(tmp_path, f"allow_anonymous true\ncertfile {cert}\nkeyfile {tmp_path}/key.pem\n").start()
    try:
        await bus.publish(BLENDS, [blend(1)])
        async with sink(broker, bus, tls=True) as job:
            await until(lambda: job.standing.state == "refused")
            assert job.standing.remedy == "name its authority by ca_file"
        async with sink(broker, bus, tls=True, ca_file=cert):
            trusting = ssl.create_default_context(cafile=str(cert))
            await broker.until_retained(FORECAST, issued(1), tls_context=trusting)
    finally:
        broker.kill()
    gc.collect()
