"""A folder, and a bucket on a real S3 server with an event queue."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from driftline.store.door import DoorSettings, DoorStore
from driftline.store.folder import FolderStore
from driftline.store.port import Store
from driftline.store.s3 import S3Settings, S3Store
from driftline.store.threaded import ThreadedStore
from driftline.streams.definition import StreamDefinition
from driftline_cli import objects
from tests.fleet.cloud import Cloud
from tests.s3_server import S3Server


@pytest.fixture
async def s3_store(s3_server: S3Server) -> AsyncIterator[S3Store]:
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    queues = await objects.prepare(s3_server.folder, s3_server.port, bucket)
    settings = S3Settings(bucket, prefix="edge/", endpoint=s3_server.endpoint, timeout=10.0)
    plain = S3Store(settings)
    yield plain
    await plain.close()
    del queues


@pytest.fixture
async def https_store(secure_s3_server: S3Server) -> AsyncIterator[S3Store]:
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    await objects.prepare(secure_s3_server.folder, secure_s3_server.port, bucket, secure_s3_server.scheme)
    found = S3Store(S3Settings(bucket, prefix="edge/", endpoint=secure_s3_server.endpoint, timeout=10.0))
    yield found
    await found.close()


@pytest.fixture
async def aside_store(tmp_path: Path) -> AsyncIterator[ThreadedStore]:
    aside = ThreadedStore(FolderStore(tmp_path / "store"))
    yield aside
    await aside.close()


def let_all(edge: str, verb: str, key: str) -> str | None:
    """A policy: all but what the door itself keeps in the store."""
    return "it is the door's own" if key.startswith("fleet/") else None


@pytest.fixture
async def door_store(temperature: StreamDefinition, tmp_path: Path) -> AsyncIterator[DoorStore]:
    """The trainer's door, which lets one device do everything."""
    async with Cloud.opened(tmp_path, temperature, policy=let_all) as cloud:
        device = await cloud.joined()
        found = DoorStore(DoorSettings(cloud.url, token=device.shown))
        yield found
        await found.close()


@pytest.fixture(
    params=["folder", "aside", "door", *(pytest.param(name, marks=pytest.mark.s3) for name in ("s3", "https"))]
)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return FolderStore(tmp_path / "store")
    return request.getfixturevalue(f"{request.param}_store")
