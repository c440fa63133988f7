"""`GET /v1/forecasts/…`: the next values of one series or of many, now or as they were issued before."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from heapq import merge
from itertools import groupby, islice
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import AwareDatetime, Field

from driftline.errors import NotFound
from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline_combiner.dashboard_buffer import DashboardBuffer
from driftline_combiner.etags import answered
from driftline_combiner.next_values import SeriesForecast, check_horizons, iso, series_forecast
from driftline_combiner.rest import AT_ONCE, LARGEST_PAGE, NEXT, PAGE, Key, Stream, step_of
from driftline_combiner.step import BlendStep

LAST_INSTANT = 253_402_300_799_999
"""Milliseconds from the epoch to the end of the year 9999, beyond which no time can be written."""
MEMORY = "DRIFTLINE_PAGE_POINTS"

ETAG = {"description": "Names this answer.", "required": False, "schema": {"type": "string"}}
HAS_IT = {"description": "The client has it already: its `If-None-Match` names it.", "headers": {"ETag": ETAG}}


class Question:
    """What both routes take; a dependency of FastAPI's. horizons: steps ahead, none for all of them. instant:
    milliseconds since the epoch, None for now."""

    def __init__(
        self,
        at: Annotated[
            Annotated[int, Field(ge=0, le=LAST_INSTANT)] | AwareDatetime | None,
            Query(
                description="as it was issued at that time, or at the last one before it: milliseconds since the "
                "epoch, or ISO 8601 with a zone",
                examples=["2026-01-01T06:00:00Z"],
            ),
        ] = None,
        horizon: Annotated[list[int] | None, Query(description="of these steps ahead alone")] = None,
        if_none_match: Annotated[str | None, Header(description="ETags of answers that the client has")] = None,
    ) -> None:
        self.horizons = horizon or []
        self.instant = round(1000 * at.timestamp()) if isinstance(at, datetime) else at
        self.if_none_match = if_none_match


class IssuedBlends:
    """The blends that are known here. buffer: None where nothing is remembered."""

    def __init__(self, stream_steps: Mapping[str, BlendStep], buffer: DashboardBuffer | None) -> None:
        self._stream_steps = stream_steps
        self._buffer = buffer

    def keys_behind(self, stream: str, key: str | None) -> Iterator[str]:
        """Of the series that are owned here or remembered, behind a key, in order and each once."""
        remembered = self._buffer.keys(stream) if self._buffer is not None else []
        behind = (known for known in remembered if key is None or known > key)
        return (known for known, _ in groupby(merge(self._stream_steps[stream].behind(key), behind)))

    def issued(self, stream: str, key: str, instant: int | None) -> Blend | None:
        """The newest of a series, also of one that another replica owns; or the newest that is not after an instant, as
        far back as is remembered."""
        newest = self._newest(stream, key)
        if instant is None or newest is None or newest.t <= instant:
            return newest
        return None if self._buffer is None else self._buffer.at((stream, key), instant)

    def _newest(self, stream: str, key: str) -> Blend | None:
        own = self._stream_steps[stream].latest(key)
        return own if own is not None or self._buffer is None else self._buffer.newest((stream, key))

    def memory(self, stream: str, key: str) -> str:
        """How far back it goes, in a sentence's end."""
        if self._buffer is None:
            return f"nothing but the newest is remembered, since {MEMORY} is 0"
        first = self._buffer.first_t((stream, key))
        return "nothing is remembered of it" if first is None else f"memory goes back to {iso(first)}"


def routes(stream_steps: Mapping[str, BlendStep], buffer: DashboardBuffer | None) -> APIRouter:
    router = APIRouter(tags=["forecasts"])
    blends = IssuedBlends(stream_steps, buffer)

    @router.get(
        "/v1/forecasts/{stream}",
        summary="The next values of many series",
        description="In order of the key, a page at a time: `Link` names the next page, as in RFC 8288. A series "
        "without a forecast is left out.",
        response_model=list[SeriesForecast],
        responses={200: {"headers": {"Link": NEXT, "ETag": ETAG}}, 304: HAS_IT, 404: {}},
    )
    async def of_many(
        stream: Stream,
        asked: Annotated[Question, Depends()],
        key: Annotated[list[str] | None, Query(description="of series of these keys alone")] = None,
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="series at most")] = PAGE,
        after: Annotated[str | None, Query(description="the key behind which the page begins")] = None,
    ) -> Response:
        definition = step_of(stream_steps, stream).stream
        check_horizons(definition, asked.horizons)
        wanted = blends.keys_behind(stream, after) if key is None else _behind(key, after)
        listed = list(islice(wanted, limit + 1))
        body = await _written(
            listed[:limit], lambda known: blends.issued(stream, known, asked.instant), asked, definition
        )
        more = {"Link": _next(asked, key, limit, listed[limit - 1])} if len(listed) > limit else {}
        return answered(body, asked.if_none_match, more)

    @router.get(
        "/v1/forecasts/{stream}/{key:path}",
        summary="The next values of a series",
        response_model=SeriesForecast,
        responses={200: {"headers": {"ETag": ETAG}}, 304: HAS_IT, 404: {}},
    )
    async def of_one(stream: Stream, key: Key, asked: Annotated[Question, Depends()]) -> Response:
        definition = step_of(stream_steps, stream).stream
        check_horizons(definition, asked.horizons)
        blend = blends.issued(stream, key, asked.instant)
        if blend is None:
            raise NotFound(_why_none(blends, stream, key, asked.instant))
        body = series_forecast(definition, blend, asked.horizons).model_dump_json().encode()
        return answered(body, asked.if_none_match, {})

    return router


def _behind(keys: Sequence[str], after: str | None) -> Iterator[str]:
    return (key for key in sorted(set(keys)) if after is None or key > after)


async def _written(
    keys: Sequence[str], issued: Callable[[str], Blend | None], asked: Question, stream: StreamDefinition
) -> bytes:
    """As JSON, in slices between which others get a turn."""
    written: list[str] = []
    for start in range(0, len(keys), AT_ONCE):
        blends = filter(None, map(issued, keys[start : start + AT_ONCE]))
        written += [series_forecast(stream, blend, asked.horizons).model_dump_json() for blend in blends]
        await asyncio.sleep(0)
    return f"[{','.join(written)}]".encode()


def _next(asked: Question, keys: Sequence[str] | None, limit: int, last: str) -> str:
    """keys: all that are asked for; what is behind is enough to be asked for again."""
    query: list[tuple[str, str | int]] = [("key", key) for key in _behind(keys or [], last)]
    query += [("horizon", steps) for steps in asked.horizons]
    query += [("at", asked.instant)] if asked.instant is not None else []
    return f'<?{urlencode([*query, ("limit", limit), ("after", last)])}>; rel="next"'


def _why_none(blends: IssuedBlends, stream: str, key: str, instant: int | None) -> str:
    if instant is None or blends.issued(stream, key, None) is None:
        return f"no forecast of {stream}/{key} yet, or another replica has it"
    return f"no forecast of {stream}/{key} from {iso(instant)} or before: {blends.memory(stream, key)}"
