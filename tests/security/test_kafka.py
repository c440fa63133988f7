"""The bus by SASL_SSL, as the settings say, on a real Apache Kafka; the whole contract runs there in tests/bus."""

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from driftline.bus.kafka import KafkaBus
from driftline.errors import BusUnavailable
from driftline.messages import RECORDS, Record
from driftline.service.ports import open_bus
from driftline.service.settings import Settings, read_settings
from tests.security.authority import Authority
from tests.security.kafka_server import PASSWORD, SecureKafka
from tests.started import Started

pytestmark = pytest.mark.kafka
PATIENCE_S = 120
WRONG = "wr0ng-horse"


def bus_of(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> KafkaBus:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return open_bus(read_settings(Settings))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_who_has_the_password_and_the_authority_is_let_in(monkeypatch, secure_kafka: SecureKafka, mechanism: str):
    bus = bus_of(monkeypatch, secure_kafka.environment(sasl_mechanism=mechanism))
    sent = Record("s", mechanism, 1, {"x": 1.0}, 0.0)
    try:
        await bus.check()
        await bus.publish(RECORDS, [sent])
        async with asyncio.timeout(PATIENCE_S), aclosing(bus.tail(RECORDS, earliest=True)) as pages:
            async for page in pages:
                if sent in [envelope.value for envelope in page]:
                    break
    finally:
        await bus.close()


async def refused(bus: KafkaBus) -> str:
    """What the bus says; the same whichever client it is that is not let in."""
    with pytest.raises(BusUnavailable) as checking:
        await bus.check()
    with pytest.raises(BusUnavailable) as making:
        await bus.topics.make(["driftline.records.v1"])
    await bus.close()
    assert str(making.value) == str(checking.value)
    return str(checking.value)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_a_wrong_password_is_refused_and_never_shown(
    monkeypatch, secure_kafka: SecureKafka, mechanism: str, caplog: pytest.LogCaptureFixture
):
    environment = secure_kafka.environment(sasl_mechanism=mechanism, sasl_password=WRONG)
    bus = bus_of(monkeypatch, environment)
    said = await refused(bus)
    assert said.startswith(f"the broker {secure_kafka.brokers} refused the user 'driftline'")
    assert "DRIFTLINE_KAFKA_SASL_PASSWORD" in said
    assert "\n" not in said
    for place in (said, caplog.text, repr(bus.settings)):
        assert WRONG not in place


async def test_the_most_talkative_log_shows_no_password(secure_kafka: SecureKafka, tmp_path: Path):
    """Aiokafka's own debug log holds whatever is sent to the broker."""
    environment = secure_kafka.environment(sasl_mechanism="PLAIN") | {
        "DRIFTLINE_LOG_LEVEL": "debug",
    }
    async with Started("combiner", tmp_path, environment) as service:
        await service.ready()
    assert '"level": "info"' in service.log
    assert PASSWORD not in service.log


async def test_a_broker_of_an_unknown_authority_is_not_trusted(monkeypatch, secure_kafka: SecureKafka, tmp_path: Path):
    other = Authority(tmp_path, "another").file
    said = await refused(bus_of(monkeypatch, secure_kafka.environment(ca_file=str(other))))
    assert said.startswith(f"the broker {secure_kafka.brokers} is not trusted")
    assert f"{other} (DRIFTLINE_KAFKA_CA_FILE)" in said
    assert "\n" not in said


async def test_a_broker_without_tls_gets_no_password(monkeypatch, brokers: str, secure_kafka: SecureKafka):
    environment = secure_kafka.environment() | {"DRIFTLINE_BROKERS": brokers}
    said = await refused(bus_of(monkeypatch, environment))
    assert said.startswith("the broker does not answer")
    assert PASSWORD not in said


async def test_who_has_a_certificate_of_the_authority_is_let_in(monkeypatch, secure_kafka: SecureKafka):
    bus = bus_of(monkeypatch, secure_kafka.mutual_environment())
    try:
        await bus.check()
        await bus.publish(RECORDS, [Record("s", "certificate", 1, {"x": 1.0}, 0.0)])
    finally:
        await bus.close()


async def test_a_client_without_a_certificate_is_told_so(monkeypatch, secure_kafka: SecureKafka):
    environment = secure_kafka.mutual_environment()
    del environment["DRIFTLINE_KAFKA_CERT_FILE"], environment["DRIFTLINE_KAFKA_KEY_FILE"]
    said = await refused(bus_of(monkeypatch, environment))
    assert said.startswith(f"the broker {secure_kafka.mutual} does not let this client in: it wants a certificate")
    assert "DRIFTLINE_KAFKA_CERT_FILE" in said


async def test_a_certificate_that_has_expired_is_named(monkeypatch, secure_kafka: SecureKafka):
    certificate, key = map(str, secure_kafka.expired)
    environment = secure_kafka.mutual_environment(cert_file=certificate, key_file=key)
    said = await refused(bus_of(monkeypatch, environment))
    assert f"the certificate in {certificate!r} expired on " in said
    assert any(f"{certificate!r} expired on" in doubt for doubt in read_settings(Settings).doubts())


async def test_a_certificate_of_another_authority_is_refused(monkeypatch, secure_kafka: SecureKafka, tmp_path: Path):
    certificate, key = map(str, Authority(tmp_path, "another").client())
    said = await refused(bus_of(monkeypatch, secure_kafka.mutual_environment(cert_file=certificate, key_file=key)))
    assert f"does not let this client in: it refuses the certificate in {certificate!r}" in said
