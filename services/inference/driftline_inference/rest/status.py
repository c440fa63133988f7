"""The models' status by REST, and their steering by hand."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from driftline.members import BUILT_IN, MODELS
from driftline.models.manifest import version_number
from driftline.service.access import audit
from driftline.streams.definition import StreamDefinition
from driftline_inference.registry.reconciler import Reconciler
from driftline_inference.registry.registry import Registry
from driftline_inference.registry.state import ModelState
from driftline_inference.shadow import ALPHA, SHADOW_RECORDS, Shadow
from driftline_inference.step import ForecastStep

Stream = Annotated[str, Path(description="the stream's name", examples=["outdoor-temperature"])]
Member = Annotated[str, Path(description="`batch` or `speed`", examples=["batch"])]


class SwapStatus(BaseModel):
    """A version began to serve. `at`: seconds since the epoch."""

    version: str
    at: float
    why: str


class ShadowStatus(BaseModel):
    """The previous version forecasts in parallel with the serving one, until `records` are compared."""

    version: str
    compared: int
    records: int
    evidence: float
    """That the newer one is worse; it is left when this reaches `limit`."""
    limit: float


class CoursePoint(BaseModel):
    """A comparison after so many truths."""

    truths: int
    worse: float
    not_worse: float


class ComparisonStatus(BaseModel):
    """A version against the one before it, as a test by betting. Evidence is given as its natural logarithm."""

    new: str
    old: str
    truths: int = Field(description="that both versions met")
    worse: float = Field(description="evidence that the new version is worse")
    not_worse: float = Field(description="evidence that it is not")
    limit: float = Field(description="evidence that decides")
    over: bool
    course: list[CoursePoint] = Field(description="how the evidence went, in at most 60 points")


class Lag(BaseModel):
    """How far the edge is behind the store's pointer."""

    versions: int
    seconds: float


class ModelStatus(BaseModel):
    """One model of one stream."""

    stream: str
    member: str
    state: Literal["missing", "serving", "built-in"]
    note: str
    version: str | None = None
    pinned: bool = False
    """Whether it stays, wherever the store's pointer goes."""
    former: str | None = None
    """The version that a rollback would go back to."""
    shadow: ShadowStatus | None = None
    candidate: str | None = None
    """The version that the store's pointer names, while that is not the one that serves."""
    lag: Lag | None = None
    architecture: str | None = None
    trained_from: int | None = None
    """Milliseconds since the epoch."""
    trained_to: int | None = None
    metrics: dict[str, float] = {}
    """On the trainer's hold-out."""
    swapped: float | None = None
    """Seconds since the epoch when it began to serve."""
    swaps: int = 0
    latest: list[SwapStatus] = []
    """The latest swaps, the newest first."""
    refused: dict[str, str] = {}
    """By version, why it was refused."""


class EdgeStatus(BaseModel):
    """Which edge this is."""

    id: str | None = Field(description="made at the first start; none as long as the broker has not answered")
    name: str = Field(description="a name for people", examples=["pi-7"])
    labels: dict[str, str] = Field({}, description="how people sort their edges", examples=[{"site": "north"}])
    rivals: list[str] = Field(
        [], description="boots of other devices that run under this id now: its card was copied", examples=[[]]
    )


class ModelList(BaseModel):
    """All models of all streams, and the edge that serves them."""

    edge: EdgeStatus
    models: list[ModelStatus]


class RollbackRequest(BaseModel):
    """Which version to roll back, and why."""

    version: str = Field(max_length=100, examples=["v000042-0123456789ab"])
    reason: str = Field("rolled back by hand", max_length=1000)


class PinRequest(BaseModel):
    """Which version stays; none to follow the store's pointer again."""

    version: str | None = Field(max_length=100, examples=["v000042-0123456789ab"])


@dataclass(frozen=True)
class Steering:
    """What the routes read and steer. identified: which edge this is. wake: has the store looked at soon."""

    registry: Registry
    reconciler: Reconciler
    identified: Callable[[], EdgeStatus]
    wake: Callable[[], None]


