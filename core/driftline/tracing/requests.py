"""Requests as spans, of the trace that their sender names."""

from collections.abc import Collection

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftline.tracing.contexts import TRACEPARENT, TRACESTATE, context_of

SERVER_ERRORS = 500
WANTED = {TRACEPARENT.encode(), TRACESTATE.encode()}


class TracedRequests:
    """A middleware: POST requests to these paths are spans by OpenTelemetry's conventions, and what they cause is
    below them."""

    def __init__(self, app: ASGIApp, tracer: Tracer, paths: Collection[str]) -> None:
        self._app = app
        self._tracer = tracer
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self._paths:
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        attributes = {
            "http.request.method": "POST",
            "url.path": path,
            "http.route": path,
            "url.scheme": scope["scheme"],
        }
        with self._tracer.start_as_current_span(
            f"POST {path}", context=_sent(scope), kind=SpanKind.SERVER, attributes=attributes
        ) as span:
            await self._app(scope, receive, _noting(span, send))


def _sent(scope: Scope) -> Context:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in WANTED}
    return context_of(headers)


def _noting(span: Span, send: Send) -> Send:
    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] >= SERVER_ERRORS:
                span.set_status(Status(StatusCode.ERROR))
        await send(message)

    return noting
