"""Training jobs. Pure."""

from typing import Literal

import msgspec

from driftline_client.calls.call import Call, get, in_path, post

ENDED = frozenset({"published", "refused", "failed"})
"""States that no other one follows."""


class TrainingJob(msgspec.Struct, frozen=True):
    """A training job. Times in seconds since the epoch."""

    id: str
    stream: str
    member: str
    history: str | None
    state: str
    """`queued`, `running`, `published`, `refused`, `failed` and the like."""
    submitted: float
    trigger: str
    holder: str
    """The trainer that has it."""
    started: float | None
    ended: float | None
    reason: str | None
    """Why it was refused or failed."""
    version: str | None
    beaten: str | None
    """Its rival at the gate, and by how much it was better."""
    metrics: dict[str, float]

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def train(stream: str, member: Literal["batch", "speed"] = "batch", history: str | None = None) -> Call[TrainingJob]:
    """Submits a training. history: a key of the store under history/, or a file of the trainer's data folder."""
    asked = {"stream": stream, "member": member, "history": history}
    return post("trainer", "/v1/jobs", TrainingJob, asked, is_repeatable=False)


def job(job_id: str) -> Call[TrainingJob]:
    """One job. Raises NoSuchThing."""
    return get("trainer", f"/v1/jobs/{in_path(job_id)}", TrainingJob)


def jobs() -> Call[list[TrainingJob]]:
    """The jobs, the newest first."""
    return get("trainer", "/v1/jobs", list[TrainingJob])
