"""An Apache Kafka that lets clients in by SASL_SSL, with a user in SCRAM and one in PLAIN, or by a certificate."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from driftline_cli import broker
from tests.security.authority import Authority

USER = "driftline"
PASSWORD = "c0rrect-horse"  # noqa: S105 - a test's
CONFIG = """\
listeners=PLAINTEXT://127.0.0.1:{own},CLIENTS://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{own},CLIENTS://127.0.0.1:{port},MUTUAL://127.0.0.1:{mutual}
controller.quorum.voters=1@127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CLIENTS:SASL_SSL,MUTUAL:SSL
inter.broker.listener.name=PLAINTEXT
listener.name.clients.ssl.keystore.type=PEM
listener.name.clients.ssl.keystore.location={keys}
listener.name.mutual.ssl.keystore.type=PEM
listener.name.mutual.ssl.keystore.location={keys}
listener.name.mutual.ssl.truststore.type=PEM
listener.name.mutual.ssl.truststore.location={ca}
listener.name.mutual.ssl.client.auth=required
listener.name.clients.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.clients.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}";
"""


@dataclass(frozen=True)
class SecureKafka:
    """Where it listens, and whom to believe."""

    brokers: str
    ca_file: Path
    mutual: str
    """Where it lets in by a certificate of the authority alone."""
    certificate: Path
    key: Path
    expired: tuple[Path, Path]

    def mutual_environment(self, **changes: str) -> dict[str, str]:
        """The settings of a client that is let in by its certificate."""
        right = {
            "DRIFTLINE_BROKERS": self.mutual,
            "DRIFTLINE_KAFKA_SECURITY_PROTOCOL": "SSL",
            "DRIFTLINE_KAFKA_CA_FILE": str(self.ca_file),
            "DRIFTLINE_KAFKA_CERT_FILE": str(self.certificate),
            "DRIFTLINE_KAFKA_KEY_FILE": str(self.key),
        }
        return right | {f"DRIFTLINE_KAFKA_{name}".upper(): value for name, value in changes.items()}

    def environment(self, **changes: str) -> dict[str, str]:
        """The settings of a client that is let in."""
        right = {
            "DRIFTLINE_BROKERS": self.brokers,
            "DRIFTLINE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "DRIFTLINE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "DRIFTLINE_KAFKA_SASL_USERNAME": USER,
            "DRIFTLINE_KAFKA_SASL_PASSWORD": PASSWORD,
            "DRIFTLINE_KAFKA_CA_FILE": str(self.ca_file),
        }
        return right | {f"DRIFTLINE_KAFKA_{name}".upper(): value for name, value in changes.items()}


def start(folder: Path) -> SecureKafka:
    """Raises Unavailable with the reason."""
    authority, port, mutual = Authority(folder / "authority"), broker.free_port(), broker.free_port()
    certificate, key = authority.server()
    keys = folder / "server.pem"
    keys.write_text(key.read_text() + certificate.read_text())
    more = CONFIG.format(
        own=broker.free_port(),
        controller=broker.free_port(),
        port=port,
        mutual=mutual,
        ca=authority.file,
        keys=keys,
        user=USER,
        password=PASSWORD,
    )
    formatted = ("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]")
    broker.start(folder, port, more=more, formatted=formatted)
    expired = authority.client("expired", holds_for=timedelta(hours=-1))
    return SecureKafka(f"127.0.0.1:{port}", authority.file, f"127.0.0.1:{mutual}", *authority.client(), expired)
