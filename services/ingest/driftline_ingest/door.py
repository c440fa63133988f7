"""The REST door: records in, acknowledged only when the bus has them."""

import json
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from functools import lru_cache, partial
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.datastructures import QueryParams

from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.errors import InvalidInput
from driftline.messages import OBSERVATIONS, RECORDS, Observation, Record, Topic
from driftline.metrics import Metrics
from driftline.service.access.gate import AccessGate
from driftline.service.access.roles import Role
from driftline.service.body import read_body
from driftline.service.direct import Handler
from driftline.service.problems import NO_ROW, Problem, instance_of, problem
from driftline.streams.catalog import PerStream, Streams
from driftline.streams.reading.bodies import Malformed, RawRows
from driftline.streams.reading.nested import count_rows
from driftline.streams.reading.refusals import Refusal, shown
from driftline.streams.reading.rows import Records, RowReader
from driftline.tracing.port import R, Tracing
from driftline_ingest.arrivals import Arrivals
from driftline_ingest.census import Census
from driftline_ingest.door_counts import SourceCounts, StreamCounts
from driftline_ingest.limiter import Limiter
from driftline_ingest.notices import Notices
from driftline_ingest.parsing import PARSERS, TooManyRows, UnknownType, parse
from driftline_ingest.seen import Seen, Sifted
from driftline_ingest.settings import IngestSettings

QUERIES_REMEMBERED = 32
"""A sender asks the same with every request."""


class RefusedRow(BaseModel):
    """A row that is no record; `row` counts from 1."""

    row: int
    column: str
    found: str
    expected: str


class Receipt(BaseModel):
    """The result for the rows of a request."""

    accepted: int
    repeated: int
    """Acknowledged before."""
    out_of_order: int
    """Older than the newest of their series, and too old to be taken as late: by the stream's `forget`, or since it is
    no longer known whether they are repeated."""
    refused_total: int
    refused: list[RefusedRow]
    late: int | None = Field(
        None,
        description="of the accepted, those that came after later ones of their series: they are archived, and "
        "forecasts learn from them within the stream's `patience`; absent where there are none",
    )
    detail: str | None = Field(
        None,
        description="why nothing was accepted although there were records",
        examples=[
            "nothing new: 20 repeated, 0 out of order; the newest record of 'R80711' is of 2015-01-01T00:10:00.000Z"
        ],
    )


class RefusedReceipt(Receipt, Problem):
    """A receipt of which every row was refused, as a problem."""

    detail: str = Field(description="how many rows were refused")


EXAMPLE = {
    "Date_time": "2015-01-01T00:10:00+01:00",
    "Wind_turbine_name": "R80711",
    "Ot_avg": 4.2,
    "P_avg": 250.0,
    "Ws_avg": 6.1,
    "Ba_avg": -1.0,
    "Va_avg": 0.4,
    "Ya_avg": 181.0,
    "Wa_avg": 182.3,
}
FUTURE_EXAMPLE = {
    "issued": "2015-01-01T00:10:00+01:00",
    "Date_time": "2015-01-01T06:00:00+01:00",
    "Wind_turbine_name": "R80711",
    "temperature_forecast": 3.1,
}
ROW = {"type": "object", "additionalProperties": True}


def _documented(example: dict[str, Any], rows: str) -> dict[str, Any]:
    """What the description says of a request. rows: what they have to be."""
    lines = {"schema": {"type": "string", "description": "a JSON object in each line"}, "example": json.dumps(example)}
    bodies: dict[str, dict[str, Any]] = {
        "application/json": {"schema": {"anyOf": [ROW, {"type": "array", "items": ROW}]}, "example": example},
        "text/csv": {
            "schema": {"type": "string"},
            "example": "\n".join(",".join(map(str, row)) for row in (example, example.values())),
        },
    }
    return {
        "parameters": [
            {
                "name": "stream",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "example": "outdoor-temperature",
                "description": "The stream that the records belong to, or the source that streams share; where there "
                "is only one it may stay unnamed.",
            },
            {
                "name": "mapped",
                "in": "query",
                "required": False,
                "schema": {"type": "boolean", "default": False},
                "description": "Whether the rows have the definition's own columns, already mapped and scaled.",
            },
        ],
        "requestBody": {
            "required": True,
            "description": rows,
            "content": {kind: bodies.get(kind, lines) for kind in PARSERS},
        },
    }


