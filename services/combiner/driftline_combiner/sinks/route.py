"""`GET /v1/sinks`: how each sink does."""

from collections.abc import Sequence
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from driftline.errors import Unavailable
from driftline_combiner.next_values import iso
from driftline_combiner.sinks.job import SinkJob


class SinkAnswer(BaseModel):
    """One sink, as this replica sees it. Counts are since its start."""

    name: str
    type: str = Field(examples=["mqtt"])
    topic: str = Field(description="the topic that it is filled from")
    state: Literal["ok", "unavailable", "refused"] = Field(
        description="`unavailable`: the other side does not answer; `refused`: it does, and a person must correct "
        "something"
    )
    since: str = Field(description="when that began, ISO 8601")
    error: str | None = Field(description="why the other side has not taken the newest")
    remedy: str | None = Field(description="how to correct it")
    lag: int | None = Field(description="messages of all replicas that wait; null while the bus is unavailable")
    sent: int = Field(description="messages that the other side has taken")
    set_aside: int = Field(description="messages that it will never take; they are among the dead letters")
    last_sent: str | None = Field(description="when it took one last, ISO 8601")


def routes(jobs: Sequence[SinkJob]) -> APIRouter:
    router = APIRouter(tags=["sinks"])

    @router.get("/v1/sinks", summary="How each sink does")
    async def sinks() -> list[SinkAnswer]:
        return [await _answer(job) for job in jobs]

    return router


async def _answer(job: SinkJob) -> SinkAnswer:
    standing = job.standing
    return SinkAnswer(
        name=job.opened.name,
        type=job.opened.type,
        topic=job.topic.name,
        state=standing.state,
        since=_written(standing.since),
        error=standing.error or None,
        remedy=standing.remedy or None,
        lag=await _lag(job),
        sent=standing.sent,
        set_aside=standing.set_aside,
        last_sent=None if standing.last_sent is None else _written(standing.last_sent),
    )


async def _lag(job: SinkJob) -> int | None:
    try:
        return await job.lag()
    except Unavailable:
        return None


def _written(seconds: float) -> str:
    return iso(round(1000 * seconds))
