"""Consumer groups within one process: who is in them, who owns which partition, and what each still needs."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class GroupMember(Protocol):
    """One who owns partitions."""

    @property
    def positions(self) -> dict[int, int]:
        """By partition that it has taken over the offset that it reads next."""

    async def let_go(self, partition: int) -> None:
        """Checkpoints the partition for the last time."""

    def take_back(self) -> None:
        """What was read and is not on the disk never was."""


class GroupCheckpoint(Protocol):
    """What a group wrote last of a partition. `position` is None before its first checkpoint."""

    position: int | None
    restart: int


S = TypeVar("S", bound=GroupCheckpoint)


@dataclass
class ConsumerGroup(Generic[S]):
    """A group on a topic, with the checkpoint of each partition."""

    topic: str
    saved: list[S]
    members: list[GroupMember] = field(default_factory=list)
    owners: dict[int, GroupMember] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    """By partition where reading began that has no checkpoint yet."""
    _rebalancing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def rebalance(self, announce: Callable[[], None]) -> None:
        """Deals the partitions out to the members in turn: first the losers let go, then the winners take over, with
        their next poll."""
        async with self._rebalancing:
            for partition in range(len(self.saved)):
                former = self.owners.get(partition)
                owner = self.members[partition % len(self.members)] if self.members else None
                if former is owner:
                    continue
                if former is not None:
                    if former in self.members:
                        await former.let_go(partition)
                    self.owners.pop(partition, None)
                if owner is not None:
                    self.owners[partition] = owner
            announce()

    def needs(self, partition: int) -> int:
        """The first offset that it may have to read."""
        saved = self.saved[partition]
        return self.starts.get(partition, 0) if saved.position is None else saved.restart