DOCUMENTED = _documented(
    EXAMPLE,
    "Rows with the columns that the stream definition names, or with the fields that its `columns` map to them. A "
    "column that a row lacks is a missing value, as null is; other fields are ignored.",
)
FUTURES_DOCUMENTED = _documented(
    FUTURE_EXAMPLE,
    "Rows with the time that a value is for, the time when it was `issued`, the key (and group) where the stream has "
    "one, and the columns of the stream definition's `futures`; a missing value is null.",
)
ANSWERS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is broken; the answer names the position."},
    401: {"model": Problem, "description": "The token is missing or wrong."},
    403: {"model": Problem, "description": "The token's role is less than a sender's."},
    413: {"model": Problem, "description": "The body is too large, or has too many rows."},
    415: {"model": Problem, "description": "The content type is unknown."},
    429: {"model": Problem, "description": "The sender is over its limit: send the request again after `Retry-After`."},
    422: {
        "model": RefusedReceipt | Problem,
        "description": "Every row was refused, or the stream is unknown.",
    },
    503: {
        "model": Problem,
        "description": "The broker is unavailable, or this machine's clock is not set: no row was accepted.",
    },
}


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
            refused=[_refused(refusal) for refusal in listed],
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


def rows_of(receipt: Receipt) -> int:
    """Rows that a receipt is about."""
    return receipt.accepted + receipt.repeated + receipt.out_of_order + receipt.refused_total


def _of_group(group: str, key: str) -> str:
    return f"{shown(group)}, which key {shown(key)} has had"


def _refused(refusal: Refusal) -> RefusedRow:
    return RefusedRow(row=refusal.row, column=refusal.column, found=refusal.value, expected=refusal.expected)


def _none_taken(request: Request, receipt: Receipt) -> Response:
    """A receipt that is a problem."""
    fields = receipt.model_dump(mode="json", exclude_none=True, exclude={"detail"})
    detail = receipt.detail or f"none of {receipt.refused_total} rows can be used; `refused` says why"
    return problem(422, detail, kind=NO_ROW, instance=instance_of(request.scope["path"]), **fields)


@lru_cache(QUERIES_REMEMBERED)
def _asked(query: bytes) -> tuple[str | None, bool]:
    """The stream that a query names, and whether the rows have the definition's own columns."""
    asked = QueryParams(query)
    return asked.get("stream"), asked.get("mapped") == "true"


class DirectRoute(APIRoute):
    """Hands the request over as it is: what FastAPI does for parameters costs more than taking a record in."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


def direct_handlers(router: APIRouter) -> dict[str, Handler]:
    """By path the handlers that get requests as they are."""
    return {route.path: route.endpoint for route in router.routes if isinstance(route, DirectRoute)}


def routes(door: Door, settings: IngestSettings, limiter: Limiter, gate: AccessGate) -> APIRouter:
    router = APIRouter(tags=["records"], route_class=DirectRoute)

    @router.post(
        "/v1/records",
        summary="Take records in",
        status_code=202,
        response_model=Receipt,
        responses=ANSWERS,
        openapi_extra=DOCUMENTED,
    )
    async def take(request: Request) -> Response:
        return await answer(request, door.take)

    @router.post(
        "/v1/futures",
        summary="Take in what is known ahead",
        description="Accepted rows are on the bus. A series keeps them from its first record on, and for a bounded "
        "time ahead of its newest one.",
        status_code=202,
        response_model=Receipt,
        responses=ANSWERS,
        openapi_extra=FUTURES_DOCUMENTED,
    )
    async def foresee(request: Request) -> Response:
        return await answer(request, door.foresee)

    async def answer(request: Request, taking: Callable[..., Awaitable[tuple[Receipt, bool]]]) -> Response:
        sender = await gate.admit(request, Role.SENDER)
        limiter.admit(request, sender)
        named, mapped = _asked(request.scope["query_string"])
        name = await door.stream(named)
        body = await read_body(request, settings.body_limit)
        try:
            receipt, taken = await taking(name, request.headers.get("content-type", ""), body, mapped=mapped)
        except UnknownType as error:
            raise HTTPException(415, str(error)) from error
        except TooManyRows as error:
            raise HTTPException(413, str(error)) from error
        except Malformed as error:
            raise HTTPException(400, str(error)) from error
        limiter.count(request, sender, rows_of(receipt))
        if not taken:
            return _none_taken(request, receipt)
        return Response(receipt.model_dump_json(exclude_none=True), 202, media_type="application/json")

    return router
