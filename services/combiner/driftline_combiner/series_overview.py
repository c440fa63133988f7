"""`GET /v1/overview/series`: all series in short, a page at a time, for five of them and for thousands."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel, Field

from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline_combiner.dashboard_buffer import DashboardBuffer
from driftline_combiner.etags import answered
from driftline_combiner.forecasts_route import ETAG, HAS_IT, IssuedBlends
from driftline_combiner.next_values import NextValue, series_forecast
from driftline_combiner.rest import step_of
from driftline_combiner.series_index import ListedSeries, SeriesIndex, Sorting, chosen, counts, in_order, row_of
from driftline_combiner.step import BlendStep
from driftline_combiner.trust import Judgements, Verdict, judged

PAGE = 50
LARGEST_PAGE = 200
LONGEST_SEARCH = 200
ELSEWHERE = "Another replica scores this series."


class Ahead(BaseModel):
    """A forecast in short: the published value and the ends of the 90 % interval."""

    horizon: int = Field(description="steps ahead")
    t: int = Field(description="the time that it is for, milliseconds since the epoch, UTC")
    value: float | None
    lower: float | None
    upper: float | None


class TrustAnswer(BaseModel):
    """Whether the forecast can be trusted."""

    verdict: Verdict
    answer: str = Field(examples=["Yes"])
    why: str


class NewestAlert(BaseModel):
    """The newest alert of a series, while it is no older than 250 records."""

    t: int = Field(description="milliseconds since the epoch, UTC")
    kind: str = Field(examples=["drift"])
    detail: str


class SeriesOverview(BaseModel):
    """One series in short. Numbers are in its `unit`."""

    stream: str
    key: str
    unit: str | None
    period: int = Field(description="seconds between two records")
    t: int | None = Field(
        description="the time of its newest record, milliseconds since the epoch, UTC; null where none came since the "
        "combiner runs"
    )
    behind: int = Field(description="seconds by which that is behind the newest record of its stream")
    truth: list[float | None] = Field(description="of the newest 48 periods at most, the last of them at `truth_t`")
    truth_t: int | None
    ahead: list[Ahead] = Field(description="by horizon, ascending")
    horizon: int = Field(description="steps ahead that trust and skill are of")
    trust: TrustAnswer
    skill: float | None = Field(description="1 - recent RMSE / that of persistence; null where it is not known")
    alert: NewestAlert | None


class OverviewPage(BaseModel):
    """A page of the series that were asked for, and how many there are of them all."""

    total: int
    counts: dict[str, int] = Field(
        description="by verdict, and `alerts`",
        examples=[{"unknown": 0, "good": 4, "care": 1, "bad": 0, "alerts": 1}],
    )
    series: list[SeriesOverview]


class SeriesSummaries:
    """Rows of the overview, made when they are asked for."""

    def __init__(self, stream_steps: Mapping[str, BlendStep], buffer: DashboardBuffer) -> None:
        self._stream_steps = stream_steps
        self._buffer = buffer
        self._blends = IssuedBlends(stream_steps, buffer)

    def of(self, listed: ListedSeries, steps: int | None, newest: int | None) -> SeriesOverview:
        """newest: time of the newest record of the stream."""
        step = self._stream_steps[listed.stream]
        definition, row = step.stream, row_of(step, steps)
        scores = judged(step.standings([listed.key], row)) if step.owns(listed.key) else None
        blend = self._blends.issued(*listed.name, None)
        return SeriesOverview(
            stream=listed.stream,
            key=listed.key,
            unit=definition.unit,
            period=definition.time.period,
            t=listed.t,
            behind=(newest - listed.t) // 1000 if newest is not None and listed.t is not None else 0,
            truth=self._buffer.truths(listed.name, 1000 * definition.time.period),
            truth_t=self._buffer.last_t(listed.name),
            ahead=_ahead(definition, blend),
            horizon=definition.horizon[row],
            trust=_trust(scores),
            skill=_skill(scores),
            alert=self._alert(listed),
        )

    def _alert(self, listed: ListedSeries) -> NewestAlert | None:
        alert = self._buffer.newest_alert(listed.name)
        if listed.alert_t is None or alert is None:
            return None
        return NewestAlert(t=alert.t, kind=alert.kind, detail=alert.detail)


class OverviewQuestion:
    """Which series, in which order; a dependency of FastAPI's."""

    def __init__(
        self,
        stream: Annotated[str | None, Query(description="of this stream alone")] = None,
        key: Annotated[str | None, Query(description="of this key alone")] = None,
        search: Annotated[
            str, Query(max_length=LONGEST_SEARCH, description="a part of `stream/key`, whatever its case")
        ] = "",
        sort: Annotated[
            Sorting,
            Query(
                description="`trust` and `skill`: the worst first; `alert`: the newest first; `age`: the oldest first"
            ),
        ] = "name",
        order: Annotated[Literal["usual", "reverse"], Query(description="`reverse`: the other way round")] = "usual",
    ) -> None:
        self.stream = stream
        self.key = key
        self.search = search
        self.sort: Sorting = sort
        self.is_reverse = order == "reverse"


