"""The newest truths of one series, in little room: what a small picture of it is drawn from. Pure."""

from __future__ import annotations  # array[int] is a type for checkers only

import math
from array import array

TRUTHS = 48
"""That are kept, some 12 bytes each."""
DIGITS = 5
"""Of a value in a picture."""


class RecentTruths:
    """In order of time."""

    __slots__ = ("_times", "_values")

    def __init__(self) -> None:
        self._times = array("q")
        self._values = array("d")

    def add(self, t: int, value: float | None) -> None:
        """t: milliseconds since the epoch, later than that of all before."""
        self._times.append(t)
        self._values.append(math.nan if value is None else value)
        if len(self._times) > TRUTHS:
            del self._times[0], self._values[0]

    def on_grid(self, period: int, count: int = TRUTHS) -> list[float | None]:
        """One for each of the newest `count` periods of so many milliseconds, up to that of the newest; None where
        nothing was observed. Shorter where less is known."""
        if not self._times:
            return []
        last = self._times[-1]
        steps = [round((last - t) / period) for t in self._times]
        row: list[float | None] = [None] * (min(count, steps[0] + 1))
        for back, value in zip(steps, self._values, strict=True):
            if back < len(row) and math.isfinite(value):
                row[len(row) - 1 - back] = float(f"{value:.{DIGITS}g}")
        return row
