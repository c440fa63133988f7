"""Puts states onto a bus on which nothing was worked off yet: its workers go on from them."""

import asyncio
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from driftline.bus.port import ELSEWHERE, Assignment, Bus, Checkpoint, Subscription
from driftline.errors import InvalidInput, Standstill
from driftline.messages import Topic

AT_ONCE: Final = 200
"""States in one transaction."""
PATIENCE_S: Final = 60.0
"""How long it may take until all partitions are ours."""
POLL_S: Final = 0.2


class _Seeder:
    """See `driftline.bus.port.Owner`."""

    def __init__(self) -> None:
        self.owned: set[int] = set()
        self.is_used = False
        """Whether the group has worked off something here."""

    async def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        """Of a former try, which are written again."""

    def assigned(self, assignment: Assignment) -> None:
        self.owned.add(assignment.partition)
        self.is_used |= assignment.silent_until > 0 and not assignment.moved

    async def revoked(self, partition: int) -> None:
        self.owned.discard(partition)


async def seed(
    bus: Bus, topic: Topic[Any], group: str, states: Mapping[int, Mapping[str, bytes]], partitions: int
) -> None:
    """Gives the group's workers these states, by partition, as those of another bus: they read `topic` from its
    beginning. What is done twice is as if it was done once. Raises BusUnavailable, Fenced, InvalidInput where the group
    has worked here already, and Standstill where another worker of it has partitions."""
    seeder = _Seeder()
    async with bus.join(topic, group, seeder) as subscription:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while len(seeder.owned) < partitions:
                    await subscription.poll(1, POLL_S)
        except TimeoutError:
            raise Standstill(f"found a worker of {group!r} at work, expected none: stop the services first") from None
        if seeder.is_used:
            raise InvalidInput(
                f"{topic.name}: found data that {group!r} has worked off, expected none: use an empty bus"
            )
        for partition, saved in states.items():
            await _write(subscription, partition, saved)


async def _write(subscription: Subscription, partition: int, states: Mapping[str, bytes]) -> None:
    for part in _parts(states):
        await subscription.commit(Checkpoint(partition, ELSEWHERE, part, restart=0))


def _parts(states: Mapping[str, bytes]) -> Iterator[dict[str, bytes | None]]:
    items = iter(states.items())
    while part := dict(islice(items, AT_ONCE)):
        yield {**part}
