"""How a Kafka is reached: known to those, too, who import no client of it."""

from dataclasses import dataclass, field
from typing import Any

from driftline.bus.tls import Identity


@dataclass(frozen=True)
class KafkaSettings:
    """Where the broker is and how it is talked to. Times in seconds."""

    brokers: str
    partitions: int = 4
    replication: int = 1
    disk: int = 6_000_000_000
    """Bytes that the topics may take on a broker in all."""
    session_timeout: float = 6.0
    """Without a sign of life for so long, a worker's partitions go to others."""
    send_timeout: float = 5.0
    """Unacknowledged for so long, a message was not taken."""
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    variables: str = "DRIFTLINE_KAFKA"
    """How the variables begin by which all this was said."""

    @property
    def identity(self) -> Identity:
        return Identity(self.ca_file, self.cert_file, self.key_file)

    def client(self) -> dict[str, Any]:
        """Arguments that every aiokafka client takes."""
        arguments: dict[str, Any] = {"bootstrap_servers": self.brokers, "security_protocol": self.security_protocol}
        if "SSL" in self.security_protocol:
            arguments["ssl_context"] = self.identity.context()
        if "SASL" in self.security_protocol:
            arguments |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        return arguments

    def request_timeout_ms(self) -> int:
        return int(self.send_timeout * 1000)
