"""The dashboard and what it reads: `/`, `/v1/live`, `/v1/series` and `/v1/overview`. Nothing here changes anything."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field, TypeAdapter
from starlette.staticfiles import StaticFiles

from driftline.errors import NotFound, Unavailable
from driftline.streams.definition import StreamDefinition
from driftline_combiner.dashboard_buffer import LATEST_ALERTS, DashboardBuffer
from driftline_combiner.etags import answered
from driftline_combiner.forecasts_route import ETAG, HAS_IT
from driftline_combiner.overview import Overview

PAGE = Path(__file__).with_name("page")
SAFE = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class StreamSeries(BaseModel):
    """A stream as the dashboard needs it."""

    stream: str
    description: str
    target: str
    unit: str | None = Field(description="of the target, where the definition names one", examples=["kW"])
    range: tuple[float | None, float | None] | None = Field(
        description="least and greatest possible value of the target, null for an open side", examples=[[0, 3000]]
    )
    period: int = Field(description="seconds between two records of a key")
    horizon: list[int]
    keys: list[str] = Field(description="series that have had a blend since this process runs")


class Health(BaseModel):
    """A service's readiness."""

    name: str
    state: str
    detail: str


class AlertAnswer(BaseModel):
    """Something a person should look at; see the message of the alerts topic."""

    stream: str
    key: str
    t: int = Field(description="milliseconds since the epoch, UTC")
    kind: str = Field(examples=["drift"])
    subject: str = Field(description="the member, column or model that it is about")
    detail: str


class OverviewAnswer(BaseModel):
    """The services and their models."""

    services: list[Health]
    models: list[dict[str, Any]] = Field(description="as inference's `GET /v1/models` tells them")
    edge: dict[str, Any] | None = Field(
        None, description="which edge this is, as inference says; none while that does not answer"
    )


def assets() -> StaticFiles:
    """Scripts and styles, all of them local."""
    return StaticFiles(directory=PAGE)


class Watchers:
    """Counts the answers that never end: any number of them would leave no connection for others."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._now = 0

    async def admit(self) -> AsyncIterator[None]:
        """A dependency, over when its answer is. Raises Unavailable when there are as many as may be."""
        if self._now >= self._limit:
            raise Unavailable(f"found {self._now} readers of /v1/live, expected at most as many; try again later")
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1


KNOWN_SERIES = TypeAdapter(list[StreamSeries])


def _stream_series(name: str, stream: StreamDefinition, keys: list[str]) -> StreamSeries:
    return StreamSeries(
        stream=name,
        description=stream.description,
        target=stream.target,
        unit=stream.unit,
        range=stream.range,
        period=stream.time.period,
        horizon=list(stream.horizon),
        keys=keys,
    )


def routes(
    streams: Mapping[str, StreamDefinition], buffer: DashboardBuffer, overview: Overview, watchers_limit: int
) -> APIRouter:
    router = APIRouter(tags=["dashboard"])

    @router.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=SAFE)

    @router.get(
        "/v1/series",
        summary="Streams and their series",
        description="With thousands of series it is long: a client that sends the `ETag` of its last answer gets 304 "
        "until there is a new series.",
        response_model=list[StreamSeries],
        responses={200: {"headers": {"ETag": ETAG}}, 304: HAS_IT},
    )
    async def series(
        if_none_match: Annotated[str | None, Header(description="ETags of answers that the client has")] = None,
    ) -> Response:
        known = [_stream_series(name, stream, buffer.keys(name)) for name, stream in streams.items()]
        return answered(KNOWN_SERIES.dump_json(known), if_none_match, {})

    @router.get("/v1/overview", summary="The services and their models")
    async def look() -> OverviewAnswer:
        services = [Health(**msgspec.structs.asdict(health)) for health in await overview.services()]
        edge, models = await overview.models()
        return OverviewAnswer(services=services, models=models, edge=edge)

    @router.get("/v1/alerts", summary="The latest alerts of all series, the newest first")
    async def alerts(
        limit: Annotated[int, Query(ge=1, le=LATEST_ALERTS)] = LATEST_ALERTS,
    ) -> list[AlertAnswer]:
        return [AlertAnswer(**msgspec.structs.asdict(alert)) for alert in buffer.alerts()[:limit]]

    _add_live_route(router, streams, buffer, Watchers(watchers_limit))
    return router


def _add_live_route(
    router: APIRouter, streams: Mapping[str, StreamDefinition], buffer: DashboardBuffer, watchers: Watchers
) -> None:
    async def from_where(
        stream: Annotated[str, Query(examples=["outdoor-temperature"])],
        key: Annotated[str, Query(examples=["R80711"])],
        after: Annotated[int, Query(description="milliseconds since the epoch")] = -1,
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> tuple[str, str, int]:
        if stream not in streams:
            raise NotFound(f"found no stream {stream!r}, expected one of {sorted(streams)}")
        return stream, key, int(last_event_id) if last_event_id and last_event_id.isdecimal() else after

    @router.get(
        "/v1/live",
        summary="Blends and alerts of a series as they come",
        description="Server-sent events: `blend` and `alert`, each as on its topic. First what is remembered, then "
        "news; a reader that comes again with `Last-Event-ID` gets what it missed.",
        response_class=EventSourceResponse,
        responses={404: {}, 503: {}},
    )
    async def live(
        start: Annotated[tuple[str, str, int], Depends(from_where)], _: Annotated[None, Depends(watchers.admit)]
    ) -> AsyncIterator[ServerSentEvent]:
        async for event in buffer.events(*start):
            yield event
