"""The MQTT door by TLS with a password, at a real mosquitto."""

import asyncio
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import httpx
import pytest
import stamina
from fastapi import FastAPI

from driftline.bus.memory import MemoryBus
from driftline.errors import InvalidInput
from driftline.messages import RECORDS
from driftline.service.settings import read_settings
from driftline.store.folder import FolderStore
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_cli.broker import free_port
from driftline_ingest.app import create_app
from driftline_ingest.settings import IngestSettings
from tests.security.authority import Authority
from tests.started import Started

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
PATIENCE_S = 120
USER, PASSWORD, WRONG = "me", "c0rrect-horse", "wr0ng-horse"
DEFINITION = "name: tank\ntime: {column: when, period: 1s}\nkey: id\ntarget: y\nmqtt: {topic: 'plant/{key}/tank'}\n"
TANK: StreamDefinition = parse(DEFINITION, "tank.yaml")


@dataclass(frozen=True)
class SecureBroker:
    port: int
    ca_file: Path
    mutual: int
    """The port where it lets in by a certificate alone."""
    authority: Authority


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[SecureBroker]:
    if MOSQUITTO is None:
        pytest.skip("no mosquitto here: Debian's package mosquitto has it")
    authority, port, mutual = Authority(tmp_path / "authority"), free_port(), free_port()
    certificate, key = authority.server()
    passwords, config = tmp_path / "passwords", tmp_path / "mosquitto.conf"
    command = ("mosquitto_passwd", "-b", "-c", str(passwords), USER, PASSWORD)
    assert await (await asyncio.create_subprocess_exec(*command)).wait() == 0
    config.write_text(
        f"per_listener_settings true\nuser root\n"
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
        f"certfile {certificate}\nkeyfile {key}\n"
        f"listener {mutual} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\ncafile {authority.file}\n"
        "require_certificate true\nuse_identity_as_username true\n"
    )
    process = await asyncio.create_subprocess_exec(MOSQUITTO, "-c", str(config), stderr=asyncio.subprocess.DEVNULL)
    yield SecureBroker(port, authority.file, mutual, authority)
    process.terminate()
    await process.wait()


@asynccontextmanager
async def ingest(broker: SecureBroker, bus: MemoryBus, folder: Path, **changes: Any) -> AsyncIterator[FastAPI]:
    right = {
        "mqtt_username": USER,
        "mqtt_password": PASSWORD,
        "mqtt_tls": True,
        "mqtt_ca_file": str(broker.ca_file),
    }
    broker_of_it = {"mqtt_host": "127.0.0.1", "mqtt_port": broker.port, "mqtt_name": "one"}
    given: dict[str, Any] = broker_of_it | right | changes
    settings = read_settings(IngestSettings, **given)
    app = create_app(settings, bus, FolderStore(folder), streams={"tank": TANK}, on_death=lambda *_: None)
    async with app.router.lifespan_context(app):
        yield app


