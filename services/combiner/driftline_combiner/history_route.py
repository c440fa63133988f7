"""`GET /v1/history/…`: what was forecast of a series, from the archive and, where that ends, from memory."""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import AwareDatetime, Field

from driftline.streams.definition import StreamDefinition
from driftline_combiner.dashboard_buffer import DashboardBuffer
from driftline_combiner.etags import answered
from driftline_combiner.forecasts_route import ETAG, HAS_IT, LAST_INSTANT
from driftline_combiner.history import PastForecast, SeriesHistory
from driftline_combiner.next_values import check_horizons
from driftline_combiner.rest import NEXT, Key, Stream, step_of
from driftline_combiner.result_archive import HistoryRange, ResultArchive
from driftline_combiner.step import BlendStep

ROWS, MOST_ROWS = 1000, 5000
"""Of one answer: unless another number is asked for, and at most."""

Instant = Annotated[int, Field(ge=0, le=LAST_INSTANT)] | AwareDatetime
WRITTEN = "milliseconds since the epoch, or ISO 8601 with a zone"


class HistoryQuestion:
    """What the route takes; a dependency of FastAPI's."""

    def __init__(
        self,
        since: Annotated[
            Instant | None,
            Query(alias="from", description=f"issued then or later: {WRITTEN}", examples=["2026-01-01T00:00:00Z"]),
        ] = None,
        to: Annotated[Instant | None, Query(description=f"issued before then: {WRITTEN}")] = None,
        horizon: Annotated[list[int] | None, Query(description="of these steps ahead alone")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ROWS, description="rows at most")] = ROWS,
        if_none_match: Annotated[str | None, Header(description="ETags of answers that the client has")] = None,
    ) -> None:
        self.begin = 0 if since is None else _milliseconds(since)
        self.end = None if to is None else _milliseconds(to)
        self.horizons = horizon or []
        self.limit = limit
        self.if_none_match = if_none_match

    def of(self, stream: StreamDefinition, key: str) -> HistoryRange:
        """Raises InvalidInput for a horizon that the stream does not have."""
        check_horizons(stream, self.horizons)
        horizons = [steps for steps in stream.horizon if not self.horizons or steps in self.horizons]
        return HistoryRange(stream, key, horizons, self.begin, LAST_INSTANT if self.end is None else self.end)

    def next_page(self, begin: int) -> str:
        query: list[tuple[str, int]] = [("from", begin), *(("horizon", steps) for steps in self.horizons)]
        query += [("to", self.end)] if self.end is not None else []
        return f'<?{urlencode([*query, ("limit", self.limit)])}>; rel="next"'


class PastForecasts:
    """Of the archive and of memory. archive, buffer: None where there is none."""

    def __init__(self, archive: ResultArchive | None, buffer: DashboardBuffer | None) -> None:
        self._archive = archive
        self._buffer = buffer

    async def first(self, asked: HistoryRange, count: int) -> list[PastForecast]:
        """The first so many rows. Raises Unavailable where the store is needed and does not answer."""
        rows: list[PastForecast] = []
        async with aclosing(self._rows(asked)) as every:
            async for row in every:
                rows.append(row)
                if len(rows) == count:
                    break
        return rows

    async def _rows(self, asked: HistoryRange) -> AsyncGenerator[PastForecast]:
        """Memory has every row from its first one on, so the archive is read up to there."""
        first = None if self._buffer is None else self._buffer.first_t((asked.stream.name, asked.key))
        if self._archive is not None and (first is None or asked.begin < first):
            archived = HistoryRange(
                asked.stream,
                asked.key,
                asked.horizons,
                asked.begin,
                asked.end if first is None else min(asked.end, first),
            )
            async with aclosing(self._archive.rows(archived)) as every:
                async for row in every:
                    yield row
        for row in self._remembered(asked, first):
            yield row

    def _remembered(self, asked: HistoryRange, first: int | None) -> Iterator[PastForecast]:
        if self._buffer is None or first is None:
            return
        begin = max(asked.begin, first)
        for blend in self._buffer.between((asked.stream.name, asked.key), begin, asked.end):
            yield PastForecast.of(asked.stream, blend, asked.horizons)


def routes(
    stream_steps: Mapping[str, BlendStep], archive: ResultArchive | None, buffer: DashboardBuffer | None
) -> APIRouter:
    router = APIRouter(tags=["forecasts"])
    past = PastForecasts(archive, buffer)

    @router.get(
        "/v1/history/{stream}/{key:path}",
        summary="The former forecasts of a series",
        description="From the archive, and from memory where the archive ends, in order of time, a page at a time: "
        "`Link` names the next page, as in RFC 8288. The truth of what was forecast for a time is `observed` of the "
        "row that was issued then.",
        response_model=SeriesHistory,
        responses={200: {"headers": {"Link": NEXT, "ETag": ETAG}}, 304: HAS_IT, 404: {}, 503: {}},
    )
    async def of_one(stream: Stream, key: Key, asked: Annotated[HistoryQuestion, Depends()]) -> Response:
        definition = step_of(stream_steps, stream).stream
        rows = await past.first(asked.of(definition, key), asked.limit + 1)
        page = rows[: asked.limit]
        body = msgspec.json.encode(SeriesHistory(stream, key, definition.target, definition.unit, page))
        more = {"Link": asked.next_page(rows[-1].issued)} if len(rows) > len(page) else {}
        return answered(body, asked.if_none_match, more)

    return router


def _milliseconds(instant: int | datetime) -> int:
    return round(1000 * instant.timestamp()) if isinstance(instant, datetime) else instant
