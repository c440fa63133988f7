"""Settings of ingest."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from driftline.bus.kafka_settings import KafkaSettings
from driftline.names import PORTS
from driftline.service.ports import kafka_settings
from driftline.service.setting_checks import line, of_authority, of_expiry, of_identity, of_kafka, variable
from driftline.service.settings import Port, Settings, is_loopback


class IngestSettings(Settings):
    """What the door takes at once, beside what all services share."""

    port: Port = PORTS["ingest"]
    body_limit: int = Field(8 * 1024 * 1024, ge=1)
    """Bytes of one request at most."""
    rows_limit: int = Field(50_000, ge=1)
    """Rows of one request at most: nothing else is done while they are read."""
    rate: float | None = Field(None, gt=0)
    """Rows a second that a sender may send by HTTP; all holders of the token are one sender, without a token each
    address is one. Without this setting there is no limit."""
    rate_burst: int = Field(10_000, ge=1)
    """Rows that a sender may send at once above its rate."""
    mqtt_host: str | None = None
    """The MQTT broker whose topics definitions name; without it there is no MQTT door."""
    mqtt_port: int = Field(1883, ge=1, le=65535)
    """The broker's port; with TLS most often 8883."""
    mqtt_username: str | None = None
    """User name at the broker, if it needs one."""
    mqtt_password: SecretStr | None = None
    """Password at the broker, if it needs one."""
    mqtt_tls: bool = False
    """Whether to connect to the broker by TLS."""
    mqtt_ca_file: str | None = None
    """Certificates in PEM of the broker's authority; the system's own by default."""
    mqtt_cert_file: str | None = None
    """Certificate in PEM that this client shows to the broker, if it wants one."""
    mqtt_key_file: str | None = None
    """Its key in PEM, without a password; in the certificate's file by default."""
    mqtt_version: Literal["5", "3.1.1"] = "5"
    """Version of MQTT that the broker speaks."""
    mqtt_group: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]+$")
    """Replicas of one group divide the messages; without a group each takes all. See docs/mqtt.md for the price."""
    mqtt_name: str = Field(default_factory=socket.gethostname)
    """This replica's name at the broker, which keeps its messages while the replica does not run."""
    source_brokers: str | None = None
    """Bootstrap servers of the Kafka whose topics definitions name (`kafka`); by default the bus's own Kafka, with the
    bus's settings."""
    source_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Its protocol: `SSL` encrypts, `SASL` needs a name and a password."""
    source_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How the password is sent to it."""
    source_sasl_username: str | None = None
    """User name there, if it needs one."""
    source_sasl_password: SecretStr | None = None
    """Password there, if it needs one."""
    source_ca_file: Path | None = None
    """Certificates in PEM of its authority; the system's own by default."""
    source_cert_file: Path | None = None
    """Certificate in PEM that this client shows to it, if it wants one."""
    source_key_file: Path | None = None
    """Its key in PEM, without a password; in the certificate's file by default."""
    spool: Path | None = None
    """Folder of this replica alone for windows that wait for the store; without it they wait on the bus, as long as
    that keeps messages."""
    spool_limit: int = Field(1_000_000_000, ge=1_000_000)
    """Bytes of the windows that may wait there; beyond it the oldest are dropped, counted and reported."""
    backlog_rate: float = Field(250_000.0, gt=0)
    """Bytes a second at which windows that have waited follow once the store answers, the newest first."""
    refusals_listed: int = Field(100, ge=0)
    """Refused rows that an answer lists at most; it counts them all."""

    @field_validator("spool", mode="before")
    @classmethod
    def _none_when_empty(cls, value: object) -> object:
        return None if value == "" else value

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        names = ("mqtt_username", "mqtt_password", "mqtt_ca_file", "mqtt_cert_file")
        given = [name for name in names if getattr(self, name) is not None]
        if given and self.mqtt_host is None:
            yield line("mqtt_host", None, f"the broker's name, since {variable(given[0])} is set")
        files = [name for name in ("mqtt_ca_file", "mqtt_cert_file") if getattr(self, name) is not None]
        if files and not self.mqtt_tls:
            yield line("mqtt_tls", self.mqtt_tls, f"true, since {variable(files[0])} is set")
        yield from of_identity("mqtt", self)
        yield from of_kafka(self, "source")
        if self.source_brokers is None and self.source_security_protocol != "PLAINTEXT":
            yield line("source_brokers", None, f"one, since {variable('source_security_protocol')} is set")
        yield from of_authority(variable("mqtt_ca_file"), self.mqtt_ca_file)

    def doubts(self) -> Iterator[str]:
        yield from super().doubts()
        yield from of_expiry("mqtt", self)
        yield from of_expiry("source", self)
        if self.mqtt_password is not None and not self.mqtt_tls and not is_loopback(self.mqtt_host or ""):
            yield f"DRIFTLINE_MQTT_PASSWORD goes to {self.mqtt_host} in the clear; DRIFTLINE_MQTT_TLS=true encrypts it"

    def topics(self, *, own: bool = True) -> KafkaSettings | None:
        """Where topics of others are, if that is known. own: whether the bus is a Kafka."""
        if self.source_brokers is None:
            return kafka_settings(self) if own else None
        password = self.source_sasl_password
        return KafkaSettings(
            brokers=self.source_brokers,
            session_timeout=self.session_timeout,
            security_protocol=self.source_security_protocol,
            sasl_mechanism=self.source_sasl_mechanism,
            sasl_username=self.source_sasl_username,
            sasl_password=password.get_secret_value() if password else None,
            ca_file=str(self.source_ca_file) if self.source_ca_file else None,
            cert_file=str(self.source_cert_file) if self.source_cert_file else None,
            key_file=str(self.source_key_file) if self.source_key_file else None,
            variables="DRIFTLINE_SOURCE",
        )
