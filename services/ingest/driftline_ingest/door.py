"""The door behind all protocols: rows in, records and futures out; a receipt is returned only when the bus has them."""

from collections.abc import Callable, Collection, Sequence
from functools import partial

from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.errors import InvalidInput
from driftline.messages import OBSERVATIONS, RECORDS, Observation, Record, Topic
from driftline.metrics import Metrics
from driftline.streams.catalog import PerStream, Streams
from driftline.streams.reading.bodies import RawRows
from driftline.streams.reading.nested import count_rows
from driftline.streams.reading.refusals import Refusal, shown
from driftline.streams.reading.rows import Records, RowReader
from driftline.tracing.port import R, Tracing
from driftline_ingest.arrivals import Arrivals
from driftline_ingest.census import Census
from driftline_ingest.door_counts import SourceCounts, StreamCounts
from driftline_ingest.notices import Notices
from driftline_ingest.parsing import TooManyRows, parse
from driftline_ingest.receipts import Receipt, RefusedRow
from driftline_ingest.seen import Seen, Sifted
from driftline_ingest.settings import IngestSettings


class Door:
    """Takes bodies in for all streams."""

    def __init__(
        self,
        settings: IngestSettings,
        bus: Bus,
        streams: Streams,
        census: Census,
        metrics: Metrics,
        clock: BelievedClock,
        is_synchronised: Callable[[], bool],
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._catalog = streams
        # What is sent belongs to a source, whose name is a stream's own where it has no other.
        self._streams = sources = streams.sources
        self._readers = PerStream(sources, partial(RowReader, arrival=True))
        self._mapped_readers = PerStream(sources, lambda stream: RowReader(stream.mapped))
        self._future_readers = PerStream(sources, partial(RowReader, futures=True))
        self._mapped_future_readers = PerStream(sources, lambda stream: RowReader(stream.mapped, futures=True))
        self._arrivals = Arrivals(sources, is_synchronised)
        self._notices = Notices(metrics)
        self._seen = Seen(sources)
        self._census = census
        self.metrics = metrics
        self._source_counts = PerStream(sources, partial(SourceCounts, metrics))
        self._stream_counts = PerStream(streams, partial(StreamCounts, metrics))
        self._clock = clock
        self._tracing = tracing

    async def stream(self, name: str | None) -> str:
        """The source that is meant; the only one there is may stay unnamed. Raises InvalidInput."""
        if name is not None and name in self._streams:
            return name
        if name is not None:
            # Its definition may have been put there a moment ago.
            await self._catalog.look()
        known = sorted(self._streams)
        if name is None and len(known) == 1:
            return known[0]
        source = self._streams.of_stream(name or "")
        if source is not None and name not in self._streams:
            raise InvalidInput(f"found stream {name!r}, expected ?stream={source}, the source that it shares")
        if name is None or name not in self._streams:
            raise InvalidInput(f"found stream {name!r}, expected ?stream= with one of {', '.join(known)}")
        return name

    def reader(self, stream: str, *, futures: bool = False, mapped: bool = False) -> RowReader:
        """Of records or futures. mapped: of rows that have the definition's own columns."""
        if futures:
            return (self._mapped_future_readers if mapped else self._future_readers)[stream]
        return (self._mapped_readers if mapped else self._readers)[stream]

    async def take(self, stream: str, content_type: str, body: bytes, *, mapped: bool = False) -> tuple[Receipt, bool]:
        """Publishes what is new, and returns the receipt and whether any row was a record.

        Raises Malformed, UnknownType, TooManyRows, Unavailable.
        """
        raw = self._parsed(stream, content_type, body, self.reader(stream, mapped=mapped))
        return await self.take_rows(stream, raw, mapped=mapped)

    async def foresee(
        self, stream: str, content_type: str, body: bytes, *, mapped: bool = False
    ) -> tuple[Receipt, bool]:
        """The same for futures; all that can be used are published, since a repeated one changes nothing.

        Raises InvalidInput when the stream has none, Malformed, UnknownType, TooManyRows, Unavailable.
        """
        if not self._streams[stream].futures:
            raise InvalidInput(f"found futures for stream {stream!r}, expected none: its definition has no `futures`")
        raw = self._parsed(stream, content_type, body, self.reader(stream, futures=True, mapped=mapped))
        return await self.foresee_rows(stream, raw, mapped=mapped)

    def _parsed(self, stream: str, content_type: str, body: bytes, reader: RowReader) -> RawRows:
        raw = parse(content_type, body, self._streams[stream].csv, reader.wanted)
        count = count_rows(raw.rows, self._streams[stream].rows)
        if count > self._settings.rows_limit:
            raise TooManyRows(f"found {count} rows, expected at most {self._settings.rows_limit} in one request")
        if raw.notes:
            self._notices.say(stream, raw.notes)
        return raw

    async def foresee_rows(self, stream: str, raw: RawRows, *, mapped: bool = False) -> tuple[Receipt, bool]:
        """The same for rows that were read already, of a stream that has futures. Raises Unavailable."""
        reader = self.reader(stream, futures=True, mapped=mapped)
        taken = self._read(stream, reader, raw, self.now())
        futures, moved = self._in_their_groups(stream, taken)
        refusals = sorted([*taken.refusals, *moved], key=lambda refusal: refusal.row)
        if futures.records:
            await self._bus.publish(RECORDS, futures.records)
        reader.remember(taken)
        self.metrics.futures.labels(stream).inc(len(futures.records))
        self.metrics.records_refused.labels(stream).inc(len(refusals))
        return self._receipt(Sifted(futures.records), refusals), bool(futures.records) or not refusals

    def _read(self, stream: str, reader: RowReader, raw: RawRows, now: float) -> Records:
        taken = reader.read(raw.rows, now, text=raw.text, decimal=raw.decimal)
        self._notices.hear(stream, reader, taken)
        if reader.guesses:
            self._notices.say(stream, reader.guesses)
        return taken

    def now(self) -> float:
        """Seconds since the epoch. Raises ClockUnset."""
        return self._clock.now()

    def say(self, stream: str, sentences: Collection[str]) -> None:
        """Logs each once."""
        self._notices.say(stream, sentences)

    def refused(self, stream: str) -> None:
        """Counts a row that could not even be read."""
        self.metrics.records_refused.labels(stream).inc()

    def ignore(self, stream: str, name: str) -> None:
        """Counts a field that came in a message of its own, and that the definition does not name."""
        self._notices.ignore(stream, {name: 1})

    async def take_rows(
        self,
        stream: str,
        raw: RawRows,
        *,
        mapped: bool = False,
        retained: Collection[int] = (),
        list_all: bool = False,
    ) -> tuple[Receipt, bool]:
        """The same for rows that were read already. retained: the numbers of those that a broker had kept. list_all:
        whether the receipt lists all refusals. Raises Unavailable."""
        now = self.now()
        reader = self.reader(stream, mapped=mapped)
        taken = self._read(stream, reader, raw, now)
        timed, aside = self._with_times(stream, taken, now, retained) if taken.untimed else (taken, ())
        grouped, moved = self._in_their_groups(stream, timed)
        limited, beyond = self._within_limit(stream, grouped)
        refused = [*taken.refusals, *moved, *beyond]
        # A grid tells itself what it has, and readings of one time may come in several messages.
        has_grid = self._streams[stream].grid is not None
        sifted = Sifted(limited.records) if has_grid else self._seen.sift(limited.records)
        # Before they are acknowledged, so that requests that come together do not pass the limit together.
        self._census.admit(sifted.fresh)
        if sifted.fresh:
            await self._publish(sifted.fresh, has_grid=has_grid)
            for fed in self._streams.streams_of(stream):
                self._stream_counts[fed.name].add(sifted.fresh, now)
        if not has_grid:
            self._seen.remember(sifted.fresh)
        reader.remember(taken)
        self._source_counts[stream].add(sifted, len(refused))
        refusals = sorted([*refused, *aside], key=lambda refusal: refusal.row) if refused or aside else []
        return self._receipt(sifted, refusals, list_all=list_all), bool(limited.records) or not refusals

    async def _publish(self, records: Sequence[Record], *, has_grid: bool) -> None:
        if has_grid:
            await self._put_out(OBSERVATIONS, [Observation.of(record) for record in records])
        else:
            await self._put_out(RECORDS, records)

    async def _put_out(self, topic: Topic[R], records: Sequence[R]) -> None:
        if self._tracing is None:
            await self._bus.publish(topic, records)
            return
        with self._tracing.publishing(topic.name, records) as followed:
            await self._bus.publish(topic, followed)

    def _with_times(
        self, stream: str, taken: Records, now: float, retained: Collection[int]
    ) -> tuple[Records, Sequence[Refusal]]:
        """Rows without a time are of their arrival; those that can't be are set aside."""
        dated = self._arrivals.date(stream, taken, now, retained)
        for reason, count in dated.counts.items():
            self.metrics.records_set_aside.labels(stream, reason).inc(count)
        return dated.taken, dated.aside

    def _receipt(self, sifted: Sifted, refusals: Sequence[Refusal], *, list_all: bool = False) -> Receipt:
        listed = refusals if list_all else refusals[: self._settings.refusals_listed]
        return Receipt(
            accepted=len(sifted.fresh),
            repeated=sifted.repeated,
            out_of_order=sifted.out_of_order,
            refused_total=len(refusals),
            refused=[RefusedRow.of(refusal) for refusal in listed],
            late=sifted.late or None,
            detail=sifted.detail,
        )

    def _in_their_groups(self, stream: str, taken: Records) -> tuple[Records, list[Refusal]]:
        """Leaves out records that name another group than their series has had, and says why."""
        former = self._census.former_groups(stream, taken.records)
        if not former:
            return taken, []
        (column,) = self._streams[stream].group_columns
        records, numbers = taken.records, taken.numbers
        moved = [
            Refusal(numbers[index], column, shown(records[index].group), _of_group(group, records[index].key))
            for index, group in former.items()
        ]
        return taken.without(former), moved

    def _within_limit(self, stream: str, taken: Records) -> tuple[Records, list[Refusal]]:
        """Leaves out records of keys that are too many, and says why."""
        beyond = self._census.too_many(stream, taken.records)
        if not beyond:
            return taken, []
        definition = self._streams[stream]
        column, expected = definition.key or "", f"one of the {definition.keys} keys that the stream may have (`keys`)"
        surplus = [index for index, record in enumerate(taken.records) if record.key in beyond]
        refusals = [Refusal(taken.numbers[n], column, shown(taken.records[n].key), expected) for n in surplus]
        self.metrics.keys_refused.labels(stream).inc(len(refusals))
        return taken.without(surplus), refusals


def _of_group(group: str, key: str) -> str:
    return f"{shown(group)}, which key {shown(key)} has had"