def routes(
    stream_steps: Mapping[str, BlendStep], buffer: DashboardBuffer, ticks: Callable[[], float] = time.monotonic
) -> APIRouter:
    router = APIRouter(tags=["dashboard"])
    index, summaries = SeriesIndex(stream_steps, buffer, ticks), SeriesSummaries(stream_steps, buffer)

    @router.get(
        "/v1/overview/series",
        summary="All series in short, a page at a time",
        description="Pages are counted, not followed: skills and ages change while somebody reads, and whoever shows "
        "thousands of series asks for those in view alone.",
        response_model=OverviewPage,
        responses={200: {"headers": {"ETag": ETAG}}, 304: HAS_IT, 404: {}},
    )
    async def overview(
        asked: Annotated[OverviewQuestion, Depends()],
        horizon: Annotated[
            int | None, Query(description="steps ahead that trust and skill are of; a stream's first without it")
        ] = None,
        offset: Annotated[int, Query(ge=0, le=10**9, description="series before the page")] = 0,
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="series at most")] = PAGE,
        if_none_match: Annotated[str | None, Header(description="ETags of answers that the client has")] = None,
    ) -> Response:
        if asked.stream is not None:
            step_of(stream_steps, asked.stream)
        everything = index.listed(horizon)
        wanted = chosen(everything, asked.stream, asked.key, asked.search)
        shown = in_order(wanted, asked.sort, backwards=asked.is_reverse)[offset : offset + limit]
        newest = _newest(everything)
        rows = [summaries.of(listed, horizon, newest.get(listed.stream)) for listed in shown]
        page = OverviewPage(total=len(wanted), counts=counts(wanted), series=rows)
        return answered(page.model_dump_json().encode(), if_none_match, {})

    return router


def _newest(listed: list[ListedSeries]) -> dict[str, int]:
    """By stream the time of its newest record."""
    newest: dict[str, int] = {}
    for series in listed:
        if series.t is not None and series.t > newest.get(series.stream, -1):
            newest[series.stream] = series.t
    return newest


def _ahead(definition: StreamDefinition, blend: Blend | None) -> list[Ahead]:
    return [] if blend is None else [_in_short(value) for value in series_forecast(definition, blend).forecasts]


def _in_short(value: NextValue) -> Ahead:
    interval = value.interval
    return Ahead(horizon=value.horizon, t=value.t, value=value.value, lower=interval.lower, upper=interval.upper)


def _trust(scores: Judgements | None) -> TrustAnswer:
    if scores is None:
        return TrustAnswer(verdict=Verdict.UNKNOWN, answer="Not known here", why=ELSEWHERE)
    return TrustAnswer(verdict=scores.verdict(0), answer=scores.answer(0), why=scores.why(0))


def _skill(scores: Judgements | None) -> float | None:
    skill = math.nan if scores is None else float(scores.skill[0])
    return round(skill, 4) if math.isfinite(skill) else None
