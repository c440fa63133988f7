"""What a worker runs: a step without I/O, which takes messages in and gives what follows from them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from driftline.bus.port import Assignment, Envelope

M_contra = TypeVar("M_contra", bound=msgspec.Struct, contravariant=True)


class Step(Protocol[M_contra]):
    """The pure part of a worker, for all the partitions that it owns at the moment."""

    def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        """Takes up a part of the states that were checkpointed last, at least once for each partition that is taken
        over, before its first message. Later parts win over earlier ones; None forgets a series."""

    def begin(self, assignment: Assignment) -> bool:
        """Everything is restored. Returns whether saved states go by offsets of a topic that is no more: then all of
        them are saved before the first message."""

    def begin_again(self, partition: int, position: int) -> None:
        """The topic was made anew and counts from `position`. Afterwards all states are saved."""

    def replay(self, batch: Sequence[Envelope[M_contra]]) -> None:
        """Takes messages in that were answered before; states that have them already are left as they are."""

    def step(self, batch: Sequence[Envelope[M_contra]]) -> Sequence[Any]:
        """Works off messages of any owned partitions, in order within each. What it returns goes to the sink."""

    def begin_round(self, partition: int, restart: int) -> Mapping[str, bytes]:
        """From now on `left` and `snapshot` are about the states that have changed by now. Returns what is saved under
        other names, together with the last of them. restart: where a restart reads from until that is written."""

    def left(self, partition: int) -> int:
        """How many states of the round have not been given yet."""

    def snapshot(self, partition: int, limit: int | None = None) -> Mapping[str, bytes | None]:
        """About `limit` of the changed states, as they are now, those of the round first; None deletes one. More where
        some are of use only together; nothing when all are given."""

    def unsaved(self, partition: int) -> int:
        """How many states have changed since they were last given."""

    def resume_at(self, partition: int, consumed: int) -> int:
        """Where a restart must read on, when everything before `consumed` was worked off."""

    def release(self, partition: int) -> bool:
        """Drops a partition that somebody else owns now, also one that was not restored to its end. Returns whether
        something of it is left, so that it must be called again."""
