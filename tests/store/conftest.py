"""A folder, and a bucket on a real S3 server with an event queue."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from driftline.folder import FolderStore
from driftline.s3 import S3Settings, S3Store
from driftline.store import Store
from driftline_cli import broker, objects, processes


class S3Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = broker.free_port()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        objects.start(self.folder, self.port)

    def stop(self) -> None:
        processes.stop(self.folder, "s3")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in objects.credentials(server.folder).items():
            patch.setenv(name, value)
        server.start()
        yield server
        server.stop()


@pytest.fixture
async def s3_store(s3_server: S3Server) -> AsyncIterator[S3Store]:
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    queues = await objects.prepare(s3_server.folder, s3_server.port, bucket)
    settings = S3Settings(bucket, prefix="edge/", endpoint=s3_server.endpoint, timeout=2.0)
    plain = S3Store(settings)
    yield plain
    await plain.close()
    del queues


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    return request.getfixturevalue("s3_store")
