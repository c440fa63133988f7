"""What only S3 has: events by a queue, and a server that can be away."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from driftline.errors import StoreUnavailable
from driftline.s3 import S3Settings, S3Store
from driftline_cli import objects
from tests.s3_server import S3Server

pytestmark = pytest.mark.s3
PATIENCE_S = 120


@pytest.fixture
def own_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """One that may be stopped: others of this run use the shared one."""
    found = S3Server(tmp_path)
    for name, value in objects.credentials(found.folder).items():
        monkeypatch.setenv(name, value)
    found.start()
    yield found
    found.stop()


async def test_a_watch_wakes_by_event_long_before_the_poll(s3_server: S3Server):
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    queues = await objects.prepare(s3_server.folder, s3_server.port, bucket)
    store = S3Store(S3Settings(bucket, endpoint=s3_server.endpoint, queue=queues["inference"]))
    async with asyncio.timeout(PATIENCE_S), aclosing(store.watch("models/", poll=600.0)) as wakes:
        await anext(wakes)
        waking = asyncio.ensure_future(anext(wakes))
        await store.put("models/s/batch/current.json", b"{}")
        await waking
    await store.close()


async def test_a_server_that_is_away_is_said_to_be_and_found_again(own_server: S3Server):
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    await objects.prepare(own_server.folder, own_server.port, bucket)
    store = S3Store(S3Settings(bucket, endpoint=own_server.endpoint, timeout=1.0))
    await store.put("a/b", b"kept")
    own_server.stop()
    try:
        with pytest.raises(StoreUnavailable, match="a/b"):
            await store.get("a/b")
        with pytest.raises(StoreUnavailable):
            await store.check()
    finally:
        own_server.start()
    assert (await store.get("a/b")).body == b"kept"
    await store.close()
