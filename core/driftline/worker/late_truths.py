"""Which of a series' newest records came without their truth, so that it may still be brought. Pure."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from driftline.arrays import Ints

NOTHING = -1


@dataclass(frozen=True)
class LateTruths:
    """The state of all series; one row ("slot") each."""

    count: Ints
    """[slots]: records seen; a record's number is how many came before it."""
    t: Ints
    """[slots, patience]: times of the newest records that lack their truth, otherwise NOTHING; a ring."""

    @classmethod
    def empty(cls, slots: int, patience: int) -> Self:
        return cls(np.zeros(slots, dtype=np.int64), np.full((slots, patience), NOTHING, dtype=np.int64))

    def expect(self, slots: Ints, t: Ints, missing: Any) -> None:
        """Takes in one record of each of n different series. t: [n] milliseconds since the epoch. missing: [n]
        booleans."""
        count = self.count[slots]
        self.t[slots, count % self.t.shape[1]] = np.where(missing, t, NOTHING)
        self.count[slots] = count + 1

    def number(self, slot: int, t: int) -> int | None:
        """Which record of a series the one of time `t` is, if it lacks its truth and is recent enough."""
        places = np.flatnonzero(self.t[slot] == t)
        if not len(places):
            return None
        newest = self.count[slot] - 1
        # A record's place is its number modulo the ring: the newest number with this place is the one.
        return int(newest - (newest - places[0]) % self.t.shape[1])

    def settle(self, slot: int, t: int) -> int | None:
        """Its truth has come. Returns the record's number; None where none was missing."""
        number = self.number(slot, t)
        self.t[slot][self.t[slot] == t] = NOTHING
        return number
