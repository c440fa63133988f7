"""What several folders of tests share: a real broker, once a run, or the reason why there is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.definition import StreamDefinition, load
from driftline.errors import Unavailable
from driftline_cli import broker, objects, processes
from tests.s3_server import S3Server
from tests.security import kafka_server
from tests.security.authority import Authority

ROOT = Path(__file__).parent.parent
_unavailable: list[str] = []


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an Apache Kafka that was started for this run."""
    folder, port = tmp_path_factory.mktemp("kafka"), broker.free_port()
    try:
        broker.start(folder, port)
    except Unavailable as error:
        _unavailable.append(str(error))
        pytest.skip(str(error))
    yield f"127.0.0.1:{port}"
    processes.stop(folder, "kafka")


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka_server.SecureKafka]:
    """An Apache Kafka that lets clients in by SASL_SSL alone."""
    folder = tmp_path_factory.mktemp("secure-kafka")
    try:
        found = kafka_server.start(folder)
    except Unavailable as error:
        pytest.skip(str(error))
    yield found
    processes.stop(folder, "kafka")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line says which tests could not run here, and why."""
    if _unavailable:
        print(f"SKIPPED: every test that needs Apache Kafka: {_unavailable[0]}")  # noqa: T201


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in objects.credentials(server.folder).items():
            patch.setenv(name, value)
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def secure_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3Server, Authority]]:
    folder = tmp_path_factory.mktemp("secure-s3")
    authority = Authority(folder / "authority")
    server = S3Server(folder, authority.server())
    server.start()
    yield server, authority
    server.stop()


@pytest.fixture
def secure_s3_server(secure_s3: tuple[S3Server, Authority], monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """By HTTPS, its authority known by AWS_CA_BUNDLE."""
    server, authority = secure_s3
    for name, value in (objects.credentials(server.folder) | {"AWS_CA_BUNDLE": str(authority.file)}).items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture(scope="session")
def temperature() -> StreamDefinition:
    return load(ROOT / "streams" / "outdoor-temperature.yaml")
