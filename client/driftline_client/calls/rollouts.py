"""Roll-outs of new versions to a fleet. Pure."""

from typing import Literal

import msgspec

from driftline_client.calls.call import Call, get, in_path, post

Act = Literal["advance", "pause", "resume", "abort"]


class TrialEvidence(msgspec.Struct, frozen=True):
    """The edges' evidence about a version, compared with the one before."""

    edges: int
    reporting: int
    truths: int
    worse: float
    not_worse: float
    over: bool
    went_back: int


class RolloutStep(msgspec.Struct, frozen=True):
    """Something happened to a roll-out. at: seconds since the epoch."""

    at: float
    act: str
    why: str
    by: str
    stage: str


class RolloutTale(msgspec.Struct, frozen=True):
    """The story of a version's roll-out, the newest event last."""

    version: str
    former: str | None
    state: str
    events: list[RolloutStep]


class ModelRollout(msgspec.Struct, frozen=True):
    """A model's roll-out, or that none runs."""

    stream: str
    member: str
    state: Literal["running", "paused", "none"]
    for_all: str
    """The version that all edges run that are not in the trial."""
    former: str | None
    on_trial: str | None
    stage: int | None
    """Counted from 1."""
    stages: list[str]
    below: float | None
    first: dict[str, str]
    since: float | None
    waits: str
    """The reason that it does not go on."""
    trial: TrialEvidence | None
    newcomers: TrialEvidence | None
    went_back: dict[str, str]
    """By edge why it went back from the version."""
    undecided: bool = False
    """Whether a person has to decide: the edges have nothing more to compare."""
    stories: list[RolloutTale] = []
    """Of one model that was asked for, the newest first."""


def rollouts() -> Call[list[ModelRollout]]:
    """Where each model's roll-out is."""
    return get("trainer", "/v1/rollouts", list[ModelRollout])


def rollout(model: str) -> Call[ModelRollout]:
    """One model's, with the stories of those before. model: STREAM.MEMBER. Raises NoSuchThing."""
    return get("trainer", f"/v1/rollouts/{in_path(model)}", ModelRollout)


def steer_rollout(model: str, act: Act, *, by: str, reason: str, version: str | None = None) -> Call[ModelRollout]:
    """Moves it by hand. version: refused when another one would be moved."""
    asked = {"by": by, "reason": reason, **({"version": version} if version else {})}
    return post("trainer", f"/v1/rollouts/{in_path(model)}/{act}", ModelRollout, asked, is_repeatable=False)
