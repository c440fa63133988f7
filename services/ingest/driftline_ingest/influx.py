"""The door for whatever writes to InfluxDB: the write interfaces of its versions 2 and 1, as Telegraf calls them.

A bucket (or database) is a stream. A batch is answered once the bus has its good lines. If others are refused, the
answer is 400 as InfluxDB's partial write is: Telegraf then drops the batch, of which only those are lost. What may
succeed later, such as a bucket that no definition names yet, has an answer after which the sender keeps the batch.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, HTTPException, Request, Response

from driftline.errors import InvalidInput, Unavailable
from driftline.service.access import credentials
from driftline.service.access.gate import AccessGate
from driftline.service.access.roles import Caller, Role
from driftline.service.body import gunzip, read_body
from driftline.service.problems import RETRY_AFTER_S
from driftline.streams.reading.bodies import RawRows
from driftline.streams.reading.line_protocol import LineReader
from driftline_ingest.direct_routes import DirectRoute
from driftline_ingest.door import Door
from driftline_ingest.limiter import Limiter
from driftline_ingest.receipts import Receipt, rows_of
from driftline_ingest.settings import IngestSettings

CODES: Final[Mapping[int, str]] = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    413: "request too large",
    429: "too many requests",
    503: "unavailable",
}
VERSION: Final = {"X-Influxdb-Version": "2.7-driftline"}
LINES_SHOWN: Final = 3
"""Lines that an error speaks of."""


class InfluxError(Exception):
    """What InfluxDB's clients read. line: of the body, from 1."""

    def __init__(self, status: int, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.line = status, message, line


class InfluxDoor:
    """Takes lines in for all streams."""

    def __init__(self, settings: IngestSettings, door: Door, limiter: Limiter, gate: AccessGate) -> None:
        self._settings = settings
        self._door = door
        self._gate = gate
        self._limiter = limiter

    async def write(self, request: Request, bucket: str | None) -> None:
        """Takes what is good, then raises an error for the rest: InfluxError, HTTPException or Unavailable."""
        sender = await self._sender(request)
        self._limiter.admit(request, sender)
        stream = await self._stream(bucket)
        body = self._unpacked(request, await read_body(request, self._settings.body_limit))
        try:
            lines = LineReader(self._door.reader(stream), request.query_params.get("precision") or "ns")
        except InvalidInput as error:
            raise InfluxError(400, str(error)) from error
        raw = lines.rows(body)
        count = len(raw.rows) + len(raw.broken)
        if count > self._settings.rows_limit:
            raise InfluxError(413, f"found {count} lines, expected at most {self._settings.rows_limit} in one request")
        self._door.say(stream, raw.notes)
        receipt, _ = await self._door.take_rows(stream, raw)
        for _ in raw.broken:
            self._door.refused(stream)
        self._limiter.count(request, sender, rows_of(receipt) + len(raw.broken))
        if receipt.refused_total or raw.broken:
            raise _partial(raw, receipt)

    async def create(self, request: Request) -> None:
        """For version 1, whose clients create their database first: a stream has its definition. Raises InfluxError."""
        await self._sender(request)
        body = await read_body(request, self._settings.body_limit)
        query = (parse_qs(body.decode(errors="replace")).get("q") or [request.query_params.get("q") or ""])[0]
        if not query.upper().startswith("CREATE DATABASE"):
            raise InfluxError(400, f"found the query {query[:80]!r}, expected CREATE DATABASE: nothing is read here")

    async def _sender(self, request: Request) -> Caller:
        """Raises HTTPException, Unavailable."""
        return await self._gate.admit(request, Role.SENDER, credentials.influx)

    async def _stream(self, bucket: str | None) -> str:
        """Raises InfluxError. After 403 senders keep what they have, and its definition may come yet."""
        try:
            return await self._door.stream(bucket or None)
        except InvalidInput as error:
            known = str(error).partition("one of ")[2]
            message = f"found bucket {bucket or ''!r}, expected the name of a stream: {known}"
            raise InfluxError(403, message) from error

    def _unpacked(self, request: Request, body: bytes) -> bytes:
        """Raises InfluxError."""
        encoding = request.headers.get("content-encoding", "identity").lower()
        if encoding == "identity":
            return body
        if encoding != "gzip":
            raise InfluxError(400, f"found content encoding {encoding!r}, expected gzip or none")
        limit = self._settings.body_limit
        try:
            unpacked = gunzip(body, limit + 1)
        except zlib.error as error:
            raise InfluxError(400, f"broken gzip: {error}") from error
        if len(unpacked) > limit:
            raise InfluxError(413, f"found more than {limit} unpacked bytes, expected at most as many in one request")
        return unpacked


def _partial(raw: RawRows, receipt: Receipt) -> InfluxError:
    refused = receipt.refused_total + len(raw.broken)
    count = len(raw.rows) + len(raw.broken)
    reasons = sorted(_reasons(raw, receipt))
    shown = "; ".join(f"line {line}: {reason}" for line, reason in reasons[:LINES_SHOWN])
    more = f"; and {refused - LINES_SHOWN} more" if refused > LINES_SHOWN else ""
    message = f"partial write: {refused} of {count} lines are refused: {shown}{more}"
    return InfluxError(400, message, reasons[0][0] if reasons else None)


def _reasons(raw: RawRows, receipt: Receipt) -> Iterator[tuple[int, str]]:
    for refusal in raw.broken:
        yield refusal.row, f"found {refusal.value}, expected {refusal.expected}"
    for row in receipt.refused:
        yield raw.lines[row.row - 1], f"{row.column}: found {row.found}, expected {row.expected}"


def _of_2(error: InfluxError) -> Response:
    content: dict[str, object] = {"code": CODES.get(error.status, "invalid"), "message": error.message}
    return _answer(error, content if error.line is None else content | {"line": error.line})


def _of_1(error: InfluxError) -> Response:
    """Telegraf's plugin for version 1 drops a batch after any 4xx but `database not found`."""
    message = f"database not found: {error.message}" if error.status == HTTPStatus.FORBIDDEN else error.message
    status = {HTTPStatus.FORBIDDEN: 404, HTTPStatus.TOO_MANY_REQUESTS: 503}.get(HTTPStatus(error.status), error.status)
    answer = _answer(InfluxError(status, message), {"error": message})
    answer.headers["X-Influxdb-Error"] = message.encode("ascii", "replace").decode()
    return answer


def _answer(error: InfluxError, content: Mapping[str, object]) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_S)} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return Response(json.dumps(content), error.status, headers, media_type="application/json")


