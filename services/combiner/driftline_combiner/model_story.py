"""`GET /v1/overview/models/{stream}`: how a stream's models came to be what they are, as inference tells it."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field

from driftline.errors import NotFound
from driftline.members import MODELS
from driftline.streams.definition import StreamDefinition
from driftline_combiner.etags import answered
from driftline_combiner.forecasts_route import ETAG, HAS_IT
from driftline_combiner.overview import TIMEOUT_S
from driftline_combiner.rest import Stream


class ModelStory(BaseModel):
    """One model of a stream."""

    member: str = Field(examples=["batch"])
    status: dict[str, Any] = Field(description="as inference's `GET /v1/models/{stream}.{member}` tells it")
    comparisons: list[dict[str, Any]] = Field(
        description="as inference's `GET /v1/models/{stream}.{member}/comparisons` tells them, the newest last"
    )


class StoryOfModels(BaseModel):
    """All models of a stream; none while inference does not answer."""

    models: list[ModelStory]


class ModelStories:
    """inference: the service's URL; None where the page does not know it."""

    def __init__(self, inference: str | None, client: httpx.AsyncClient) -> None:
        self._inference = inference
        self._client = client

    async def of(self, stream: str) -> list[ModelStory]:
        if self._inference is None:
            return []
        stories = await asyncio.gather(*(self._one(stream, member) for member in MODELS))
        return [story for story in stories if story is not None]

    async def _one(self, stream: str, member: str) -> ModelStory | None:
        path = f"/v1/models/{stream}.{member}"
        status, comparisons = await asyncio.gather(self._get(path), self._get(f"{path}/comparisons"))
        if not isinstance(status, dict):
            return None
        # An inference of a former release tells of no comparisons.
        return ModelStory(
            member=member, status=status, comparisons=comparisons if isinstance(comparisons, list) else []
        )

    async def _get(self, path: str) -> Any:
        try:
            answer = await self._client.get(f"{self._inference}{path}", timeout=TIMEOUT_S)
            return answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return None


def routes(streams: Mapping[str, StreamDefinition], stories: ModelStories) -> APIRouter:
    router = APIRouter(tags=["dashboard"])

    @router.get(
        "/v1/overview/models/{stream}",
        summary="How a stream's models came to serve",
        response_model=StoryOfModels,
        responses={200: {"headers": {"ETag": ETAG}}, 304: HAS_IT, 404: {}},
    )
    async def story(
        stream: Stream,
        if_none_match: Annotated[str | None, Header(description="ETags of answers that the client has")] = None,
    ) -> Response:
        if stream not in streams:
            raise NotFound(f"found no stream {stream!r}, expected one of {sorted(streams)}")
        body = StoryOfModels(models=await stories.of(stream)).model_dump_json().encode()
        return answered(body, if_none_match, {})

    return router
