"""Where what was forecast waits for its truth: for each horizon a ring by tick of its own, one behind the other. Pure.

A ring is as long as its horizon and as a truth may be late take together. One ring for all horizons, as long as the
longest needs, would be twice as large, and what waits is most of what is kept of a series.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.arrays import Ints, Mask
from driftline.streams import grid


@dataclass(frozen=True)
class HorizonRings:
    """The rings of one series."""

    steps: Ints
    """[horizons]: periods ahead, ascending."""
    lengths: Ints
    """[horizons]: places of each ring."""
    begins: Ints
    """[horizons]: the first place of each among those of all."""

    @classmethod
    def of(cls, steps: Sequence[int] | Ints, patience: int) -> Self:
        """patience: records that a truth may be late."""
        ahead = np.array(steps, dtype=np.int64)
        lengths = ahead + patience
        return cls(ahead, lengths, np.cumsum(lengths) - lengths)

    @property
    def size(self) -> int:
        """Places of all rings together."""
        return int(self.lengths.sum())

    @property
    def longest(self) -> int:
        return int(self.lengths[-1])

    def places(self, tick: Ints) -> Ints:
        """[n, horizons]: where what was forecast at these ticks lies. tick: [n, horizons], or [n, 1] for the same tick
        at all horizons."""
        places: Ints = self.begins + tick % self.lengths
        return places

    def skipped(self, before: Ints, tick: Ints) -> tuple[Ints, Ints]:
        """Which places hold nothing any more, now that `tick` follows `before`; see `grid.skipped`."""
        parts = [grid.skipped(length, before, tick) for length in self.lengths.tolist()]
        rows = np.concatenate([rows for rows, _ in parts])
        places = np.concatenate([begin + places for begin, (_, places) in zip(self.begins, parts, strict=True)])
        return rows, places

    def by_tick(self, newest: int) -> tuple[Ints, Mask]:
        """[longest, horizons] each, of a ring by tick for all horizons that is as long as the longest one: the place of
        each of its ticks among ours, and whether we still have it."""
        age = (newest - np.arange(self.longest)) % self.longest
        return self.places((newest - age)[:, None]), age[:, None] < self.lengths
