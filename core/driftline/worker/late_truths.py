"""Which of a series' newest ticks lack their truth, or their whole record, so that it may still be brought. Pure."""

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np

from driftline.arrays import Ints, Mask, Over
from driftline.streams.grid import NEVER, skipped
from driftline_kernels import address, kernel, table

NOTHING = -1
SKIPPED = -2
"""In the place of a time: no record of that tick has come, and later ones have."""
EXPECT = kernel("truths_expect", "pnnppppp")


@dataclass(frozen=True)
class LateTruths:
    """The state of all series; one row ("slot") each."""

    tick: Annotated[Ints, Over()]
    """[slots]: of the newest record; NEVER before the first. See `driftline.streams.grid`."""
    t: Annotated[Ints, Over("patience")]
    """[slots, patience]: times of the records of the newest ticks that lack their truth, SKIPPED where there is no
    record, otherwise NOTHING; a ring."""

    @classmethod
    def empty(cls, slots: int, patience: int) -> Self:
        return cls(np.full(slots, NEVER, dtype=np.int64), np.full((slots, patience), NOTHING, dtype=np.int64))

    def expect(self, slots: Ints, tick: Ints, t: Ints, missing: Any) -> Mask:
        """Takes in one record of each of n different series. t: [n] milliseconds since the epoch. missing: [n]
        booleans.

        Returns [n]: whether the record is the first of its tick that has its truth.
        """
        if EXPECT is not None:
            return self._expect_in_sequence(slots, tick, t, missing)
        before, ring = self.tick[slots], self.t.shape[1]
        again = tick == before
        lacked = self.t[slots, tick % ring] != NOTHING
        rows, places = skipped(ring, before, tick)
        self.t[slots[rows], places] = SKIPPED
        # A truth that came before stays known, whatever comes in the same tick.
        awaited = missing & (~again | lacked)
        self.t[slots, tick % ring] = np.where(awaited, t, NOTHING)
        self.tick[slots] = tick
        first: Mask = ~missing & (~again | lacked)
        return first

    def _expect_in_sequence(self, slots: Ints, tick: Ints, t: Ints, missing: Mask) -> Mask:
        """In C, one record after the other: a series may have several."""
        assert EXPECT is not None  # noqa: S101
        slots, tick, t = (np.ascontiguousarray(array, dtype=np.int64) for array in (slots, tick, t))
        missing, first = np.ascontiguousarray(missing, dtype=np.bool_), np.empty(len(slots), dtype=np.bool_)
        addresses = [address(array) for array in (slots, tick, t, missing, first)]
        EXPECT(table(self), self.t.shape[1], len(slots), *addresses)
        return first

    def tick_of(self, slot: int, t: int) -> int | None:
        """The tick of the record of time `t`, if it lacks its truth and is recent enough."""
        places = np.flatnonzero(self.t[slot] == t)
        if not len(places):
            return None
        newest = self.tick[slot]
        # The newest tick with this place in the ring is the one.
        return int(newest - (newest - places[0]) % self.t.shape[1])

    def skipped(self, slot: int, tick: int) -> bool:
        """Whether no record of that tick has come, and those after it did not long ago."""
        newest, patience = int(self.tick[slot]), self.t.shape[1]
        return newest - patience < tick < newest and int(self.t[slot, tick % patience]) == SKIPPED

    def take_in(self, slot: int, tick: int, t: int, *, missing: bool) -> None:
        """The record of a tick that was skipped has come. missing: whether it lacks its truth."""
        self.t[slot, tick % self.t.shape[1]] = t if missing else NOTHING

    def awaited(self, slot: int, steps: Ints, ring: int) -> Mask:
        """[ring, horizons]: of a ring by tick of what was forecast, whether the truth may still come. steps: [horizons]
        periods ahead. ring: as long as the longest of them and as a truth may be late."""
        newest, patience = int(self.tick[slot]), self.t.shape[1]
        age = (newest - np.arange(ring)) % ring
        # How long ago the tick was that was forecast; below 0 it is ahead.
        back = age[:, None] - steps
        lacking = self.t[slot, (newest - np.arange(patience)) % patience] != NOTHING
        awaited: Mask = (back < 0) | ((back < patience) & lacking[np.minimum(np.maximum(back, 0), patience - 1)])
        return awaited

    def settle(self, slot: int, t: int) -> int | None:
        """Its truth has come. Returns the record's tick; None where none was missing."""
        tick = self.tick_of(slot, t)
        self.t[slot][self.t[slot] == t] = NOTHING
        return tick
