"""Connections that let a service wait: ended in time, and in nobody's way. Real sockets at a real service."""

import asyncio
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
import stamina

from tests.started import PATIENCE_S, Started

LIMIT = 100
HALF = b"POST /v1/records HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
SOUND = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
FEW = {"DRIFTLINE_CONNECTIONS": str(LIMIT)}
SOON = {"DRIFTLINE_HEAD_TIMEOUT": "1", "DRIFTLINE_BODY_TIMEOUT": "1"}

pytestmark = pytest.mark.process

Socket = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@asynccontextmanager
async def sockets(service: Started, count: int, sent: bytes) -> AsyncIterator[list[Socket]]:
    """Opens connections that all send the same and then nothing."""
    found: list[Socket] = []
    try:
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            found.append((reader, writer))
            writer.write(sent)
        yield found
    finally:
        for _, writer in found:
            writer.close()


async def said(reader: asyncio.StreamReader) -> bytes:
    """All that it says until the other end closes."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def answered(socket: Socket) -> bytes:
    """One answer of a few bytes."""
    async with asyncio.timeout(PATIENCE_S):
        head = await socket[0].readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await socket[0].readexactly(length)


async def until_counted(service: Started, words: str) -> None:
    async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.3):
        with attempt:
            assert words in (await service.get("/metrics")).text


async def test_thousands_of_half_open_requests_are_in_nobodys_way(tmp_path: Path, many_files):
    async with Started("ingest", tmp_path, FEW) as service:
        await service.readiness()
        process = psutil.Process(service.pid)
        files, memory = process.num_fds(), process.memory_info().rss
        async with sockets(service, 3000, HALF) as open_ones:
            for _ in range(50):
                assert (await service.get("/livez")).status_code == 200
            assert (await service.get("/v1/streams")).status_code == 200
            assert process.num_fds() < files + LIMIT + 32
            assert process.memory_info().rss < memory + 30_000_000
            answers = [await said(reader) for reader, _ in open_ones]
        late = [answer for answer in answers if b" 408 Request Timeout\r\n" in answer]
        assert LIMIT - 10 <= len(late) <= LIMIT
        assert all(b"the request's head did not come within 10 s" in answer for answer in late)
        assert any(b" 503 Service Unavailable\r\nretry-after: 2\r\n" in answer for answer in answers)


async def test_a_body_that_trickles_is_ended_and_others_are_served_meanwhile(tmp_path: Path):
    """At the trainer FastAPI reads the body, elsewhere we do: the bound is below both."""
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n"
    async with Started("trainer", tmp_path, FEW | SOON) as service:
        await service.readiness()
        async with sockets(service, LIMIT, head) as slow:

            async def trickle() -> None:
                while True:
                    for _, writer in slow[1:]:
                        if not writer.is_closing():
                            writer.write(b" ")
                    await asyncio.sleep(0.05)

            trickling = asyncio.create_task(trickle())
            assert (await service.get("/v1/jobs")).status_code == 200
            # Who still sends when it is answered may never see the answer; that it is over, everybody does.
            answers = [await said(reader) for reader, _ in slow]
            trickling.cancel()
        assert any(b" 408 Request Timeout\r\n" in answer or b" 503 Service" in answer for answer in answers)
        told = (await service.get("/metrics")).text
        ended = {reason: _counted(told, reason) for reason in ("body", "full")}
        assert ended["body"] >= LIMIT // 2
        assert ended["body"] + ended["full"] >= LIMIT
        assert "unexpected error" not in service.log


def _counted(told: str, reason: str) -> float:
    name = f'driftline_connections_ended_total{{reason="{reason}"}} '
    return float(told.partition(name)[2].partition("\n")[0] or 0)


async def test_only_a_request_that_has_begun_is_late(tmp_path: Path):
    """A proxy's connection that rests between two requests is still there when a request's head would be too late."""
    async with Started("combiner", tmp_path, {"DRIFTLINE_HEAD_TIMEOUT": "1"}) as service:
        await service.readiness()
        async with sockets(service, 2, SOUND) as ((resting, slow)):
            assert b" 200 OK" in await answered(resting)
            assert b" 200 OK" in await answered(slow)
            slow[1].write(HALF)
            assert b" 408 Request Timeout" in await said(slow[0])
            resting[1].write(SOUND)
            assert b" 200 OK" in await answered(resting)
            assert await said(resting[0]) == b""


async def test_an_answer_that_comes_before_the_body_ends_the_wait_for_it(tmp_path: Path):
    """The connection serves on: without a token nobody waits for a body, and what still comes of it is passed over."""
    head = b"POST /v1/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\n"
    async with Started("ingest", tmp_path, {"DRIFTLINE_BODY_TIMEOUT": "10", "DRIFTLINE_TOKEN": "hush"}) as service:
        await service.readiness()
        async with sockets(service, 2, head) as (good, silent):
            assert b" 401 Unauthorized" in await answered(good)
            good[1].write(b"abcdef" + SOUND + SOUND)
            assert b" 200 OK" in await answered(good)
            assert b" 200 OK" in await answered(good)
            assert b" 401 Unauthorized" in await answered(silent)
            assert await said(silent[0]) == b""


async def test_requests_in_one_packet_are_answered_in_order_and_a_half_one_behind_them_in_time(tmp_path: Path):
    async with Started("combiner", tmp_path, SOON) as service:
        await service.readiness()
        async with sockets(service, 1, SOUND + SOUND + HALF) as (socket,):
            assert b" 200 OK" in await answered(socket)
            assert b" 200 OK" in await answered(socket)
            assert b" 408 Request Timeout" in await said(socket[0])


@pytest.mark.parametrize("sent", [b"", b"\r\n"])
async def test_a_connection_that_asks_nothing_is_closed(tmp_path: Path, sent: bytes):
    async with Started("combiner", tmp_path, SOON) as service:
        await service.readiness()
        async with sockets(service, 1, sent) as ((reader, _),):
            assert await said(reader) == b""


async def test_a_head_that_never_ends_is_refused(tmp_path: Path):
    async with Started("combiner", tmp_path) as service:
        await service.readiness()
        async with sockets(service, 1, HALF) as ((reader, writer),):
            while not writer.is_closing() and not reader.at_eof():
                writer.write(b"x" * 10_000)
                try:
                    await writer.drain()
                except ConnectionError:
                    break
        await until_counted(service, "driftline_connections 1.0")
        memory = psutil.Process(service.pid).memory_info().rss
        assert memory < 400_000_000


async def test_who_does_not_take_the_answers_off_is_let_go(tmp_path: Path):
    async with Started("combiner", tmp_path, SOON) as service:
        await service.readiness()
        async with sockets(service, 1, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000) as (
            (reader, _),
        ):
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            await until_counted(service, 'driftline_connections_ended_total{reason="answer"} 1.0')


async def test_live_readers_have_a_bound_of_their_own_and_the_service_is_still_looked_after(tmp_path: Path):
    few = {"DRIFTLINE_CONNECTIONS": "8", "DRIFTLINE_PAGE_WATCHERS": "8"}
    live = b"GET /v1/live?stream=outdoor-temperature&key=k HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with Started("combiner", tmp_path, few) as service:
        await service.readiness()
        async with sockets(service, 8, live) as watching:
            for reader, _ in watching:
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert (await service.get("/livez")).status_code == 200
            assert (await service.get("/metrics")).status_code == 200
            refused = await service.get("/v1/series")
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
            assert refused.headers["Connection"] == "close"
        await until_counted(service, "driftline_connections 1.0")
        assert (await service.get("/v1/series")).status_code == 200


async def test_one_reader_too_many_is_told_to_come_again(tmp_path: Path):
    live = b"GET /v1/live?stream=outdoor-temperature&key=k HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with Started("combiner", tmp_path, {"DRIFTLINE_PAGE_WATCHERS": "2"}) as service:
        await service.readiness()
        async with sockets(service, 2, live) as watching:
            for reader, _ in watching:
                assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            refused = await service.get("/v1/live?stream=outdoor-temperature&key=k")
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
            assert "found 2 readers of /v1/live" in refused.json()["detail"]
