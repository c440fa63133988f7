"""Whether somebody else writes heartbeats under this edge's id: a card that was copied. Pure.

Each run of an edge has a boot, and each boot counts its heartbeats. A boot of another that lies where ours was may be a
replica's, which is heard on the edge's own bus; one from before a restart, whose last heartbeat came late; or one out
of a backup. The last two never write again. So whoever was met with two different numbers, over heartbeats of ours, is
alive and is no replica. That needs no clock.
"""

from typing import TypeVar

T = TypeVar("T")

BOOTS_REMEMBERED = 100
GONE_AFTER = 10
"""Heartbeats of ours after which a rival that has written none meanwhile is one no more."""


class Rivals:
    """Those of the boot `own`."""

    def __init__(self, own: str) -> None:
        self._own = own
        self._replicas: dict[str, None] = {}
        self._numbers: dict[str, int] = {}
        """By boot the number that it was met with last."""
        self._met: dict[str, int] = {}
        """By rival our own number when it was met last."""

    def hear(self, boot: str) -> None:
        """A replica of this edge has said on the bus that it runs."""
        _remember(self._replicas, boot, None)
        self._met.pop(boot, None)

    def meet(self, boot: str, number: int, own_number: int) -> bool:
        """A heartbeat of this boot lay where ours was. Returns whether it is a rival now and was none before."""
        if boot == self._own or boot in self._replicas:
            return False
        before = self._numbers.get(boot)
        _remember(self._numbers, boot, number)
        if before is None or number == before:
            return False
        is_new = boot not in self._met
        _remember(self._met, boot, own_number)
        return is_new

    def now(self, own_number: int) -> list[str]:
        """The rivals at our heartbeat of this number, in the order of their names."""
        return sorted(boot for boot, met in self._met.items() if own_number - met < GONE_AFTER)


def _remember(remembered: dict[str, T], boot: str, value: T) -> None:
    remembered.pop(boot, None)
    remembered[boot] = value
    if len(remembered) > BOOTS_REMEMBERED:
        remembered.pop(next(iter(remembered)))
