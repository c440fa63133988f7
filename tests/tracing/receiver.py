"""A receiver of traces: OTLP over HTTP, as a collector takes it."""

import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import stamina
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

PATIENCE_S = 60


@dataclass(frozen=True)
class Received:
    """A span, and the name of the service that sent it."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    """Ids of the spans that it links to."""
    attributes: dict[str, str | int]
    lasted: int
    """Nanoseconds."""

    @classmethod
    def of(cls, service: str, span: Span) -> Self:
        values = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
        links = tuple(link.span_id.hex() for link in span.links)
        lasted = span.end_time_unix_nano - span.start_time_unix_nano
        ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
        return cls(service, span.name, *ids, links, values, lasted)


def read(body: bytes) -> list[Received]:
    return [
        Received.of(_service(resource), span)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _service(resource: ResourceSpans) -> str:
    return next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")


class Receiver:
    """Keeps all that comes, as long as it is entered."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                spans.extend(read(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def environment(self) -> dict[str, str]:
        """That of a process which sends its spans here, and soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_address[1]}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def of(self, trace: str) -> list[Received]:
        return [span for span in self.spans if span.trace == trace]

    async def has(self, trace: str, count: int, t: int | None = None) -> list[Received]:
        """The spans of a trace, once there are so many different ones; t: those of records of that time."""
        async for attempt in stamina.retry_context(
            on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.05, wait_max=0.2
        ):
            with attempt:
                spans = [span for span in self.of(trace) if t is None or span.attributes.get("driftline.t") == t]
                assert len({span.id for span in spans}) >= count, Counter(span.name for span in self.spans)
        return spans
