"""What REST tells about the models."""

from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, SecretStr

from driftline.auth import bearer
from driftline.definition import StreamDefinition
from driftline.members import BUILT_IN, MODELS
from driftline_inference.models import Models


class ModelStatus(BaseModel):
    """One model of one stream."""

    stream: str
    member: str
    state: Literal["missing", "serving", "built-in"]
    note: str
    version: str | None = None
    former: str | None = None
    """The version that a rollback would go back to."""
    architecture: str | None = None
    trained_from: int | None = None
    """Milliseconds since the epoch."""
    trained_to: int | None = None
    swapped: float | None = None
    """Seconds since the epoch when it began to serve."""
    swaps: int = 0
    refused: dict[str, str] = {}
    """By version, why it was refused."""


class ModelList(BaseModel):
    """All models of all streams."""

    models: list[ModelStatus]


class RollbackRequest(BaseModel):
    """Which version is left, and why."""

    version: str
    reason: str = "rolled back by hand"


def routes(models: Models, streams: Mapping[str, StreamDefinition], token: SecretStr | None) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/v1/models", summary="Which models serve, and why others don't")
    async def list_models() -> ModelList:
        found = [_built_in(stream, member) for stream in streams for member in BUILT_IN]
        found += [_describe(models, stream, member) for stream in streams for member in MODELS]
        return ModelList(models=found)

    @router.post(
        "/v1/models/{stream}.{member}/rollback",
        summary="Go back to the version before",
        description="The version that is left is marked in the store: no edge serves it again. Sent twice, it is done"
        " once.",
        dependencies=[Depends(bearer(token))],
        responses={401: {}, 404: {}, 409: {"description": "There is no version to go back to."}, 422: {}},
    )
    async def rollback(stream: str, member: str, request: RollbackRequest) -> ModelStatus:
        await models.rollback(stream, member, request.version, request.reason)
        return _describe(models, stream, member)

    return router


def _built_in(stream: str, member: str) -> ModelStatus:
    return ModelStatus(stream=stream, member=member, state="built-in", note="computed on the edge, needs no training")


def _describe(models: Models, stream: str, member: str) -> ModelStatus:
    status = models.status(stream, member)
    loaded = models.loaded.get((stream, member))
    if loaded is None:
        note = "no version that can serve yet; the stream is forecast by its other members"
        return ModelStatus(stream=stream, member=member, state=status.state, note=note, refused=dict(status.refused))
    manifest = loaded.manifest
    return ModelStatus(
        stream=stream,
        member=member,
        state=status.state,
        note="serving",
        version=loaded.version,
        former=models.former(stream, member),
        architecture=manifest.architecture,
        trained_from=manifest.trained_from,
        trained_to=manifest.trained_to,
        swapped=loaded.swapped,
        swaps=status.swaps,
        refused=dict(status.refused),
    )
