"""What REST tells about weights, blends and scores."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from driftline.errors import NotFound
from driftline.messages import Blend
from driftline_combiner.step import BlendLane, Coverage, RowScore
from driftline_combiner.why import explain


class Score(BaseModel):
    """How a member or strategy did. Errors in the target's units; null before anything was scored."""

    n: int = Field(description="records on which it and persistence were scored")
    rmse: float | None
    mae: float | None
    skill: float | None = Field(description="1 - RMSE / RMSE(persistence) on the same records")
    recent_rmse: float | None = Field(description="over about the last 100 records")


class IntervalCoverage(BaseModel):
    """How many truths fell into the 90 % prediction interval; null before anything was scored."""

    n: int = Field(description="truths that met an interval")
    share: float | None
    recent: float | None = Field(description="over about the last 500")


class HorizonScores(BaseModel):
    """One horizon's scores, by member and strategy."""

    horizon: int
    scores: dict[str, Score]
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
    scores: dict[str, Score]
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


Stream = Annotated[str, Path(description="a stream's name", examples=["outdoor-temperature"])]
Key = Annotated[str, Path(description="a series of it", examples=["R80711"])]


def routes(lanes: Mapping[str, BlendLane]) -> APIRouter:
    router = APIRouter(tags=["forecasts"])

    def lane_of(stream: str) -> BlendLane:
        if stream not in lanes:
            raise NotFound(f"found no stream {stream!r}, expected one of {sorted(lanes)}")
        return lanes[stream]

    @router.get("/v1/scores", summary="How well every member and strategy did")
    async def scores() -> list[StreamScores]:
        return [_stream_scores(name, lane) for name, lane in lanes.items()]

    @router.get("/v1/weights", summary="Who has which weight, and why", responses={404: {}})
    async def weights(stream: str | None = None, key: str | None = None) -> list[SeriesWeights]:
        wanted = {stream: lane_of(stream)} if stream else lanes
        return [
            _series_weights(name, lane, found)
            for name, lane in wanted.items()
            for found in lane.keys()  # noqa: SIM118 - a lane is no mapping
            if key in {None, found}
        ]

    @router.get("/v1/blends/{stream}/{key}", summary="The newest blend of a series", responses={404: {}})
    async def latest(stream: Stream, key: Key) -> BlendAnswer:
        blend = lane_of(stream).latest(key)
        if blend is None:
            raise NotFound(f"no blend of {stream}/{key} yet, or another replica has it")
        return _blend_answer(blend)

    return router


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _score(row: RowScore) -> Score:
    return Score(
        n=row.n,
        rmse=_finite(row.rmse),
        mae=_finite(row.mae),
        skill=_finite(row.skill),
        recent_rmse=_finite(row.recent_rmse),
    )


def _coverage(found: Coverage) -> IntervalCoverage:
    return IntervalCoverage(n=found.n, share=_finite(found.share), recent=_finite(found.recent))


def _stream_scores(name: str, lane: BlendLane) -> StreamScores:
    keys = lane.keys()
    parts = zip(lane.stream.horizon, lane.scores(keys), lane.coverage(keys), strict=True)
    horizons = [
        HorizonScores(
            horizon=h, scores={row: _score(score) for row, score in scores.items()}, coverage=_coverage(covered)
        )
        for h, scores, covered in parts
    ]
    return StreamScores(stream=name, active=lane.stream.weighting.active, series=len(keys), horizons=horizons)


def _series_weights(name: str, lane: BlendLane, key: str) -> SeriesWeights:
    active = lane.stream.weighting.active
    parts = zip(lane.stream.horizon, lane.standing(key), lane.scores([key]), strict=True)
    horizons = [
        HorizonWeights(
            horizon=h,
            weights=standing.weights,
            scores={row: _score(score) for row, score in scores.items()},
            guarded=standing.guarded,
            why=explain(standing, scores, active),
        )
        for h, standing, scores in parts
    ]
    return SeriesWeights(stream=name, key=key, active=active, horizons=horizons)


def _blend_answer(blend: Blend) -> BlendAnswer:
    fields: dict[str, Any] = {name: getattr(blend, name) for name in BlendAnswer.model_fields}
    for name in ("strategies", "members"):
        fields[name] = {row: [_finite(v) for v in values] for row, values in fields[name].items()}
    return BlendAnswer(**fields | {name: [_finite(v) for v in fields[name]] for name in ("value", "lower", "upper")})
