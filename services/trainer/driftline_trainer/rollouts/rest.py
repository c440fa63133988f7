"""Roll-outs by REST: where each is, and its steering by hand."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from driftline.fleet.evidence import Pooled
from driftline.service.access import audit
from driftline_trainer.rollouts.pointers import Pointed
from driftline_trainer.rollouts.rollouts import Hand, Rollouts
from driftline_trainer.rollouts.standing import RolloutStanding
from driftline_trainer.rollouts.stories import Act, RolloutStory, StoryState

StreamName = Annotated[str, Path(description="the stream's name", examples=["outdoor-temperature"])]
MemberName = Annotated[str, Path(description="`batch` or `speed`", examples=["batch"])]


class EvidenceAnswer(BaseModel):
    """The edges' evidence about the version, compared with the one before."""

    edges: int
    reporting: int = Field(description="those of them that have compared both on a truth, or went back")
    truths: int
    worse: float = Field(description="mean evidence that it is worse; it is stopped at 100")
    not_worse: float = Field(description="mean evidence that it is not; at 20 a stage has passed")
    over: bool = Field(description="whether no edge has anything more to compare")
    went_back: int


class RolloutEventAnswer(BaseModel):
    """Something happened to a roll-out. `at`: seconds since the epoch."""

    at: float
    act: Act
    why: str
    by: str = Field(description="a person, or `evidence`")
    stage: str = Field(description="which edges run the version from then on", examples=["10%"])


class RolloutStoryAnswer(BaseModel):
    """The story of a version's roll-out."""

    version: str
    former: str | None = Field(description="the version that all edges ran when it began")
    state: StoryState
    events: list[RolloutEventAnswer] = Field(description="the newest last")


class RolloutAnswer(BaseModel):
    """A model's roll-out, or that none runs."""

    stream: str
    member: str
    state: Literal["running", "paused", "none"]
    for_all: str = Field(description="the version that all edges run that are not in the trial")
    former: str | None = Field(description="the version that `for_all` would be taken back to")
    on_trial: str | None
    stage: int | None = Field(description="counted from 1")
    stages: list[str] = Field(examples=[["1", "10%", "50%", "100%"]])
    below: float | None = Field(description="edges whose rank is below this are in the trial")
    first: dict[str, str] = Field(description="labels of the edges that come first")
    since: float | None = Field(description="seconds since the epoch when the stage began")
    waits: str = Field(description="the reason that it does not go on")
    undecided: bool = Field(description="whether a person has to decide: the edges have nothing more to compare")
    trial: EvidenceAnswer | None = Field(description="of all edges in the trial, or that run the version for all")
    newcomers: EvidenceAnswer | None = Field(description="of those that came in with this stage")
    went_back: dict[str, str] = Field(description="by edge why it went back from the version")


class RolloutDetails(RolloutAnswer):
    """The same with the newest stories, the newest first."""

    stories: list[RolloutStoryAnswer]


class RolloutRequest(BaseModel):
    """A person's name and reason."""

    model_config = {"extra": "forbid"}

    by: str = Field("", max_length=100, description="a name for the roll-out's story", examples=["ada"])
    reason: str = Field("", max_length=500, examples=["the canary is fine"])
    version: str | None = Field(None, max_length=100, description="refused when another one would be moved")

    @property
    def hand(self) -> Hand:
        return Hand(self.by or "by hand", self.reason or "by hand", self.version)


def routes(rollouts: Rollouts) -> APIRouter:
    router = APIRouter(tags=["roll-outs"])

    async def details(stream: str, member: str) -> RolloutDetails:
        at = await rollouts.find(stream, member)
        stories = [_story(story) for story in await rollouts.stories.of(*at.model)]
        return RolloutDetails(**_answer(at, rollouts.standing(at)).model_dump(), stories=stories)

    @router.get("/v1/rollouts", summary="Where each model's roll-out is")
    async def list_rollouts() -> list[RolloutAnswer]:
        return [_answer(at, rollouts.standing(at)) for at in rollouts.models()]

    @router.get(
        "/v1/rollouts/{stream}.{member}",
        summary="One model's roll-out, with what became of those before",
        responses={404: {}, 503: {}},
    )
    async def show_rollout(stream: StreamName, member: MemberName) -> RolloutDetails:
        return await details(stream, member)

    def add(path: str, act: Callable[[str, str, Hand], Awaitable[None]], summary: str, description: str) -> None:
        @router.post(
            f"/v1/rollouts/{{stream}}.{{member}}/{path}",
            name=f"{path}_rollout",
            summary=summary,
            description=description,
            responses={
                404: {},
                409: {"description": "None runs, another version is meant, or it was moved meanwhile."},
                422: {},
                503: {},
            },
        )
        async def steer(stream: StreamName, member: MemberName, request: RolloutRequest) -> RolloutDetails:
            before = _in_short(await rollouts.find(stream, member))
            await act(stream, member, request.hand)
            audit.changed(before, _in_short(await rollouts.find(stream, member)) | request.model_dump())
            return await details(stream, member)

    add(
        "advance",
        rollouts.advance,
        "Go on to the next stage",
        "The edges' evidence is not asked. A paused one stays paused.",
    )
    add(
        "pause",
        rollouts.pause,
        "Stay in this stage",
        "A version that turns out to be worse is still stopped. A repeated request has no further effect.",
    )
    add("resume", rollouts.resume, "Go on by evidence", "A repeated request has no further effect.")
    add(
        "abort",
        rollouts.abort,
        "Take a version back from all edges",
        "The one on trial; without a trial the one that all edges run. No edge serves it again.",
    )
    return router


def _in_short(at: Pointed) -> dict[str, object]:
    """For the audit."""
    pointer, trial = at.pointer, at.pointer.trial
    on_trial = {"on_trial": trial.version, "stage": trial.stage + 1, "paused": trial.paused} if trial else {}
    return {"for_all": pointer.version, **on_trial}


def _answer(at: Pointed, standing: RolloutStanding | None) -> RolloutAnswer:
    pointer, trial = at.pointer, at.pointer.trial
    return RolloutAnswer(
        stream=at.stream.name,
        member=at.member,
        state="none" if trial is None else "paused" if trial.paused else "running",
        for_all=pointer.version,
        former=pointer.former,
        on_trial=trial.version if trial else None,
        stage=trial.stage + 1 if trial else None,
        stages=list(at.stages),
        below=trial.below if trial else None,
        first=trial.first if trial else {},
        since=trial.since if trial else None,
        waits=standing.waits if standing and trial else "",
        undecided=bool(standing and trial and standing.undecided),
        trial=_evidence(standing.everyone) if standing else None,
        newcomers=_evidence(standing.newcomers) if standing and trial else None,
        went_back=dict(standing.went_back) if standing else {},
    )


def _evidence(pooled: Pooled) -> EvidenceAnswer:
    return EvidenceAnswer(
        edges=pooled.edges,
        reporting=pooled.reporting,
        truths=pooled.truths,
        worse=pooled.worse,
        not_worse=pooled.not_worse,
        over=pooled.over,
        went_back=pooled.went_back,
    )


def _story(story: RolloutStory) -> RolloutStoryAnswer:
    events = [RolloutEventAnswer(**msgspec.structs.asdict(event)) for event in story.events]
    return RolloutStoryAnswer(version=story.version, former=story.former, state=story.state, events=events)