def routes(door: Door, settings: IngestSettings, limiter: Limiter, gate: AccessGate) -> APIRouter:
    """They are InfluxDB's, which describes them."""
    router = APIRouter(route_class=DirectRoute, include_in_schema=False)
    influx = InfluxDoor(settings, door, limiter, gate)

    @router.post("/api/v2/write")
    async def write(request: Request) -> Response:
        try:
            await influx.write(request, request.query_params.get("bucket"))
        except (InfluxError, HTTPException, Unavailable) as error:
            return _with_headers(_of_2(_in_its_words(error)), error)
        return Response(status_code=204)

    @router.post("/write")
    async def write_1(request: Request) -> Response:
        try:
            await influx.write(request, request.query_params.get("db"))
        except (InfluxError, HTTPException, Unavailable) as error:
            return _with_headers(_of_1(_in_its_words(error)), error)
        return Response(status_code=204)

    @router.post("/query")
    async def query(request: Request) -> Response:
        try:
            await influx.create(request)
        except (InfluxError, HTTPException, Unavailable) as error:
            return _of_1(_in_its_words(error))
        return Response('{"results":[{"statement_id":0}]}', media_type="application/json")

    return router


def probes() -> APIRouter:
    """What clients ask first."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/ping", methods=["GET", "HEAD"])
    async def ping() -> Response:
        return Response(status_code=204, headers=VERSION)

    @router.get("/health")
    async def health() -> dict[str, Any]:
        return {"name": "driftline", "message": "ready for writes", "status": "pass", "checks": []}

    return router


def _in_its_words(error: InfluxError | HTTPException | Unavailable) -> InfluxError:
    if isinstance(error, InfluxError):
        return error
    if isinstance(error, HTTPException):
        return InfluxError(error.status_code, str(error.detail))
    return InfluxError(503, str(error))


def _with_headers(answer: Response, error: Exception) -> Response:
    """When to come again."""
    if isinstance(error, HTTPException):
        answer.headers.update(error.headers or {})
    return answer
