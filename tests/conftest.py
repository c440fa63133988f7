"""What several folders of tests share: real servers, each once a run whatever its workers, or why there is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.errors import Unavailable
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline_cli import broker, objects
from tests.s3_server import S3Server
from tests.security import kafka_server
from tests.security.authority import Authority
from tests.shared import Shared

pytest_plugins = (
    "tests.plugins.bytecode",
    "tests.plugins.lanes",
    "tests.plugins.skips",
    "tests.plugins.shared",
    "tests.plugins.beside",
    "tests.plugins.leaks",
    "tests.plugins.browsers",
    "tests.plugins.collecting",
)
ROOT = Path(__file__).parent.parent


def start_kafka(folder: Path) -> str:
    port = broker.free_port()
    broker.start(folder, port)
    return f"127.0.0.1:{port}"


def start_s3(folder: Path) -> S3Server:
    server = S3Server(folder)
    server.start()
    return server


def start_secure_s3(folder: Path) -> tuple[S3Server, Path]:
    authority = Authority(folder / "authority")
    server = S3Server(folder, authority.server())
    server.start()
    return server, authority.file


@pytest.fixture(scope="session")
def brokers(shared: Shared) -> str:
    """Address of an Apache Kafka that was started for this run."""
    try:
        return shared.once("kafka", start_kafka)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def secure_kafka(shared: Shared) -> kafka_server.SecureKafka:
    """An Apache Kafka that lets clients in by SASL_SSL alone."""
    try:
        return shared.once("secure-kafka", kafka_server.start)
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def s3_server(shared: Shared) -> Iterator[S3Server]:
    """A real S3 server that was started for this run: nobody stops it, and every test has a bucket of its own."""
    server = shared.once("s3", start_s3)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in objects.credentials(server.folder).items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def secure_s3(shared: Shared) -> tuple[S3Server, Path]:
    """The same by HTTPS, and the file of its authority."""
    return shared.once("secure-s3", start_secure_s3)


@pytest.fixture
def secure_s3_server(secure_s3: tuple[S3Server, Path], monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """By HTTPS, its authority known by AWS_CA_BUNDLE."""
    server, ca_file = secure_s3
    for name, value in (objects.credentials(server.folder) | {"AWS_CA_BUNDLE": str(ca_file)}).items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture(scope="session")
def temperature() -> StreamDefinition:
    return load(ROOT / "streams" / "outdoor-temperature.yaml")
