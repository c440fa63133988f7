"""A service's connections, bounded in their number, and in how long a client may let the service wait.

uvicorn bounds the pause between two requests alone. Here a request's head and its body must come within their times;
an answer must be taken off; and when there are too many connections, the one that has let the service wait longest
makes room, so that a client that sends its request at once is served whatever the others hold open.
"""

import asyncio
import logging
from collections.abc import MutableSet
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from prometheus_client import Counter, Gauge
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from driftline.service.problems import MEDIA_TYPE, OF_STATUS, problem, problem_body

log = logging.getLogger(__name__)

HEAD_LIMIT = 64 * 1024
"""Bytes of a request beside its body, about."""
FRAMING = 8
"""Bytes at most that carry one byte of a body."""
PROBES = frozenset({b"/livez", b"/readyz", b"/metrics", b"/v2/health/live", b"/v2/health/ready"})
"""What is answered when there are too many connections, too: whoever watches the service shall see it."""
SPARE = 16
"""Connections above the limit, for those who ask for PROBES."""
SWEEP_S = 1.0
"""Time between looks at who is late."""
FULL = "there are too many connections, try again later"

Reason = Literal["head", "body", "idle", "answer", "full"]


@dataclass(frozen=True)
class ConnectionBounds:
    """connections: at most. head, body: seconds for a request's head and for its whole body. idle: seconds between two
    requests, after which uvicorn itself closes."""

    connections: int
    head: float
    body: float
    idle: float


