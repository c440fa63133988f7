"""A counter's readings become what it counted in a period. Pure.

A reading is believed when the counter has gone on from the last believed one. One that lies below it, or above it by
far more than it ever counted in a period, is a suspect, which the next reading decides about. If that goes on from
before, the suspect was a glitch. If it goes on from the suspect, the counter was reset or exchanged. Neither counts.
"""

from collections.abc import Iterable

import msgspec

FEW = 3
"""Periods from which it is not known yet what a counter usually counts."""
FAR_MORE = 100.0
"""Times as much as the counter ever counted in a period, about: it can't be."""
FADING = 0.999
"""By period of the most that was counted in one."""


class CounterState(msgspec.Struct, array_like=True):
    """Of one counter. counted: the last period up to which it is known what was counted; see `GridRule`."""

    counted: int
    value: float
    """Believed last."""
    suspect: float | None = None
    suspected: int = 0
    """The period of the suspect."""
    most: float = 0.0
    """That was counted in one period."""
    periods: int = 0
    """In which something was counted, or nothing."""

    def take(self, readings: Iterable[float], period: int, longest: int) -> float | None:
        """What was counted in a period, the mean of those since `counted`; None where that can't be said.

        readings: in order of time. longest: periods that are counted together at most.
        """
        rises: dict[int, float] = {}
        for reading in readings:
            if (rise := self._rise(reading, period)) is not None:
                # A reset that the period itself has seen leaves what came before it as the mean of the silence.
                since = period - self.counted
                rises[since] = rises.get(since, 0.0) + rise
        if not rises:
            return None
        self.counted = period
        if max(rises) > longest:
            return None
        counted = sum(rise / max(1, since) for since, rise in rises.items())
        self.most, self.periods = max(counted, FADING * self.most), self.periods + 1
        return counted

    def rest(self, period: int) -> float | None:
        """The same of a period without a reading, whose counter keeps its value."""
        if self.suspect is not None:
            return None
        self.counted = period
        return 0.0

    def _rise(self, reading: float, period: int) -> float | None:
        """By how much the counter has gone on; None where the reading is not believed, or not yet."""
        before = self._before(reading, period)
        if before is None:
            self.suspect, self.suspected = reading, period
            return None
        if before != self.value:
            # What was counted before the suspect is not known.
            self.counted = self.suspected
        self.value, self.suspect = reading, None
        return reading - before

    def _before(self, reading: float, period: int) -> float | None:
        """The value that the counter has gone on from."""
        if self._goes_on(reading - self.value, period):
            return self.value
        if self.suspect is None or reading < self.suspect:
            return None
        # From a suspect below, it goes on while it is below what was before: otherwise that would have gone on.
        is_reset = self.suspect < self.value
        return self.suspect if not is_reset or reading < self.value else None

    def _goes_on(self, rise: float, period: int) -> bool:
        if rise < 0:
            return False
        is_known = self.periods >= FEW and self.most > 0
        return not is_known or rise <= FAR_MORE * self.most * max(1, period - self.counted)
