"""When changed states are written, and how many with each checkpoint.

States are large, so they are written far less often than the position: in rounds, each spread over the checkpoints of
some seconds. Until a round is over, a restart reads from where the one before it began.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from driftline.bus.port import Checkpoint, Output
from driftline.worker.loop_settings import LoopSettings
from driftline.worker.step import Step

SERIES_AT_ONCE = 10
"""States that are restored or saved before other tasks get a turn, half a millisecond each: requests and heartbeats
must go on meanwhile."""


@dataclass(frozen=True)
class Round:
    """Changed states that are being written. begin: the position when it began; total: how many they were then."""

    begin: int
    total: int
    closing: Mapping[str, bytes]
    """What is written together with the last of them."""
    at_once: bool = False
    """Whether nothing else is done until all are written."""


@dataclass
class OwnedPartition:
    """A partition that is ours: what was read of it, and what is held back for its next transaction."""

    position: int
    committed: int
    restart: int
    """Offset from which the next owner would read, as of the last checkpoint."""
    silent_until: int
    """Messages before it are answered."""
    round_due: float
    round: Round | None = None
    counts_anew: bool = False
    """Whether all states must be saved before the next message: they go by offsets that are no more."""
    held: list[Output] = field(default_factory=list)

    @property
    def is_replaying(self) -> bool:
        return self.position < self.silent_until

    def count_from(self, first: int) -> None:
        """The topic was made anew, and its first message is at this offset."""
        self.position = self.committed = self.restart = self.silent_until = first
        self.round, self.counts_anew = None, True


class Rounds:
    """Makes the checkpoints of a step's partitions. Nothing may be worked off while one is made."""

    def __init__(self, step: Step[Any], settings: LoopSettings, monotonic: Callable[[], float]) -> None:
        self._step = step
        self._settings = settings
        self._monotonic = monotonic

    def is_due(self, partition: int, owned: OwnedPartition) -> bool:
        """Whether a round must begin."""
        if owned.round is not None or owned.position == owned.restart:
            return False
        is_long = owned.position - owned.restart >= self._settings.replay_limit
        # Where nothing has changed a round costs nothing, and nothing has to be read again.
        return is_long or self._monotonic() >= owned.round_due or self._step.unsaved(partition) == 0

    def begin(self, partition: int, owned: OwnedPartition, *, at_once: bool = False) -> None:
        """at_once: whether nothing else is done until all states are written."""
        # A round that is not over goes into this one, with what was to be written at its end.
        unwritten = owned.round.closing if owned.round else {}
        closing = {**unwritten, **self._step.begin_round(partition, owned.restart)}
        owned.round = Round(owned.position, self._step.left(partition), closing, at_once)

    async def checkpoint(self, partition: int, owned: OwnedPartition, partitions: int) -> Checkpoint | None:
        """What is to be written of one of so many partitions, with a part of the round under way; None where that is
        nothing."""
        states: dict[str, bytes | None] = {}
        before = owned.restart
        if owned.round is not None:
            states = await self._part(partition, self._limit(owned, owned.round, partitions))
            if self._step.left(partition) == 0:
                states |= owned.round.closing
                owned.restart, owned.round = owned.round.begin, None
                owned.round_due = self._monotonic() + self._settings.state_every
        if not states and owned.position == owned.committed and owned.restart == before:
            return None
        position = self._step.resume_at(partition, owned.position)
        checkpoint = Checkpoint(partition, position, states, owned.held, min(owned.restart, position))
        # Counted before it is written: if that fails, the session restarts from the former checkpoint.
        # A new list, since the checkpoint keeps the old one.
        owned.committed, owned.held = owned.position, []
        return checkpoint

    def _limit(self, owned: OwnedPartition, under_way: Round, partitions: int) -> int:
        """How many states the next checkpoint takes."""
        if under_way.at_once and self._settings.state_every:
            return self._settings.states_at_once
        is_idle = owned.position == owned.committed
        hurried = is_idle or owned.position - owned.restart >= self._settings.replay_limit
        return self._settings.states_of(under_way.total, partitions, hurried=hurried)

    async def _part(self, partition: int, limit: int) -> dict[str, bytes | None]:
        """About `limit` states of the round."""
        states: dict[str, bytes | None] = {}
        while self._step.left(partition) and len(states) < limit:
            states |= self._step.snapshot(partition, min(SERIES_AT_ONCE, limit - len(states)))
            await asyncio.sleep(0)
        return states
