"""Traces by OpenTelemetry's SDK, sent by OTLP over HTTP from a thread of their own.

The SDK reads what the environment says of samplers, limits, resources, endpoints and headers.
"""

import asyncio
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import msgspec
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Tracer
from starlette.types import ASGIApp

from driftline.tracing.contexts import traceparent_of
from driftline.tracing.ids import NamedIds
from driftline.tracing.port import R
from driftline.tracing.requests import TracedRequests
from driftline.tracing.steps import RecordSpans

FOLLOWED = 100
"""Records of one request that are followed at most, so that a file of 10,000 rows is no trace of 30,000 spans."""
LAST_S = 3.0
"""How long the end of a service may wait for the receiver."""


class OtlpTracing:
    """See `driftline.tracing.port.Tracing`."""

    def __init__(self, service: str, exporter: SpanExporter) -> None:
        """service: its name where the environment gives none."""
        self._ids = NamedIds(service)
        self._provider = TracerProvider(
            resource=Resource.create(_named(service)), id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer: Tracer = self._provider.get_tracer(service)

    @classmethod
    def open(cls, service: str) -> "OtlpTracing":
        return cls(service, OTLPSpanExporter())

    def requests(self, app: ASGIApp, paths: Collection[str]) -> ASGIApp:
        return TracedRequests(app, self._tracer, frozenset(paths))

    @contextmanager
    def publishing(self, topic: str, records: Sequence[R]) -> Iterator[Sequence[R]]:
        attributes: dict[str, str | int] = {
            "messaging.operation.type": "send",
            "messaging.destination.name": topic,
            "messaging.batch.message_count": len(records),
        }
        with self._tracer.start_as_current_span(f"send {topic}", kind=SpanKind.PRODUCER, attributes=attributes) as span:
            if not span.is_recording():
                yield records
                return
            yield [*_followed(records[:FOLLOWED], traceparent_of(span)), *records[FOLLOWED:]]

    def steps(self, topic: str) -> RecordSpans:
        return RecordSpans(self._tracer, self._ids, topic)

    async def close(self) -> None:
        """The SDK may wait longer for a receiver that does not answer; then its thread ends with the process."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=end, name="last spans", daemon=True).start()
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                await done.wait()


def _followed(records: Sequence[R], traceparent: str) -> list[R]:
    return [msgspec.structs.replace(record, traceparent=traceparent) for record in records]


def _named(service: str) -> Mapping[str, str]:
    """What the environment does not say itself: the SDK would let this win over it."""
    return {} if SERVICE_NAME in OTELResourceDetector().detect().attributes else {SERVICE_NAME: service}
