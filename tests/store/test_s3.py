"""What only S3 has: events by a queue, and a server that can be away."""

import asyncio
import uuid
from contextlib import aclosing

import pytest

from driftline.errors import StoreUnavailable, TooLarge
from driftline.s3 import S3Settings, S3Store
from driftline_cli import objects
from tests.s3_server import S3Server
from tests.store.endless import endless

pytestmark = pytest.mark.s3
PATIENCE_S = 60


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


async def test_a_server_that_is_away_is_said_to_be_and_found_again(s3_server: S3Server):
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    await objects.prepare(s3_server.folder, s3_server.port, bucket)
    store = S3Store(S3Settings(bucket, endpoint=s3_server.endpoint, timeout=1.0))
    await store.put("a/b", b"kept")
    s3_server.stop()
    try:
        with pytest.raises(StoreUnavailable, match="a/b"):
            await store.get("a/b")
        with pytest.raises(StoreUnavailable):
            await store.check()
    finally:
        s3_server.start()
    assert (await store.get("a/b")).body == b"kept"
    await store.close()


@pytest.mark.parametrize("head", [b"Content-Length: 1099511627776", b"Transfer-Encoding: chunked"])
async def test_of_an_object_that_never_ends_no_more_is_fetched_than_its_reader_takes(head: bytes, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    async with asyncio.timeout(PATIENCE_S), endless(head) as server:
        store = S3Store(S3Settings("bucket", endpoint=server.endpoint))
        for _ in range(3):
            with pytest.raises(TooLarge, match=r"windows/x: found .*, expected at most 4096 bytes"):
                await store.get("windows/x", limit=4096)
        await server.left.acquire()
        await store.close()
    assert server.sent < 3 * 16 * 1024 * 1024
