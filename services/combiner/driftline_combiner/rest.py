"""Weights, blends and scores by REST."""

import asyncio
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from driftline.errors import NotFound
from driftline.messages import Blend
from driftline.worker.stream_step import Series
from driftline_combiner import scores as sums
from driftline_combiner.scores import Coverage, RowScore
from driftline_combiner.step import BlendStep
from driftline_combiner.why import explain

PAGE = 100
"""Series of one answer, unless more are asked for."""
LARGEST_PAGE = 1000
AT_ONCE = 10
"""Series that are written before others get a turn."""


class ScoreAnswer(BaseModel):
    """How a member or strategy did. Errors in the target's units; null before anything was scored."""

    n: int = Field(description="records on which it and persistence were scored")
    rmse: float | None
    mae: float | None
    skill: float | None = Field(description="1 - RMSE / RMSE(persistence) on the same records")
    recent_rmse: float | None = Field(description="over about the last 100 records")


class IntervalCoverage(BaseModel):
    """How many truths fell into the 90 % prediction interval, and how right the quantiles were; null before anything
    was scored."""

    n: int = Field(description="truths that met an interval")
    share: float | None
    recent: float | None = Field(description="over about the last 500")
    pinball: float | None = Field(
        description="mean pinball loss of the quantiles in the target's units; twice it approximates the CRPS"
    )
    recent_pinball: float | None = Field(description="over about the last 500")


class HorizonScores(BaseModel):
    """One horizon's scores, by member and strategy."""

    horizon: int
    scores: dict[str, ScoreAnswer]
    coverage: IntervalCoverage


class StreamScores(BaseModel):
    """Scores over all series of a stream that this replica owns."""

    stream: str
    active: str
    series: int
    horizons: list[HorizonScores]


class HorizonWeights(BaseModel):
    """One horizon's weights by strategy and member, with what they rest on. The row `blend` is what is published."""

    horizon: int
    weights: dict[str, dict[str, float]]
    scores: dict[str, ScoreAnswer]
    guarded: bool = Field(description="the active strategy has fallen behind persistence, which is published instead")
    why: dict[str, str] = Field(description="for the blend and every member a sentence")


class SeriesWeights(BaseModel):
    """The weights of one series."""

    stream: str
    key: str
    active: str
    horizons: list[HorizonWeights]


class BlendAnswer(BaseModel):
    """The newest blend of a series; see the message of the blends topic."""

    stream: str
    key: str
    t: int = Field(description="milliseconds since the epoch, UTC")
    observed: float | None
    horizon: list[int]
    value: list[float | None]
    strategy: str
    strategies: dict[str, list[float | None]]
    weights: dict[str, list[float]]
    members: dict[str, list[float | None]]
    versions: dict[str, str]
    lower: list[float | None] = Field(description="lower end of the 90 % prediction interval, one a horizon")
    upper: list[float | None]
    guarded: list[bool] = Field(description="per horizon whether persistence is published instead of the strategy")
    quantiles: dict[str, list[float | None]] = Field(description="by level, one a horizon")


NEXT = {
    "description": '`<...>; rel="next"`: the next page, relative to this one. Missing on the last.',
    "required": False,
    "schema": {"type": "string"},
    "example": '<?limit=100&after=outdoor-temperature%2FR80711>; rel="next"',
}

Stream = Annotated[str, Path(description="a stream's name", examples=["outdoor-temperature"])]
Key = Annotated[str, Path(description="a series of it", examples=["R80711"])]


def routes(stream_steps: Mapping[str, BlendStep]) -> APIRouter:
    router = APIRouter(tags=["forecasts"])

    @router.get("/v1/scores", summary="How well every member and strategy did")
    async def scores() -> list[StreamScores]:
        return [stream_scores(name, stream_step) for name, stream_step in stream_steps.items()]

    @router.get(
        "/v1/weights",
        summary="Weights of the members, and the reasons",
        description="In order of stream and key, a page at a time: `Link` names the next page, as in RFC 8288.",
        response_model=list[SeriesWeights],
        responses={200: {"headers": {"Link": NEXT}}, 404: {}},
    )
    async def weights(
        stream: Annotated[str | None, Query(description="of this stream alone")] = None,
        key: Annotated[str | None, Query(description="of series of this key alone")] = None,
        limit: Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="series at most")] = PAGE,
        after: Annotated[
            str | None, Query(description="the stream and key behind which the page begins", examples=["a/k1"])
        ] = None,
    ) -> Response:
        wanted = {stream: step_of(stream_steps, stream)} if stream else stream_steps
        listed = list(islice(_series(wanted, key, after), limit + 1))
        page = listed[:limit]
        headers = {"Link": _next(stream, key, limit, page[-1])} if len(listed) > limit else {}
        return Response(await _written(stream_steps, page), media_type="application/json", headers=headers)

    @router.get("/v1/blends/{stream}/{key}", summary="The newest blend of a series", responses={404: {}})
    async def latest(stream: Stream, key: Key) -> BlendAnswer:
        blend = step_of(stream_steps, stream).latest(key)
        if blend is None:
            raise NotFound(f"no blend of {stream}/{key} yet, or another replica has it")
        return _blend_answer(blend)

    return router


