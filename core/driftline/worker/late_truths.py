"""Which of a series' newest records came without their truth, so that it may still be brought.

Pure NumPy; one row ("slot") a series.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from driftline.arrays import Ints

NOTHING = -1


@dataclass(frozen=True)
class Awaited:
    """The state of all series."""

    count: Ints
    """[slots]: records seen; a record's number is how many came before it."""
    t: Ints
    """[slots, patience]: times of the newest records that lack their truth, otherwise NOTHING; a ring."""

    @classmethod
    def empty(cls, slots: int, patience: int) -> Self:
        return cls(np.zeros(slots, dtype=np.int64), np.full((slots, patience), NOTHING, dtype=np.int64))


def expect(awaited: Awaited, slots: Ints, t: Ints, missing: Any) -> None:
    """Takes in one record of each of n different series. t: [n] milliseconds since the epoch. missing: [n] booleans."""
    count = awaited.count[slots]
    awaited.t[slots, count % awaited.t.shape[1]] = np.where(missing, t, NOTHING)
    awaited.count[slots] = count + 1


def number(awaited: Awaited, slot: int, t: int) -> int | None:
    """Which record of a series the one of time `t` is, if it lacks its truth and is recent enough."""
    places = np.flatnonzero(awaited.t[slot] == t)
    if not len(places):
        return None
    newest = awaited.count[slot] - 1
    return int(newest - (newest - places[0]) % awaited.t.shape[1])


def settle(awaited: Awaited, slot: int, t: int) -> None:
    """Its truth has come."""
    awaited.t[slot][awaited.t[slot] == t] = NOTHING
