"""What a worker makes of records that are followed: spans under those that put the records out, under the same ids
whenever it is done again."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import format_span_id

from driftline.bus.port import Envelope, Output
from driftline.messages import ALERTS, FORECASTS, Alert, Forecast, Record
from driftline.tracing.ids import NamedIds
from driftline.tracing.steps import RecordSpans

DOOR = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_DOOR = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"
NOT_RECORDED = DOOR[:-1] + "0"
TOPIC = "driftline.records.v1"


class Spans:
    """A worker's spans, and those that have ended."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        ids = NamedIds("driftline-inference")
        provider = TracerProvider(sampler=sampler, id_generator=ids, shutdown_on_exit=False)
        self._ended = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._ended))
        self.worker = RecordSpans(provider.get_tracer("tests"), ids, TOPIC)

    def work(self, records: Sequence[Record]) -> list[Any]:
        """The messages that are sent for them."""
        self.worker.begin([Envelope(0, offset, 0.0, record) for offset, record in enumerate(records)])
        outputs = self.worker.stamped([Output(0, FORECASTS, forecast(record)) for record in records])
        self.worker.end()
        return [output.message for output in outputs]

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        return self._ended.get_finished_spans()


def record(key: str = "a", traceparent: str | None = DOOR) -> Record:
    return Record("s", key, 600_000, {"y": 1.0}, 0.0, traceparent=traceparent or msgspec.UNSET)


def forecast(record: Record) -> Forecast:
    return Forecast(record.stream, record.key, record.t, 1.0, [1], {}, {}, 0.0, traceparent=record.traceparent)


def id_of(span: ReadableSpan) -> str:
    return format_span_id(span.context.span_id)


def test_the_span_is_below_the_one_that_put_the_record_out_and_its_output_names_it():
    spans = Spans()
    (output,) = spans.work([record()])
    (span,) = spans.ended
    assert format_span_id(span.parent.span_id) == "b7ad6b7169203331"
    assert output.traceparent.split("-")[1:3] == ["0af7651916cd43dd8448eb211c80319c", id_of(span)]
    assert span.attributes["messaging.kafka.offset"] == 0


def test_what_is_done_again_after_a_crash_has_the_same_id():
    before, after = Spans(), Spans()
    before.work([record()])
    after.work([record("b"), record()])
    assert id_of(before.ended[0]) in {id_of(span) for span in after.ended}


def test_records_of_one_request_have_ids_of_their_own():
    spans = Spans()
    spans.work([record("a"), record("b")])
    assert len({id_of(span) for span in spans.ended}) == 3  # and the batch


def test_a_batch_links_to_what_caused_it_and_the_records_link_to_the_batch():
    spans = Spans()
    spans.work([record("a"), record("b", OTHER_DOOR), record("c", None)])
    (batch,) = [span for span in spans.ended if span.parent is None]
    assert [format_span_id(link.context.span_id) for link in batch.links] == ["b7ad6b7169203331", "c7ad6b7169203331"]
    of_records = [span for span in spans.ended if span is not batch]
    assert [[link.context.span_id for link in span.links] for span in of_records] == [[batch.context.span_id]] * 2
    assert batch.attributes["messaging.batch.message_count"] == 3


@pytest.mark.parametrize("traceparent", [None, NOT_RECORDED, "", "nonsense", "00-0-0-01", "é" * 10_000])
def test_what_belongs_to_no_recorded_trace_is_sent_as_it_is(traceparent: str | None):
    spans = Spans()
    (output,) = spans.work([record(traceparent=traceparent)])
    assert output == forecast(record(traceparent=traceparent))
    assert not spans.ended


def test_where_the_sampler_leaves_a_service_out_the_trace_passes_through():
    spans = Spans(ALWAYS_OFF)
    (output,) = spans.work([record()])
    assert output.traceparent == DOOR
    assert not spans.ended


def test_alerts_are_sent_as_they_are():
    spans, alert = Spans(), Output(0, ALERTS, Alert("s", "a", 0, "drift", "y", "it drifts"))
    spans.worker.begin([])
    assert spans.worker.stamped([alert]) == [alert]


def test_a_batch_that_failed_leaves_no_span():
    spans = Spans()
    spans.worker.begin([Envelope(0, 0, 0.0, record())])
    spans.worker.stamped([Output(0, FORECASTS, forecast(record()))])
    spans.work([record()])
    assert len(spans.ended) == 1