class Connections:
    """All connections of one server. cut: counts those that were ended, by reason."""

    def __init__(self, bounds: ConnectionBounds, cut: Counter, count: Gauge) -> None:
        self.bounds = bounds
        self._cut = cut
        self._all: MutableSet[Any] = set()
        self._open: set[BoundedProtocol] = set()
        """Those of them that nobody has ended: for uvicorn one is there until the loop has said that it is lost."""
        self._awaited: dict[BoundedProtocol, None] = {}
        self._sweeping = False
        count.set_function(lambda: len(self._all))

    def protocol(self, **given: Any) -> "BoundedProtocol":
        """Makes the protocol of a new connection, as uvicorn asks for it."""
        return BoundedProtocol(self, **given)

    @property
    def too_many(self) -> bool:
        return len(self._open) > self.bounds.connections

    def enter(self, new: "BoundedProtocol") -> None:
        """Counts a connection in, and has another one leave when there are too many."""
        self._all = new.connections
        self._open.add(new)
        self.awaited(new)
        if self.too_many:
            late = next(iter(self._awaited))
            # When all others are at work, it may still be one that only looks after the service.
            if late is not new or len(self._open) > self.bounds.connections + SPARE:
                self.cut(late, "full")
        if not self._sweeping:
            self._sweeping = True
            new.loop.call_later(SWEEP_S, self._sweep, new.loop)

    def awaited(self, connection: "BoundedProtocol") -> None:
        """The client has the next move; who has it longest comes first."""
        if connection in self._open:
            self._awaited[connection] = None

    def at_work(self, connection: "BoundedProtocol") -> None:
        """The service has the next move."""
        self._awaited.pop(connection, None)

    def over(self, connection: "BoundedProtocol") -> None:
        self.at_work(connection)
        self._open.discard(connection)

    def cut(self, connection: "BoundedProtocol", reason: Reason) -> None:
        self._cut.labels(reason).inc()
        if reason == "full":
            log.warning("there are more than %d connections, ending the slowest", self.bounds.connections)
        self.over(connection)
        connection.end(reason)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._all):
            reason = connection.late(now)
            if reason is not None:
                self.cut(connection, reason)
        self._sweeping = bool(self._all)
        if self._sweeping:
            loop.call_later(SWEEP_S, self._sweep, loop)


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's own, which tells `Connections` whose move it is."""

    def __init__(self, all_of_them: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._all = all_of_them
        self._own_app = self.app
        self._part: Literal["head", "body", "idle"] = "idle"
        """What the client is in the midst of sending; idle: no request, or one that has come whole."""
        self._seen: object = None
        """The request of which that is a part."""
        self._since = self.loop.time()
        """Since when it has the next move."""
        self._unread: float | None = None
        """Since when it does not take its answer off."""
        self._overhead = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._all.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.over(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope or cycle.more_body:
            self._note(len(data))
            return
        # It came whole, as most do.
        self._part = "idle"
        if not cycle.response_complete:
            self._all.at_work(self)

    def on_headers_complete(self) -> None:
        self.app = self._own_app
        if self._all.too_many and self.url.partition(b"?")[0] not in PROBES:
            self.app = _full
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._overhead -= FRAMING * len(body)
        super().on_body(body)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._since = self.loop.time()
        if self._waits:
            self._all.awaited(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.time()
        self._all.awaited(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread = None
        if not self._waits:
            self._all.at_work(self)

    def late(self, now: float) -> Reason | None:
        """With what the client lets the service wait for too long."""
        bounds = self._all.bounds
        if self._unread is not None:
            return "answer" if now - self._unread > bounds.body else None
        if not self._waits and not self.transport.is_closing():
            return None
        # uvicorn itself closes an idle one, unless it has sent line ends meanwhile, which begin no request.
        allowed = {"head": bounds.head, "body": bounds.body, "idle": bounds.head + bounds.idle}[self._part]
        return self._part if now - self._since > allowed else None

    def end(self, reason: Reason) -> None:
        """Closes; where a request was begun that nobody has answered, with an answer that says why."""
        self._since = self.loop.time()
        if self._unread is not None or self.transport.is_closing() or (reason == "full" and self._part == "idle"):
            self.transport.abort()  # what is not sent by now, nobody reads
        elif self._part == "idle" or (self._part == "body" and self.cycle.response_started):
            self.transport.close()
        elif reason == "full":
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, FULL)
        else:
            allowed = getattr(self._all.bounds, self._part)
            said = f"the request's {self._part} did not come within {allowed:g} s"
            self._answer(HTTPStatus.REQUEST_TIMEOUT, said)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _waits(self) -> bool:
        """Whether the client has the next move: nothing that it asked before is still to be answered."""
        return not self.pipeline if self._part == "body" else not self._is_answering

    def _note(self, size: int) -> None:
        """Notes what part of a request is still to come, and since when; `size` bytes have come now."""
        is_body = self.cycle is not None and self.cycle.scope is self.scope
        part: Literal["head", "body", "idle"] = "idle" if self.scope is None else "body" if is_body else "head"
        if part != self._part or self.scope is not self._seen:
            self._part, self._seen, self._since, self._overhead = part, self.scope, self.loop.time(), 0
            if not self._waits:
                self._all.at_work(self)
            return
        self._overhead += size
        if self._overhead > HEAD_LIMIT and not self.transport.is_closing():
            self._answer(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"found more than {HEAD_LIMIT} bytes before a body"
            )

    def send_400_response(self, msg: str) -> None:
        """To what is no HTTP."""
        if self._waits:
            self.transport.write(_last_answer(HTTPStatus.BAD_REQUEST, msg))
        self.transport.close()

    def _answer(self, status: HTTPStatus, detail: str) -> None:
        if self._part == "body":
            self.cycle.disconnected = True  # so that nothing is written behind it
        if self._waits:
            self.transport.write(_last_answer(status, detail))
        self.transport.close()


def _last_answer(status: HTTPStatus, detail: str) -> bytes:
    """A problem as it goes over the line, after which the connection is closed."""
    body = problem_body(status.value, detail)
    headers = {
        **OF_STATUS.get(status.value, {}),
        "Connection": "close",
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name.lower()}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _refusing() -> ASGIApp:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, FULL, headers={"Connection": "close"})


_full = _refusing()
