"""Which ticks of a series are archived, so that a late record is archived once. Pure.

By ticks and not by times: a sensor whose clock trembles has a run for each gap all the same.
"""

from __future__ import annotations  # array[int] is a type for checkers only

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence

import numpy as np

from driftline.streams.grid import NEVER, phase_of
from driftline_ingest import runs as sorted_runs

MOST_RUNS = 64
"""Of a series, 16 bytes each: what is older than the gaps that are remembered counts as archived."""


class KnownTicks:
    """Runs of ticks, see `driftline.streams.grid`. All ticks up to the floor count as known."""

    __slots__ = ("_firsts", "_floor", "_lasts", "_period", "_phase")

    def __init__(self, period: int, phase: int, floor: int = NEVER, runs: Sequence[int] = ()) -> None:
        """period, phase: milliseconds. runs: of each its first and its last tick, one after the other."""
        self._period = period
        self._phase = phase
        self._floor = floor
        self._firsts = array("q", runs[::2])
        self._lasts = array("q", runs[1::2])

    @classmethod
    def beginning(cls, period: int, t: int) -> KnownTicks:
        """Of a series whose first record is of time `t`: nothing is known."""
        return cls(period, _phase(period, t))

    @classmethod
    def restored(cls, period: int, saved: Sequence[int], t: int) -> KnownTicks:
        """saved: what `saved` gave; nothing in states from before it was kept: then all is known up to `t`."""
        if saved:
            phase, floor, *runs = saved
            return cls(period, phase, floor, runs)
        phase = _phase(period, t)
        return cls(period, phase, (t - phase + period // 2) // period)

    def saved(self) -> tuple[int, ...]:
        runs = (end for run in zip(self._firsts, self._lasts, strict=True) for end in run)
        return (self._phase, self._floor, *runs)

    def add(self, t: int) -> None:
        """Takes in a time, of whichever order."""
        tick, lasts = self._tick(t), self._lasts
        if lasts and tick == lasts[-1] + 1:
            lasts[-1] = tick
        elif not self._knows(tick):
            self._insert(tick)

    def knows(self, t: int) -> bool:
        return self._knows(self._tick(t))

    def leave(self, gone: Callable[[int], bool]) -> None:
        """Forgets the newest runs, as far as they begin at a time that is `gone`."""
        while self._firsts and gone(self._firsts[-1] * self._period + self._phase):
            self._firsts.pop()
            self._lasts.pop()

    def _tick(self, t: int) -> int:
        return (t - self._phase + self._period // 2) // self._period

    def _knows(self, tick: int) -> bool:
        if tick <= self._floor:
            return True
        run = bisect_right(self._firsts, tick) - 1
        return run >= 0 and tick <= self._lasts[run]

    def _insert(self, tick: int) -> None:
        firsts, lasts = self._firsts, self._lasts
        sorted_runs.insert(firsts, lasts, tick, 1)
        if len(firsts) > MOST_RUNS:
            del firsts[0], lasts[0]
            self._floor = firsts[0] - 1


def _phase(period: int, t: int) -> int:
    return int(phase_of(np.array([t], dtype=np.int64), period)[0])
