"""Takes what InfluxDB's clients post to an address of this machine, for a while, and keeps none of it."""

import asyncio
import errno
import socket
import time
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import uvicorn
from fastapi import APIRouter, FastAPI, HTTPException, Request, Response

from driftline.errors import InvalidInput, Unavailable
from driftline.service.body import gunzip, read_body
from driftline.streams.reading.line_protocol import check_precision
from driftline_cli.lines_survey import SentLines

MOST_LINES: Final = 20_000
"""Lines that are enough."""
MOST_BYTES: Final = 64 * 1024 * 1024
BODY_LIMIT: Final = 16 * 1024 * 1024
END_S: Final = 1
"""For the last requests."""
EXAMPLE: Final = "http://127.0.0.1:8086/influx"


@dataclass(frozen=True)
class DoorUrl:
    """http://HOST:PORT/PATH. path: before those of InfluxDB's interfaces, without a slash at its end."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "DoorUrl":
        """Raises InvalidInput."""
        parts = urlsplit(url)
        # A password is shown to nobody, not even in an error.
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        try:
            port = parts.port
        except ValueError as error:
            raise InvalidInput(f"{shown}: {error}") from error
        if not parts.hostname or not port:
            lacking = "port" if parts.hostname else "host"
            raise InvalidInput(f"{shown}: found no {lacking}, expected an address of this machine such as {EXAMPLE}")
        return cls(parts.hostname, port, parts.path.rstrip("/"))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.path}"


@dataclass
class Received:
    """What was posted. buckets: by name how often one was named. enough: whether nothing more is needed."""

    sent: list[SentLines] = field(default_factory=list)
    buckets: Counter[str] = field(default_factory=Counter)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    _lines: int = 0
    _bytes: int = 0

    @property
    def bucket(self) -> str | None:
        """The one that was named most often."""
        return next((name for name, _ in self.buckets.most_common(1)), None)

    def take(self, body: bytes, precision: str, bucket: str | None) -> None:
        self.sent.append(SentLines(body, precision, time.time()))
        self.buckets.update([bucket] if bucket else [])
        self._lines += body.count(b"\n") + 1
        self._bytes += len(body)
        if self._lines >= MOST_LINES or self._bytes >= MOST_BYTES:
            self.enough.set()


def receive(url: DoorUrl, seconds: float, say: Callable[[str], None]) -> Received:
    """What is posted in that time. say: gets a sentence as soon as it listens. Raises InvalidInput for an address that
    is none of this machine, Unavailable for one that is in use."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(opened) for opened in _sockets(url)]
        return asyncio.run(_receive(url, sockets, seconds, say))


async def _receive(
    url: DoorUrl, sockets: Sequence[socket.socket], seconds: float, say: Callable[[str], None]
) -> Received:
    received = Received()
    config = uvicorn.Config(
        _app(url.path, received), log_config=None, lifespan="off", timeout_graceful_shutdown=END_S, ws="none"
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(list(sockets)))
    enough = asyncio.create_task(received.enough.wait())
    say(f"listening at {url} for {seconds:g} s: it looks at what is sent there, and keeps none of it")
    await asyncio.wait({serving, enough}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    enough.cancel()
    server.should_exit = True
    await serving
    return received


def _sockets(url: DoorUrl) -> list[socket.socket]:
    """That listen at all addresses that the host has here. Raises InvalidInput, Unavailable."""
    try:
        addresses = dict.fromkeys(
            (family, address) for family, *_, address in socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        )
    except OSError as error:
        raise InvalidInput(f"{url}: found no address of {url.host!r}, expected one of this machine: {error}") from error
    sockets: list[socket.socket] = []
    errors: list[OSError] = []
    for family, address in addresses:
        try:
            sockets.append(socket.create_server(address[:2], family=family))
        except OSError as error:
            errors.append(error)
    if not sockets:
        raise _refusal(url, errors[0])
    return sockets


def _refusal(url: DoorUrl, error: OSError) -> InvalidInput | Unavailable:
    if error.errno == errno.EADDRNOTAVAIL:
        problem = f"{url.host} is no address of this machine, where others send to; expected one such as {EXAMPLE}"
        return InvalidInput(f"{url}: {problem}")
    if error.errno == errno.EADDRINUSE:
        return Unavailable(f"{url}: port {url.port} is in use already: name another one, or end what listens there")
    return Unavailable(f"{url}: can't listen there: {error.strerror}")


def _app(path: str, received: Received) -> FastAPI:
    """The write interfaces of InfluxDB's versions 2 and 1 below `path`, and as well without it."""
    router = APIRouter()

    @router.post("/api/v2/write")
    async def write(request: Request) -> Response:
        return await _take(request, received, request.query_params.get("bucket"))

    @router.post("/write")
    async def write_1(request: Request) -> Response:
        return await _take(request, received, request.query_params.get("db"))

    @router.post("/query")
    async def query() -> Response:
        """Version 1's clients create their database first."""
        return Response('{"results":[{"statement_id":0}]}', media_type="application/json")

    @router.api_route("/ping", methods=["GET", "HEAD"])
    async def ping() -> Response:
        return Response(status_code=204, headers={"X-Influxdb-Version": "2.7-driftline"})

    @router.get("/health")
    async def health() -> dict[str, str]:
        return {"name": "driftline", "message": "ready for writes", "status": "pass"}

    app = FastAPI(openapi_url=None)
    for prefix in dict.fromkeys((path, "")):
        app.include_router(router, prefix=prefix)
    return app


async def _take(request: Request, received: Received, bucket: str | None) -> Response:
    precision = request.query_params.get("precision") or "ns"
    body = await read_body(request, BODY_LIMIT)
    try:
        check_precision(precision)
        if request.headers.get("content-encoding", "identity").lower() == "gzip":
            body = gunzip(body, BODY_LIMIT + 1)
    except (InvalidInput, zlib.error) as error:
        raise HTTPException(400, str(error)) from error
    if len(body) > BODY_LIMIT:
        raise HTTPException(413, f"found more than {BODY_LIMIT} unpacked bytes")
    received.take(body, precision, bucket)
    return Response(status_code=204)