def step_of(stream_steps: Mapping[str, BlendStep], stream: str) -> BlendStep:
    if stream not in stream_steps:
        raise NotFound(f"found no stream {stream!r}, expected one of {sorted(stream_steps)}")
    return stream_steps[stream]


def _series(stream_steps: Mapping[str, BlendStep], key: str | None, after: str | None) -> Iterator[Series]:
    """Stream and key of what is wanted, in order, behind the series `after`."""
    begin, _, behind = (after or "").partition("/")
    for name in sorted(name for name in stream_steps if name >= begin):
        previous = behind if after is not None and name == begin else None
        if key is None:
            yield from ((name, owned) for owned in stream_steps[name].behind(previous))
        elif stream_steps[name].owns(key) and (previous is None or key > previous):
            yield name, key


def _next(stream: str | None, key: str | None, limit: int, last: Series) -> str:
    asked = {"stream": stream, "key": key, "limit": limit, "after": "/".join(last)}
    return f'<?{urlencode({name: value for name, value in asked.items() if value is not None})}>; rel="next"'


async def _written(stream_steps: Mapping[str, BlendStep], page: list[Series]) -> bytes:
    """As JSON, in slices between which others get a turn; a series that is given away meanwhile is left out."""
    written: list[str] = []
    for start in range(0, len(page), AT_ONCE):
        part = page[start : start + AT_ONCE]
        written += [
            _series_weights(stream, key, stream_steps[stream]).model_dump_json()
            for stream, key in part
            if stream_steps[stream].owns(key)
        ]
        await asyncio.sleep(0)
    return f"[{','.join(written)}]".encode()


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _score(row: RowScore) -> ScoreAnswer:
    return ScoreAnswer(
        n=row.n,
        rmse=_finite(row.rmse),
        mae=_finite(row.mae),
        skill=_finite(row.skill),
        recent_rmse=_finite(row.recent_rmse),
    )


def _coverage(covered: Coverage) -> IntervalCoverage:
    return IntervalCoverage(
        n=covered.n,
        share=_finite(covered.share),
        recent=_finite(covered.recent),
        pinball=_finite(covered.pinball),
        recent_pinball=_finite(covered.recent_pinball),
    )


def stream_scores(name: str, stream_step: BlendStep) -> StreamScores:
    """Over all series of a stream."""
    totals = stream_step.sums()
    parts = zip(stream_step.stream.horizon, sums.scores(totals), sums.coverage(totals), strict=True)
    horizons = [
        HorizonScores(
            horizon=h, scores={row: _score(score) for row, score in scores.items()}, coverage=_coverage(covered)
        )
        for h, scores, covered in parts
    ]
    active = stream_step.stream.weighting.active
    return StreamScores(stream=name, active=active, series=stream_step.series, horizons=horizons)


def _series_weights(name: str, key: str, stream_step: BlendStep) -> SeriesWeights:
    active = stream_step.stream.weighting.active
    parts = zip(stream_step.stream.horizon, stream_step.weighting(key), sums.scores(stream_step.sums(key)), strict=True)
    horizons = [
        HorizonWeights(
            horizon=h,
            weights=weighting.weights,
            scores={row: _score(score) for row, score in scores.items()},
            guarded=weighting.guarded,
            why=explain(weighting, scores, active),
        )
        for h, weighting, scores in parts
    ]
    return SeriesWeights(stream=name, key=key, active=active, horizons=horizons)


def _blend_answer(blend: Blend) -> BlendAnswer:
    fields: dict[str, Any] = {name: getattr(blend, name) for name in BlendAnswer.model_fields}
    for name in ("strategies", "members", "quantiles"):
        fields[name] = {row: [_finite(v) for v in values] for row, values in fields[name].items()}
    return BlendAnswer(**fields | {name: [_finite(v) for v in fields[name]] for name in ("value", "lower", "upper")})