async def test_records_come_in_by_tls_with_a_password(broker: SecureBroker, tmp_path: Path):
    bus = MemoryBus()
    sensor = ssl.create_default_context(cafile=broker.ca_file)

    @stamina.retry(on=(aiomqtt.MqttError, TimeoutError), attempts=None, timeout=PATIENCE_S)
    async def sent_and_received() -> None:
        """Again and again: what comes before the door has subscribed is nobody's."""
        async with aiomqtt.Client(
            "127.0.0.1", broker.port, username=USER, password=PASSWORD, tls_context=sensor
        ) as client:
            await client.publish("plant/north/tank", '{"y": 1.5, "when": "2026-01-01T00:00:00Z"}', qos=1)
        async with asyncio.timeout(2):
            async for page in bus.tail(RECORDS, earliest=True):
                if page:
                    assert page[0].value.values == {"y": 1.5}
                    return

    async with ingest(broker, bus, tmp_path / "store"):
        await sent_and_received()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_certificate_is_enough_where_the_broker_wants_one(broker: SecureBroker, tmp_path: Path, version: str):
    certificate, key = broker.authority.client()
    by_certificate = {"mqtt_port": broker.mutual, "mqtt_username": None, "mqtt_password": None, "mqtt_version": version}
    files = {"mqtt_cert_file": str(certificate), "mqtt_key_file": str(key)}
    async with ingest(broker, MemoryBus(), tmp_path / "store", **by_certificate | files) as app:
        await until_mqtt(app, "ok")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("none", "it wants a certificate of this client, and none is set"),
        ("expired", "expired on"),
        ("another", "it refuses the certificate in"),
    ],
)
async def test_a_door_whose_certificate_is_refused_says_so(broker: SecureBroker, tmp_path: Path, wrong: str, why: str):
    authority = Authority(tmp_path / "other", "another") if wrong == "another" else broker.authority
    certificate, key = authority.client(wrong, holds_for=timedelta(hours=-1 if wrong == "expired" else 1))
    files = {} if wrong == "none" else {"mqtt_cert_file": str(certificate), "mqtt_key_file": str(key)}
    by_certificate = {"mqtt_port": broker.mutual, "mqtt_username": None, "mqtt_password": None}
    async with ingest(broker, MemoryBus(), tmp_path / "store", **by_certificate | files) as app:
        said = await until_mqtt(app, f"the MQTT broker 127.0.0.1:{broker.mutual} is away or does not let this door in")
    assert why in said
    assert "DRIFTLINE_MQTT_CERT_FILE" in said


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
async def until_mqtt(app: FastAPI, beginning: str) -> str:
    """What /readyz says of the MQTT door, once it begins so."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client:
        said: str = (await client.get("/readyz")).json()["checks"]["mqtt"]
    assert said.startswith(beginning)
    return said


def test_certificates_that_can_not_be_used_end_the_service_in_a_sentence(tmp_path: Path):
    authority = Authority(tmp_path)
    certificate, key = map(str, authority.client())
    _, other = map(str, authority.client("other"))
    text = str(tmp_path / "text.pem")
    Path(text).write_text("no certificate")
    both = {"mqtt_host": "h", "mqtt_tls": True, "mqtt_cert_file": certificate, "mqtt_key_file": key}
    assert read_settings(IngestSettings, **both).mqtt_cert_file == certificate
    wrong = {
        "found no file": both | {"mqtt_key_file": str(tmp_path / "none.pem")},
        f"found a key in {other!r} that does not fit the certificate in {certificate!r}": both
        | {"mqtt_key_file": other},
        "expected a certificate in PEM": both | {"mqtt_cert_file": text},
        "DRIFTLINE_MQTT_TLS: found False, expected true, since DRIFTLINE_MQTT_CERT_FILE is set": both
        | {"mqtt_tls": False},
        "DRIFTLINE_MQTT_CERT_FILE: found nothing, expected a certificate": both | {"mqtt_cert_file": None},
    }
    wrong[f"found {str(tmp_path / 'none.pem')!r}, expected a file in PEM that can be read: No such file"] = wrong.pop(
        "found no file"
    )
    for sentence, given in wrong.items():
        with pytest.raises(InvalidInput, match=re.escape(sentence)):
            read_settings(IngestSettings, **given)


@pytest.mark.parametrize(("wrong", "why"), [("password", "Not authorized"), ("authority", "CERTIFICATE_VERIFY_FAILED")])
async def test_the_door_says_why_it_is_not_let_in(broker: SecureBroker, tmp_path: Path, wrong: str, why: str):
    other = Authority(tmp_path / "other", "another").file
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "tank.yaml").write_text(DEFINITION)
    environment = {
        "DRIFTLINE_STREAMS": str(tmp_path / "streams"),
        "DRIFTLINE_MQTT_HOST": "127.0.0.1",
        "DRIFTLINE_MQTT_PORT": str(broker.port),
        "DRIFTLINE_MQTT_USERNAME": USER,
        "DRIFTLINE_MQTT_PASSWORD": WRONG if wrong == "password" else PASSWORD,
        "DRIFTLINE_MQTT_TLS": "true",
        "DRIFTLINE_MQTT_CA_FILE": str(other if wrong == "authority" else broker.ca_file),
        "DRIFTLINE_LOG_LEVEL": "debug",
    }
    async with Started("ingest", tmp_path, environment) as service:
        line = await service.says(f"the MQTT broker 127.0.0.1:{broker.port} is away or does not let this door in")
        assert why in line
    for secret in (PASSWORD, WRONG):
        assert secret not in service.log
