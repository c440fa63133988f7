"""The trainer's REST door: jobs in, their states out."""

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from driftline.fleet.registration import Registration
from driftline.service.access import audit
from driftline_trainer.fleet_door.retrain import Askers
from driftline_trainer.jobs import JobState, State, Trigger
from driftline_trainer.trainer import Trainer


class JobRequest(BaseModel):
    """A training to run."""

    model_config = {"extra": "forbid"}

    stream: str = Field(examples=["outdoor-temperature"])
    member: Literal["batch", "speed"] = Field(examples=["batch"])
    history: str | None = Field(
        None,
        max_length=1024,
        description="A file of the data folder, or a store key under history/. Without it, a batch model learns from "
        "all history and windows in the store. A speed model takes none.",
        examples=["la-haute-borne.parquet"],
    )
    trigger: Literal["demand", "drift", "negative-skill"] = Field(
        "demand",
        description="Why. Only what is demanded runs at once; the others wait for the budget and for a new window.",
    )


class JobAnswer(BaseModel):
    """A training job and its state. Times in seconds since the epoch."""

    id: str
    stream: str
    member: str
    history: str | None
    state: State
    submitted: float
    trigger: Trigger
    holder: str = Field(description="the trainer that has it")
    started: float | None
    ended: float | None
    reason: str | None
    version: str | None
    beaten: str | None = Field(description="its rival at the gate, and by how much it was better")
    metrics: dict[str, float]


def _answer(job: JobState) -> JobAnswer:
    return JobAnswer(**msgspec.structs.asdict(job))


def routes(trainer: Trainer, askers: Askers) -> APIRouter:
    router = APIRouter(tags=["jobs"])
    asking = Annotated[Registration | None, Depends(askers.asker)]

    @router.post(
        "/v1/jobs",
        summary="Train a model",
        status_code=202,
        responses={
            401: {},
            403: {"description": "The role is less than operator, or the device may not ask for that."},
            422: {},
            429: {},
            503: {},
        },
    )
    async def submit(request: JobRequest, asker: asking) -> JobAnswer:
        if asker is not None:
            askers.check(asker.edge, request.member, request.history, request.trigger)
            audit.asked_by_device(asker.edge, "credential")
        job = await trainer.submit(request.stream, request.member, request.history, trigger=request.trigger)
        audit.changed(None, {"job": job.id, **request.model_dump()})
        return _answer(job)

    @router.get("/v1/jobs", summary="The jobs, the newest first")
    async def list_jobs() -> list[JobAnswer]:
        return [_answer(job) for job in trainer.jobs()]

    @router.get("/v1/jobs/{job}", summary="One job", responses={404: {}})
    async def read_job(job: str) -> JobAnswer:
        return _answer(trainer.job(job))

    return router
