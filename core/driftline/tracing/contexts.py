"""Trace contexts in W3C's form, as requests and messages carry them."""

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
_W3C = TraceContextTextMapPropagator()


def context_of(headers: Mapping[str, str]) -> Context:
    """What they say, or the empty one: whoever sends nonsense begins a trace like whoever sends nothing."""
    return _W3C.extract(headers, context=Context())


def sampled_context(traceparent: str) -> Context | None:
    """That of a message; None where it is not of a trace that is recorded."""
    context = context_of({TRACEPARENT: traceparent})
    return context if get_current_span(context).get_span_context().trace_flags.sampled else None


def traceparent_of(span: Span) -> str:
    headers: dict[str, str] = {}
    _W3C.inject(headers, context=set_span_in_context(span, Context()))
    return headers[TRACEPARENT]
