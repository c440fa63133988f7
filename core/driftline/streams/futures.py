"""What is known ahead of every series: for each tick to come the values of the newest issues. Pure NumPy.

Two issues of each value are kept, so that a record that comes after an issue which is newer than itself is forecast
from the one before.
"""

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints, Over
from driftline.streams.grid import NEVER

ISSUES = 2
"""Of each value that are kept, the newest first."""


@dataclass(frozen=True)
class Foreseen:
    """The state of all series; one row ("slot") each. Rings by tick, see `driftline.streams.grid`."""

    tick: Annotated[Ints, Over("ahead")]
    """[slots, ring]: which tick a place holds; NEVER where none."""
    issued: Annotated[Ints, Over("ahead", ISSUES, "futures")]
    """[slots, ring, ISSUES, futures]: milliseconds since the epoch; NEVER where there is no value."""
    values: Annotated[npt.NDArray[np.float32], Over("ahead", ISSUES, "futures")]
    """[slots, ring, ISSUES, futures]."""

    @classmethod
    def empty(cls, slots: int, ring: int, futures: int) -> Self:
        """ring: how many ticks are kept, that of the newest record included."""
        return cls(
            np.full((slots, ring), NEVER, dtype=np.int64),
            np.full((slots, ring, ISSUES, futures), NEVER, dtype=np.int64),
            np.full((slots, ring, ISSUES, futures), np.nan, dtype=np.float32),
        )

    def add(self, slot: int, tick: int, issued: int, values: Floats) -> None:
        """Takes in what was issued for a tick. values: [futures]; one that is missing (NaN) says nothing, and leaves
        what was issued before."""
        position = tick % self.tick.shape[1]
        if self.tick[slot, position] != tick:
            self.tick[slot, position] = tick
            self.issued[slot, position], self.values[slot, position] = NEVER, np.nan
        times, kept = self.issued[slot, position], self.values[slot, position]
        known, newest = np.isfinite(values), times[0].copy()
        newer = known & (issued > newest)
        times[1, newer], kept[1, newer] = times[0, newer], kept[0, newer]
        first = newer | (known & (issued == newest))
        times[0, first], kept[0, first] = issued, values[first]
        second = known & (issued < newest) & (issued >= times[1])
        times[1, second], kept[1, second] = issued, values[second]

    def at(self, slots: Ints, ticks: Ints, t: Ints) -> npt.NDArray[np.float32]:
        """[n, ticks, futures]: what was known of each of `ticks` [n, ticks] at the times `t` [n]; NaN where nothing."""
        places = ticks % self.tick.shape[1]
        rows = slots[:, None]
        held = (self.tick[rows, places] == ticks)[:, :, None, None]
        usable = held & (self.issued[rows, places] <= t[:, None, None, None]) & (self.issued[rows, places] != NEVER)
        values = np.where(usable, self.values[rows, places], np.float32(np.nan))
        newest: npt.NDArray[np.float32] = np.where(usable[:, :, 0], values[:, :, 0], values[:, :, 1])
        return newest


@dataclass(frozen=True)
class Issues:
    """All futures of one series in a table, to look up what was known of a tick at a time."""

    issues: Ints
    """All times of issue, ascending."""
    ticks: tuple[Ints, ...]
    """Of each column the ticks that have a value, ascending; those of one tick in order of issue."""
    numbers: tuple[Ints, ...]
    """Of each column and value, the number of its tick and issue in that order."""
    values: tuple[npt.NDArray[np.float32], ...]
    first: int
    """Tick that `numbers` begin with."""

    @classmethod
    def of(cls, ticks: Ints, issued: Ints, values: Floats) -> Self:
        """ticks, issued: [n]. values: [n, futures], NaN where missing. Of two alike the later counts."""
        issues = np.unique(issued)
        first = int(ticks.min()) if len(ticks) else 0
        numbers = (ticks - first) * (len(issues) + 1) + np.searchsorted(issues, issued)
        order = np.argsort(numbers, kind="stable")
        known = [order[np.isfinite(column[order])] for column in values.T]
        return cls(
            issues,
            tuple(ticks[places] for places in known),
            tuple(numbers[places] for places in known),
            tuple(column[places].astype(np.float32) for column, places in zip(values.T, known, strict=True)),
            first,
        )

    def at(self, ticks: Ints, t: Ints) -> npt.NDArray[np.float32]:
        """As `Foreseen.at`, of one series."""
        newest = np.searchsorted(self.issues, t, side="right") - 1
        wanted = (ticks - self.first) * (len(self.issues) + 1) + newest[:, None]
        known = np.full((*ticks.shape, len(self.values)), np.nan, dtype=np.float32)
        for column, (of_ticks, numbers, values) in enumerate(zip(self.ticks, self.numbers, self.values, strict=True)):
            if not len(values):
                continue
            # The last issue of the tick that is not newer; of another tick where there is none.
            places = np.searchsorted(numbers, wanted, side="right") - 1
            same = (places >= 0) & (of_ticks[places] == ticks)
            known[:, :, column] = np.where(same, values[places], np.nan)
        return known
