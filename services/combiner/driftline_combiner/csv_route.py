"""`GET /v1/csv/…`: the next values of a series, and its remembered forecasts with their truths, as CSV files."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response, StreamingResponse
from pydantic import AwareDatetime, Field

from driftline.errors import NotFound
from driftline.messages import BLENDS, Blend
from driftline_combiner.dashboard_buffer import DashboardBuffer
from driftline_combiner.forecast_table import HEADER, WantedRows, rows_of, truths_of, written
from driftline_combiner.forecasts_route import LAST_INSTANT, IssuedBlends
from driftline_combiner.next_values import check_horizons
from driftline_combiner.rest import Key, Stream, step_of
from driftline_combiner.step import BlendStep

AT_ONCE = 50
"""Blends that are read before others get a turn."""
CSV = "text/csv; charset=utf-8; header=present"
AS_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "A file with a header line."},
    404: {},
}
Instant = Annotated[int, Field(ge=0, le=LAST_INSTANT)] | AwareDatetime | None
Horizons = Annotated[list[int] | None, Query(description="of these steps ahead alone")]


def _span(
    horizon: Horizons = None,
    begin: Annotated[
        Instant,
        Query(
            alias="from",
            description="of times from this one on: milliseconds since the epoch, or ISO 8601 with a zone",
            examples=["2026-01-01T06:00:00Z"],
        ),
    ] = None,
    end: Annotated[Instant, Query(alias="to", description="of times before this one, written likewise")] = None,
) -> WantedRows:
    """A dependency of FastAPI's."""
    return WantedRows(tuple(horizon or ()), _milliseconds(begin), _milliseconds(end))


def routes(stream_steps: Mapping[str, BlendStep], buffer: DashboardBuffer) -> APIRouter:
    router = APIRouter(tags=["forecasts"])
    blends = IssuedBlends(stream_steps, buffer)

    @router.get(
        "/v1/csv/next/{stream}/{key:path}",
        summary="The next values of a series as CSV",
        response_class=Response,
        responses=AS_CSV,
    )
    async def next_values(stream: Stream, key: Key, horizon: Horizons = None) -> Response:
        definition, wanted = step_of(stream_steps, stream).stream, WantedRows(tuple(horizon or ()))
        check_horizons(definition, wanted.horizons)
        blend = blends.issued(stream, key, None)
        if blend is None:
            raise NotFound(f"no forecast of {stream}/{key} yet, or another replica has it")
        text = HEADER + written(rows_of(definition, blend, wanted, {}))
        return Response(text, media_type=CSV, headers=_as_file(stream, key, "next"))

    @router.get(
        "/v1/csv/past/{stream}/{key:path}",
        summary="The remembered forecasts of a series and their truths as CSV",
        description="As far back as this process remembers: `DRIFTLINE_PAGE_POINTS` records at most. One line for each "
        "forecast, in order of issue.",
        response_class=Response,
        responses=AS_CSV,
    )
    async def past(stream: Stream, key: Key, wanted: Annotated[WantedRows, Depends(_span)]) -> Response:
        definition = step_of(stream_steps, stream).stream
        check_horizons(definition, wanted.horizons)
        remembered = buffer.remembered((stream, key))
        if not remembered:
            raise NotFound(f"no forecast of {stream}/{key} is remembered here")

        async def lines() -> AsyncIterator[str]:
            yield HEADER
            truths: dict[int, float] = {}
            async for part in _read(remembered):
                truths |= truths_of(part)
            async for part in _read(remembered):
                yield written(row for blend in part for row in rows_of(definition, blend, wanted, truths))

        return StreamingResponse(lines(), media_type=CSV, headers=_as_file(stream, key, "past"))

    return router


async def _read(payloads: Sequence[bytes]) -> AsyncIterator[list[Blend]]:
    """In slices between which others get a turn."""
    for start in range(0, len(payloads), AT_ONCE):
        yield [BLENDS.decode(payload) for payload in payloads[start : start + AT_ONCE]]
        await asyncio.sleep(0)


def _milliseconds(instant: int | datetime | None) -> int | None:
    return round(1000 * instant.timestamp()) if isinstance(instant, datetime) else instant


def _as_file(stream: str, key: str, kind: str) -> dict[str, str]:
    """Headers by which a browser saves it: RFC 6266, with a plain name for those that know no other."""
    name = f"{stream}-{key}-{kind}.csv"
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}",
        "Cache-Control": "no-cache",
    }
