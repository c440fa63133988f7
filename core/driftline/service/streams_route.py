"""`GET /v1/streams` of every service: which streams it works on, and which definitions it refuses."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from driftline.streams.catalog import Streams


class StreamStatus(BaseModel):
    """One stream, as this service knows it."""

    stream: str
    description: str
    state: Literal["runs", "changed", "gone"] = Field(
        description="`changed`: the file says something else by now; `gone`: there is no file any more. The stream "
        "runs as before until the service is restarted."
    )
    note: str = Field(description="action to take, and what is wrong with its records, if any")


class StreamList(BaseModel):
    """All streams, and the definitions that were refused."""

    streams: list[StreamStatus]
    refused: dict[str, str] = Field(
        description="by file of the definitions' folder why it can't be used, with the line",
        examples=[{"tank.yaml": "/etc/driftline/streams/tank.yaml: line 3: target: found nothing, expected this key"}],
    )


def routes(streams: Streams) -> APIRouter:
    router = APIRouter(tags=["streams"])

    @router.get("/v1/streams", summary="Which streams it works on, and which definitions it refuses")
    async def list_streams() -> StreamList:
        await streams.look()
        statuses = [
            StreamStatus(stream=name, description=streams[name].description, state=state, note=note)
            for name, state, note in streams.standings()
        ]
        return StreamList(streams=statuses, refused=dict(streams.refused))

    return router
