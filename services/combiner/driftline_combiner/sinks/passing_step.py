"""The step of a sink: hands messages on as they are, those from before its first start only if it should. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Generic

from driftline.bus.port import Assignment, Envelope
from driftline.messages import M

SINCE = "sink/since"
"""The name of the state that says when a partition was taken up first."""


class PassingStep(Generic[M]):
    """See `driftline.worker.step.Step`. now: seconds since the epoch; None where all that the topic has is handed
    on."""

    def __init__(self, now: Callable[[], float] | None = None) -> None:
        self._now = now
        self._since: dict[int, float] = {}
        self._unsaved: set[int] = set()

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        if self._now is not None and (saved := states.get(SINCE)) is not None:
            self._since[partition] = float(saved)

    def begin(self, assignment: Assignment) -> bool:
        if self._now is not None and assignment.partition not in self._since:
            self._since[assignment.partition] = self._now()
            self._unsaved.add(assignment.partition)
        return False

    def begin_again(self, partition: int, position: int) -> None:
        """What comes on the new topic came later still."""

    def replay(self, batch: Sequence[Envelope[M]]) -> None:
        """No message changes the state."""

    def step(self, batch: Sequence[Envelope[M]]) -> list[Envelope[M]]:
        return [envelope for envelope in batch if envelope.timestamp >= self._since.get(envelope.partition, 0.0)]

    def begin_round(self, partition: int, restart: int) -> dict[str, bytes]:  # noqa: ARG002
        return {}

    def left(self, partition: int) -> int:
        return self.unsaved(partition)

    def snapshot(self, partition: int, limit: int | None = None) -> dict[str, bytes | None]:  # noqa: ARG002
        if partition not in self._unsaved:
            return {}
        self._unsaved.remove(partition)
        return {SINCE: repr(self._since[partition]).encode()}

    def unsaved(self, partition: int) -> int:
        return int(partition in self._unsaved)

    def resume_at(self, partition: int, consumed: int) -> int:  # noqa: ARG002
        return consumed

    def release(self, partition: int) -> bool:
        self._since.pop(partition, None)
        self._unsaved.discard(partition)
        return False