def routes(
    steering: Steering,
    streams: Mapping[str, StreamDefinition],
    stream_steps: Mapping[str, ForecastStep],
) -> APIRouter:
    router = APIRouter(tags=["models"])

    def describe(stream: str, member: str) -> ModelStatus:
        return _describe(steering.registry.state(stream, member), stream_steps[stream].shadow(member))

    @router.get("/v1/models", summary="Which models serve, and why others don't")
    async def list_models() -> ModelList:
        models = [_built_in(stream, member) for stream in streams for member in BUILT_IN]
        models += [describe(stream, member) for stream in streams for member in MODELS]
        return ModelList(edge=steering.identified(), models=models)

    @router.get("/v1/models/{stream}.{member}", summary="Status of one model", responses={404: {}})
    async def show_model(stream: Stream, member: Member) -> ModelStatus:
        return describe(stream, member)

    @router.get(
        "/v1/models/{stream}.{member}/comparisons",
        summary="How a model's versions compare to those before them",
        description="The newest last. A restart keeps all but the last minutes of a comparison.",
        responses={404: {}},
    )
    async def comparisons(stream: Stream, member: Member) -> list[ComparisonStatus]:
        steering.registry.state(stream, member)
        return [_comparison(shadow) for shadow in stream_steps[stream].comparisons.shadows(member)]

    _add_steering(router, steering, describe)
    return router


def _add_steering(router: APIRouter, steering: Steering, describe: Callable[[str, str], ModelStatus]) -> None:
    @router.post(
        "/v1/models/{stream}.{member}/rollback",
        summary="Go back to the previous version",
        description="The rolled-back version is marked in the store: no edge serves it again. A repeated request has"
        " no further effect.",
        responses={404: {}, 409: {"description": "There is no version to go back to."}, 422: {}, 503: {}},
    )
    async def rollback(stream: Stream, member: Member, request: RollbackRequest) -> ModelStatus:
        before = _in_short(describe(stream, member))
        await steering.reconciler.roll_back(stream, member, request.version, request.reason)
        after = describe(stream, member)
        audit.changed(before, _in_short(after) | {"reason": request.reason})
        return after

    @router.post(
        "/v1/models/{stream}.{member}/pin",
        summary="Stay on a version, or follow the store again",
        description="A pinned version stays on this edge, whatever the store's pointer says, and is not pruned. It must"
        " pass the same checks as any other. A repeated request has no further effect.",
        responses={404: {}, 422: {"description": "The version may not serve."}, 503: {}},
    )
    async def pin(stream: Stream, member: Member, request: PinRequest) -> ModelStatus:
        before = _in_short(describe(stream, member))
        await steering.reconciler.pin(stream, member, request.version)
        steering.wake()
        after = describe(stream, member)
        audit.changed(before, _in_short(after))
        return after


def _in_short(status: ModelStatus) -> dict[str, str | bool | None]:
    """For the audit."""
    return {"version": status.version, "pinned": status.pinned}


def _built_in(stream: str, member: str) -> ModelStatus:
    return ModelStatus(stream=stream, member=member, state="built-in", note="computed on the edge, needs no training")


def _describe(state: ModelState, shadow: Shadow | None) -> ModelStatus:
    status = ModelStatus(
        stream=state.stream.name,
        member=state.member,
        state="missing",
        note="no version that can serve yet; the stream is forecast by its other members",
        candidate=state.named if state.named != state.version else None,
        lag=_lag(state),
        swaps=state.swaps,
        latest=[SwapStatus(version=s.version, at=s.at, why=s.why) for s in reversed(state.latest)],
        refused=state.refused,
    )
    if state.serving is None:
        return status
    manifest = state.serving.manifest
    return status.model_copy(
        update={
            "state": "serving",
            "note": state.latest[-1].why,
            "version": manifest.version,
            "pinned": state.pinned,
            "former": state.former.version if state.former else None,
            "shadow": _shadow(state, shadow),
            "architecture": manifest.architecture,
            "trained_from": manifest.trained_from,
            "trained_to": manifest.trained_to,
            "metrics": manifest.metrics,
            "swapped": state.latest[-1].at,
        }
    )


def _shadow(state: ModelState, shadow: Shadow | None) -> ShadowStatus | None:
    compared = (state.version, state.former.version if state.former else None)
    if shadow is None or shadow.over or (shadow.new, shadow.old) != compared:
        return None
    return ShadowStatus(
        version=shadow.old, compared=shadow.seen, records=SHADOW_RECORDS, evidence=shadow.test.evidence, limit=1 / ALPHA
    )


def _comparison(shadow: Shadow) -> ComparisonStatus:
    totals = shadow.comparison
    return ComparisonStatus(
        new=totals.new,
        old=totals.old,
        truths=totals.truths,
        worse=totals.log_worse,
        not_worse=totals.log_not_worse,
        limit=-math.log(ALPHA),
        over=totals.over,
        course=[CoursePoint(truths=p.truths, worse=p.worse, not_worse=p.not_worse) for p in shadow.course.points()],
    )


def _lag(state: ModelState) -> Lag | None:
    if state.named is None:
        return None
    behind = state.behind_since
    served = version_number(state.version) if state.version else 0
    return Lag(
        versions=max(0, version_number(state.named) - served),
        seconds=max(0.0, time.time() - behind) if behind is not None else 0.0,
    )
