"""What several folders of tests share: a real broker, once a run, or the reason why there is none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.definition import StreamDefinition, load
from driftline.errors import Unavailable
from driftline_cli import broker, objects, processes
from tests.s3_server import S3Server

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
def temperature() -> StreamDefinition:
    return load(ROOT / "streams" / "outdoor-temperature.yaml")
