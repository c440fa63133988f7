"""What waits for the store, and what had to be dropped before it got there, by REST."""

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel, Field

from driftline_ingest.backlog import Backlog
from driftline_ingest.gaps import Gaps


class GapAnswer(BaseModel):
    """Rows that were dropped before they reached the store."""

    stream: str
    what: str = Field(description="the kind of windows", examples=["windows"])
    since: int = Field(description="time of the first row, milliseconds since the epoch")
    until: int = Field(description="time of the last row")
    count: int = Field(description="rows; where the bus dropped them, estimated from the stream's period")


class BacklogAnswer(BaseModel):
    """Windows that wait for the store on this machine's disk, and what was dropped."""

    windows: int
    bytes: int
    gaps: list[GapAnswer] = Field(description="the newest last")


SHOWN = 1000


def routes(backlog: Backlog | None, gaps: Gaps) -> APIRouter:
    """Without a backlog nothing waits but on the bus."""
    router = APIRouter(tags=["archive"])

    @router.get(
        "/v1/backlog", summary="Windows that wait for the store, and rows that were dropped before they got there"
    )
    async def show() -> BacklogAnswer:
        answers = [GapAnswer(**msgspec.structs.asdict(gap)) for gap in gaps.newest(SHOWN)]
        if backlog is None:
            return BacklogAnswer(windows=0, bytes=0, gaps=answers)
        return BacklogAnswer(windows=backlog.windows, bytes=backlog.size, gaps=answers)

    return router
