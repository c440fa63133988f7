"""What only S3 has: events by a queue, and a server that can be away."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, nullcontext
from pathlib import Path

import pytest
from aiohttp import web

from driftline.errors import Conflict, NotFound, StoreUnavailable, TooLarge, Unstorable
from driftline.metrics import Metrics
from driftline.store.port import clock_offset
from driftline.store.s3 import S3Settings, S3Store
from driftline.store.timed import TimedStore
from driftline_cli import broker, objects
from tests.s3_server import S3Server
from tests.store.endless import endless

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


async def test_all_watches_of_a_store_hear_of_an_event_that_comes_once(s3_server: S3Server):
    bucket = f"test-{uuid.uuid4().hex[:8]}"
    queues = await objects.prepare(s3_server.folder, s3_server.port, bucket)
    store = S3Store(S3Settings(bucket, endpoint=s3_server.endpoint, queue=queues["inference"]))
    # The server tests its queue with an event of no object, which is taken out first.
    async with asyncio.timeout(PATIENCE_S), aclosing(store.watch("models/", poll=600.0)) as wakes:
        assert [await anext(wakes), await anext(wakes)] == [None, None]
    async with (
        asyncio.timeout(PATIENCE_S),
        aclosing(store.watch("models/", poll=600.0)) as all_models,
        aclosing(store.watch("models/s/", suffix="current.json", poll=600.0)) as pointers,
    ):
        for wakes in (all_models, pointers):
            await anext(wakes)
        waking = [asyncio.ensure_future(anext(wakes)) for wakes in (all_models, pointers)]
        await store.put("models/s/batch/current.json", b"{}")
        assert await asyncio.gather(*waking) == [frozenset({"models/s/batch/current.json"})] * 2
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


NOON = 1_772_366_400.0
THEIRS = "Sun, 01 Mar 2026 13:00:00 GMT"
SAID = "the store refuses this machine's clock: it shows 2026-03-01T12:00:00.000Z, the store's is "


@asynccontextmanager
async def refusing(code: str, date: str = THEIRS) -> AsyncIterator[str]:
    """The endpoint of a server that refuses every request as S3 does; it yields its address."""

    async def refuse(_: web.Request) -> web.Response:
        body = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        return web.Response(status=403, text=body, content_type="application/xml", headers={"Date": date})

    app, port = web.Application(), broker.free_port()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("code", "date", "said"),
    [
        ("RequestTimeTooSkewed", THEIRS, SAID + "2026-03-01T13:00:00.000Z"),
        ("RequestTimeTooSkewed", "soon", SAID + "not told"),
        ("SignatureDoesNotMatch", THEIRS, SAID + "2026-03-01T13:00:00.000Z"),
        ("SignatureDoesNotMatch", "Sun, 01 Mar 2026 12:01:00 GMT", "the store answered 403 SignatureDoesNotMatch"),
        ("AccessDenied", THEIRS, "the store answered 403 AccessDenied"),
    ],
)
async def test_a_refusal_for_a_wrong_clock_names_both_clocks(s3_server: S3Server, code: str, date: str, said: str):
    async with refusing(code, date) as endpoint:
        store = S3Store(S3Settings("b", endpoint=endpoint), clock=lambda: NOON)
        with pytest.raises(StoreUnavailable) as refused:
            await store.put("a/b", b"kept")
        assert str(refused.value) == f"a/b: {said}"
        await store.close()


async def test_readiness_names_both_clocks_although_its_answer_has_no_body(s3_server: S3Server):
    async with refusing("RequestTimeTooSkewed") as endpoint:
        store = S3Store(S3Settings("b", endpoint=endpoint), clock=lambda: NOON)
        with pytest.raises(StoreUnavailable, match="the bucket: the store refuses this machine's clock: it shows"):
            await store.check()
        await store.close()


async def test_it_knows_by_how_much_this_machine_s_clock_is_off(s3_server: S3Server):
    hour = 3600.0
    store = S3Store(S3Settings("clocks", endpoint=s3_server.endpoint), clock=lambda: time.time() + hour)
    assert clock_offset(store) is None, "nobody has asked it anything yet"
    with pytest.raises((NotFound, StoreUnavailable)):
        await store.get("nothing")
    assert clock_offset(TimedStore(store, Metrics())) == pytest.approx(hour, abs=30)
    await store.close()
