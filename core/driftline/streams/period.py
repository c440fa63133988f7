"""Whether records are as far apart as their stream's definition says. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from driftline.arrays import Ints
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import UNITS_S

FEW = 100
"""Steps of which nothing can be said."""
OFF = (2 / 3, 3 / 2)
"""A usual step outside of these shares of the period contradicts it: records share their ticks, or most ticks have
none. Steps outside of these shares of the usual one are others."""
NEWEST = 200
"""Steps that live records are judged by."""
EVERY = 50
"""Steps from one judgement of live records to the next."""


def contradiction(steps: Ints, stream: StreamDefinition) -> str | None:
    """What is wrong with the definition's period, or None. It is judged by the median.

    steps: milliseconds from a record to the next of its series, in any order.
    """
    if len(steps) < FEW:
        return None
    usual, period = float(np.median(steps)), 1000 * stream.time.period
    if OFF[0] * period <= usual <= OFF[1] * period:
        return None
    return f"found most records {_spoken(usual)} apart, expected the definition's period of {_spoken(period)}"


def _spoken(milliseconds: float) -> str:
    """In the largest unit that it is at least one of."""
    seconds = milliseconds / 1000
    unit = max((unit for unit in UNITS_S if UNITS_S[unit] <= seconds), key=lambda unit: UNITS_S[unit], default="s")
    return f"{seconds / UNITS_S[unit]:.3g} {unit}"


@dataclass
class LiveSteps:
    """The newest steps of all series of a stream as its records come, of which most may be of another length.

    on_verdict: called with what is wrong with the period, or None, at every judgement. of_a_grid: whether they are
    steps from one period that has records to the next, which tell how many have none, however different they are.
    """

    stream: StreamDefinition
    on_verdict: Callable[[str | None], None]
    of_a_grid: bool = False
    _steps: Ints = field(default_factory=lambda: np.zeros(NEWEST, dtype=np.int64))
    _count: int = 0

    def add(self, steps: Ints) -> None:
        """steps: milliseconds from the record before of the same series; 0 where there is none."""
        known = steps[steps > 0]
        judged, self._count = self._count // EVERY, self._count + len(known)
        # Of more than the ring holds the last ones count.
        places = np.arange(self._count - len(known), self._count)[-NEWEST:]
        self._steps[places % NEWEST] = known[-NEWEST:]
        if self._count // EVERY > judged:
            self.on_verdict(self._verdict())

    def _verdict(self) -> str | None:
        """Steps that are all different say nothing of a period, but for those of a grid."""
        steps = self._steps[: self._count]
        if self.of_a_grid:
            return contradiction(steps, self.stream)
        usual = np.median(steps)
        alike = (steps >= OFF[0] * usual) & (steps <= OFF[1] * usual)
        return contradiction(steps, self.stream) if 2 * alike.sum() > len(steps) else None
