"""Settings of ingest."""

import socket
from collections.abc import Iterator

from pydantic import Field, SecretStr

from driftline.names import PORTS
from driftline.service.setting_checks import line, of_authority, variable
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
    mqtt_group: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]+$")
    """Replicas of one group divide the messages; without a group each takes all. See docs/mqtt.md for the price."""
    mqtt_name: str = Field(default_factory=socket.gethostname)
    """This replica's name at the broker, which keeps its messages while the replica does not run."""
    refusals_listed: int = Field(100, ge=0)
    """Refused rows that an answer lists at most; it counts them all."""

    def contradictions(self) -> Iterator[str]:
        yield from super().contradictions()
        names = ("mqtt_username", "mqtt_password", "mqtt_ca_file")
        given = [name for name in names if getattr(self, name) is not None]
        if given and self.mqtt_host is None:
            yield line("mqtt_host", None, f"the broker's name, since {variable(given[0])} is set")
        if self.mqtt_ca_file is not None and not self.mqtt_tls:
            yield line("mqtt_tls", self.mqtt_tls, f"true, since {variable('mqtt_ca_file')} is set")
        yield from of_authority(variable("mqtt_ca_file"), self.mqtt_ca_file)

    def doubts(self) -> Iterator[str]:
        yield from super().doubts()
        if self.mqtt_password is not None and not self.mqtt_tls and not is_loopback(self.mqtt_host or ""):
            yield f"DRIFTLINE_MQTT_PASSWORD goes to {self.mqtt_host} in the clear; DRIFTLINE_MQTT_TLS=true encrypts it"
