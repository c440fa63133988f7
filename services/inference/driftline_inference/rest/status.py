"""What REST tells about the models, and how they are steered by hand."""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, Field, SecretStr

from driftline.members import BUILT_IN, MODELS
from driftline.models.manifest import version_number
from driftline.service.auth import bearer
from driftline.streams.definition import StreamDefinition
from driftline_inference.registry.models import Models
from driftline_inference.registry.standing import Standing
from driftline_inference.shadow import ALPHA, RECORDS, Shadow

Stream = Annotated[str, Path(description="the stream's name", examples=["outdoor-temperature"])]
Member = Annotated[str, Path(description="`batch` or `speed`", examples=["batch"])]
Watched = Callable[[str, str], Shadow | None]
"""By stream and member, the comparison of a model's newest version with the one before."""


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


def routes(
    models: Models,
    streams: Mapping[str, StreamDefinition],
    token: SecretStr | None,
    *,
    watched: Watched,
    wake: Callable[[], None],
) -> APIRouter:
    """wake: has the store looked at soon."""
    router = APIRouter(tags=["models"])

    def describe(stream: str, member: str) -> ModelStatus:
        return _describe(models.standing(stream, member), watched(stream, member))

    @router.get("/v1/models", summary="Which models serve, and why others don't")
    async def list_models() -> ModelList:
        found = [_built_in(stream, member) for stream in streams for member in BUILT_IN]
        found += [describe(stream, member) for stream in streams for member in MODELS]
        return ModelList(edge=EdgeStatus(id=models.edge_id(), name=models.edge), models=found)

    @router.get("/v1/models/{stream}.{member}", summary="Status of one model", responses={404: {}})
    async def show_model(stream: Stream, member: Member) -> ModelStatus:
        return describe(stream, member)

    @router.post(
        "/v1/models/{stream}.{member}/rollback",
        summary="Go back to the previous version",
        description="The rolled-back version is marked in the store: no edge serves it again. A repeated request has"
        " no further effect.",
        dependencies=[Depends(bearer(token))],
        responses={401: {}, 404: {}, 409: {"description": "There is no version to go back to."}, 422: {}, 503: {}},
    )
    async def rollback(stream: Stream, member: Member, request: RollbackRequest) -> ModelStatus:
        await models.rollback(stream, member, request.version, request.reason)
        return describe(stream, member)

    @router.post(
        "/v1/models/{stream}.{member}/pin",
        summary="Stay on a version, or follow the store again",
        description="A pinned version stays on this edge, whatever the store's pointer says, and is not pruned. It must"
        " pass the same checks as any other. A repeated request has no further effect.",
        dependencies=[Depends(bearer(token))],
        responses={401: {}, 404: {}, 422: {"description": "The version may not serve."}, 503: {}},
    )
    async def pin(stream: Stream, member: Member, request: PinRequest) -> ModelStatus:
        await models.pin(stream, member, request.version)
        wake()
        return describe(stream, member)

    return router


def _built_in(stream: str, member: str) -> ModelStatus:
    return ModelStatus(stream=stream, member=member, state="built-in", note="computed on the edge, needs no training")


def _describe(standing: Standing, shadow: Shadow | None) -> ModelStatus:
    status = ModelStatus(
        stream=standing.stream.name,
        member=standing.member,
        state="missing",
        note="no version that can serve yet; the stream is forecast by its other members",
        candidate=standing.named if standing.named != standing.version else None,
        lag=_lag(standing),
        swaps=standing.swaps,
        latest=[SwapStatus(version=s.version, at=s.at, why=s.why) for s in reversed(standing.latest)],
        refused=standing.refused,
    )
    if standing.serving is None:
        return status
    manifest = standing.serving.manifest
    return status.model_copy(
        update={
            "state": "serving",
            "note": standing.latest[-1].why,
            "version": manifest.version,
            "pinned": standing.pinned,
            "former": standing.former.version if standing.former else None,
            "shadow": _shadow(standing, shadow),
            "architecture": manifest.architecture,
            "trained_from": manifest.trained_from,
            "trained_to": manifest.trained_to,
            "metrics": manifest.metrics,
            "swapped": standing.latest[-1].at,
        }
    )


def _shadow(standing: Standing, shadow: Shadow | None) -> ShadowStatus | None:
    compared = (standing.version, standing.former.version if standing.former else None)
    if shadow is None or shadow.over or (shadow.new, shadow.old) != compared:
        return None
    return ShadowStatus(
        version=shadow.old, compared=shadow.seen, records=RECORDS, evidence=shadow.test.evidence, limit=1 / ALPHA
    )


def _lag(standing: Standing) -> Lag | None:
    if standing.named is None:
        return None
    behind = standing.behind_since
    served = version_number(standing.version) if standing.version else 0
    return Lag(
        versions=max(0, version_number(standing.named) - served),
        seconds=max(0.0, time.time() - behind) if behind is not None else 0.0,
    )
