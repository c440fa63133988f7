"""Whether a history has the period that its stream's definition says. Pure."""

import numpy as np

from driftline.streams.definition import UNITS_S, StreamDefinition
from driftline.streams.tables import Rows

FEW = 100
"""Steps of which nothing can be said."""
OFF = (2 / 3, 3 / 2)
"""A usual step outside of these shares of the period contradicts it: records share their ticks, or most ticks have
none."""


def contradiction(rows: Rows, stream: StreamDefinition) -> str | None:
    """What is wrong with the definition's period, or None. It is judged by the median step from a series' record to the
    next."""
    steps = np.concatenate([np.diff(rows.t[places]) for _, places in rows.series()] or [np.empty(0, np.int64)])
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
