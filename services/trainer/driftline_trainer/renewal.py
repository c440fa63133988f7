"""Whether a stream's batch model has to be trained again: after an upgrade, or after a change of its definition."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from driftline.models.manifest import IMPORTED
from driftline.streams.definition import StreamDefinition
from driftline.versions.releases import Current
from driftline_trainer.jobs import ENDED, JobState
from driftline_trainer.training import TrainingRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Due:
    """A batch model that has to be trained. reason: a sentence; history: the file of the data folder that the model
    before was made from, where the job is remembered and named one."""

    reason: str
    history: str | None


class Renewal:
    """Once per start and stream, so that a history that is not good enough is not tried again and again."""

    def __init__(self, training: TrainingRun) -> None:
        self._training = training
        self._done: set[str] = set()
        self._warned: set[str] = set()

    def done(self, stream: str) -> None:
        """A job was queued."""
        self._done.add(stream)

    async def due(self, stream: StreamDefinition, jobs: Sequence[JobState]) -> Due | None:
        """jobs: all that are remembered, the newest first. Raises StoreUnavailable."""
        if stream.name in self._done or (batch := await self._training.replaceable(stream)) is None:
            return None
        mine = [job for job in jobs if (job.stream, job.member) == (stream.name, "batch")]
        if any(job.state not in ENDED for job in mine):
            # Somebody is at it, maybe another trainer.
            return None
        outdated = f"{batch.version} was made for another definition, or by another release, than serves {stream.name}"
        if batch.manifest.architecture == IMPORTED:
            self._warn(stream.name, f"{outdated}; it was made elsewhere: import it again")
            return None
        history = _history_of(batch, mine)
        if history is None and not await self._training.rows.has_history(stream):
            expected = f"put a file under history/{stream.name}/, or train one by POST /v1/jobs"
            self._warn(stream.name, f"{outdated}, and there is no history to train a new batch model from: {expected}")
            return None
        return Due(f"{outdated}; a new one is trained from its history", history)

    def _warn(self, stream: str, reason: str) -> None:
        if stream not in self._warned:
            self._warned.add(stream)
            log.warning("the batch model can't serve: %s", reason, extra={"stream": stream})


def _history_of(batch: Current, jobs: Sequence[JobState]) -> str | None:
    history = next((job.history for job in jobs if job.version == batch.version), None)
    # Files in the store are learned from in any case.
    return None if history is None or history.startswith("history/") else history
