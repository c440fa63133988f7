"""What the door counts of each source and stream: metrics that are looked up once, not for every body."""

from collections.abc import Sequence

from driftline.messages import Record
from driftline.metrics import Metrics
from driftline.streams.definition import StreamDefinition
from driftline_ingest.seen import Sifted


class SourceCounts:
    """Of all that comes in under one name."""

    def __init__(self, metrics: Metrics, source: StreamDefinition) -> None:
        self._records = metrics.records.labels(source.name)
        self._refused = metrics.records_refused.labels(source.name)
        self._repeated = metrics.records_dropped.labels(source.name, "repeated")
        self._out_of_order = metrics.records_dropped.labels(source.name, "out_of_order")

    def add(self, sifted: Sifted, refused: int) -> None:
        """Of one body what became of its rows."""
        self._records.inc(len(sifted.fresh))
        self._refused.inc(refused)
        self._repeated.inc(sifted.repeated)
        self._out_of_order.inc(sifted.out_of_order)


class StreamCounts:
    """Of the records that were taken in for a stream; before the first there is no newest."""

    def __init__(self, metrics: Metrics, stream: StreamDefinition) -> None:
        self._stream = stream
        self._last = metrics.last_record.labels(stream.name)
        self._beyond = metrics.readings_beyond_range.labels(stream.name)

    def add(self, records: Sequence[Record], now: float) -> None:
        """now: seconds since the epoch."""
        target = self._stream.target
        self._last.set(now)
        self._beyond.inc(self._stream.beyond_range(record.values.get(target) for record in records))
