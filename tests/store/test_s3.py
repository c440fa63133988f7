"""What only S3 has: events by a queue, and a server that can be away."""

import asyncio
import uuid
from contextlib import aclosing, nullcontext

import pytest

from driftline.errors import Conflict, StoreUnavailable, Unstorable
from driftline.s3 import S3Settings, S3Store
from driftline_cli import objects
from tests.s3_server import S3Server

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


async def answering(*answers: tuple[str, int]) -> tuple[asyncio.Server, str]:
    """A server that gives these answers, the last again and again; its address."""
    left = list(answers)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who is answered before he was told to go on does not send the body.
        await reader.readuntil(b"\r\n\r\n")
        code, status = left.pop(0) if len(left) > 1 else left[0]
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode() if code else b""
        lines = [f"HTTP/1.1 {status} so", "Content-Type: application/xml", 'ETag: "e"', f"Content-Length: {len(body)}"]
        writer.write("\r\n".join([*lines, "Connection: close", "\r\n"]).encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("KeyTooLongError", 400, Unstorable),
        ("XMinioInvalidObjectName", 400, Unstorable),
        ("EntityTooLarge", 400, Unstorable),
        ("RequestTimeout", 400, StoreUnavailable),
        ("ExpiredToken", 400, StoreUnavailable),
        ("AccessDenied", 403, StoreUnavailable),
        ("SlowDown", 503, StoreUnavailable),
    ],
)
async def test_what_no_retry_mends_is_told_apart_from_what_one_may(
    s3_server: S3Server, code: str, status: int, expected: type[Exception]
):
    server, address = await answering((code, status))
    store = S3Store(S3Settings("bucket", endpoint=address, timeout=2.0))
    try:
        with pytest.raises(expected, match=code):
            await store.put("windows/s/k/w", b"one", if_absent=True)
    finally:
        await store.close()
        server.close()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([("ConditionalRequestConflict", 409), ("", 200)], None),
        ([("ConditionalRequestConflict", 409), ("PreconditionFailed", 412)], Conflict),
        ([("ConditionalRequestConflict", 409)], StoreUnavailable),
    ],
)
async def test_whether_another_s_put_succeeds_is_waited_for(s3_server: S3Server, answers, expected):
    server, address = await answering(*answers)
    store = S3Store(S3Settings("bucket", endpoint=address, timeout=2.0))
    try:
        with pytest.raises(expected) if expected else nullcontext():
            await store.put("windows/s/k/w", b"one", if_absent=True)
    finally:
        await store.close()
        server.close()


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
