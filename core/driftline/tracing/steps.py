"""What a worker makes of single records, as spans: one for each output of a record that is followed.

Its parent is the span that put the record out. Where several of a batch are followed, a span of its own stands for the
batch: it links to what caused it, and the others link to it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer, get_current_span

from driftline.bus.port import Envelope, Output
from driftline.tracing.contexts import sampled_context, traceparent_of
from driftline.tracing.ids import NamedIds


class RecordSpans:
    """See `driftline.worker.step_spans.StepSpans`. topic: what the worker reads. clock: nanoseconds since the epoch."""

    def __init__(self, tracer: Tracer, ids: NamedIds, topic: str, clock: Callable[[], int] = time.time_ns) -> None:
        self._tracer = tracer
        self._ids = ids
        self._topic = topic
        self._clock = clock
        self._began = 0
        self._causes: Sequence[Envelope[Any]] = ()
        self._open: list[Span] = []

    def begin(self, causes: Sequence[Envelope[Any]]) -> None:
        # Spans of a batch that failed are let go: what is done again has the same ids.
        self._began, self._causes, self._open = self._clock(), causes, []

    def stamped(self, outputs: Sequence[Any]) -> Sequence[Any]:
        followed = dict(_followed(outputs))
        if not followed:
            return outputs
        lots = {(cause.value.key, cause.value.t): cause for cause in self._causes if _traceparent(cause.value)}
        links = self._batch(list(followed.values())) if len(followed) > 1 else []
        return [
            self._span(output, followed[index], lots, links) if index in followed else output
            for index, output in enumerate(outputs)
        ]

    def end(self) -> None:
        now = self._clock()
        for span in self._open:
            span.end(now)
        self._open = []

    def _batch(self, contexts: Sequence[Context]) -> list[Link]:
        """Begins a span for the whole batch, and links to it unless the sampler leaves it out."""
        senders = (get_current_span(context).get_span_context() for context in contexts)
        causes = {sender.span_id: sender for sender in senders}
        attributes = {**self._attributes(), "messaging.batch.message_count": len(self._causes)}
        span = self._begin(Context(), attributes, [Link(cause) for cause in causes.values()])
        return [Link(span.get_span_context())] if span.is_recording() else []

    def _span(
        self,
        output: Output,
        parent: Context,
        lots: dict[tuple[str, int], Envelope[Any]],
        links: Sequence[Link],
    ) -> Output:
        message: Any = output.message
        self._ids.name(message.traceparent, self._topic, message.stream, message.key, str(message.t))
        attributes: dict[str, str | int] = {
            **self._attributes(),
            "driftline.stream": message.stream,
            "driftline.key": message.key,
            "driftline.t": message.t,
        }
        # One that has waited for its group came with a former batch.
        if cause := lots.get((message.key, message.t)):
            attributes["messaging.destination.partition.id"] = str(cause.partition)
            attributes["messaging.kafka.offset"] = cause.offset
        span = self._begin(parent, attributes, links)
        if not span.is_recording():
            return output
        stamped = msgspec.structs.replace(message, traceparent=traceparent_of(span))
        return Output(output.partition, output.topic, stamped)

    def _begin(self, parent: Context, attributes: dict[str, str | int], links: Sequence[Link]) -> Span:
        span = self._tracer.start_span(
            f"process {self._topic}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
            start_time=self._began,
        )
        self._open.append(span)
        return span

    def _attributes(self) -> dict[str, str | int]:
        return {"messaging.operation.type": "process", "messaging.destination.name": self._topic}


def _traceparent(message: Any) -> str:
    """Empty where it is not followed."""
    context = getattr(message, "traceparent", msgspec.UNSET)
    return "" if context is msgspec.UNSET else context


def _followed(outputs: Sequence[Any]) -> Iterator[tuple[int, Context]]:
    """The places of outputs that belong to a recorded trace, each with its context."""
    for index, output in enumerate(outputs):
        if (traceparent := _traceparent(output.message)) and (context := sampled_context(traceparent)) is not None:
            yield index, context
