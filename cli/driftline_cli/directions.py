"""Whether numbers are a direction, which no forecast takes for one. Pure."""

import numpy as np

from driftline.arrays import Floats
from driftline.streams.definition_errors import AS_NUMBER
from driftline.streams.rows import Rows

CIRCLES = ((0.0, 360.0), (-180.0, 180.0))
NEAR_END = 10.0
"""Degrees: so near to both ends of a circle a direction must have been."""
HALF, MOST_OF_IT = 180.0, 300.0
LEAST_WRAPS = 3
WRAPS = 0.6
"""Jumps of over 300 degrees against those of 180 to 240. Of what does not wrap a larger jump is rarer (0.2 for pure
noise); a direction that turns a little across its end jumps by nearly all of the circle."""
SECTORS, VISITED = 12, 10
"""A direction has been in nearly all of its sectors; what is switched between two values has not."""


def turns(values: Floats, steps: Floats) -> bool:
    """Whether values lie within a circle of degrees, and jump from one of its ends to the other and back.

    values: none missing. steps: from a record of a series to its next.
    """
    if not len(values):
        return False
    begin = _begin(values)
    if begin is None:
        return False
    visited = np.unique(((values - begin) // (360 / SECTORS)).astype(np.int64))
    jumps = steps[np.abs(steps) > HALF]
    sizes = np.abs(jumps)
    return bool(
        len(visited) >= VISITED
        and len(jumps) >= LEAST_WRAPS
        and (jumps > 0).any()
        and (jumps < 0).any()
        and (sizes > MOST_OF_IT).sum() >= WRAPS * (sizes < HALF + 60).sum()
        and (sizes > MOST_OF_IT).any()
    )


def _begin(values: Floats) -> float | None:
    """Where the circle begins that has been gone round; None where none has."""
    low, high = float(values.min()), float(values.max())
    circles = (ends for ends in CIRCLES if ends[0] <= low < ends[0] + NEAR_END and ends[1] - NEAR_END < high <= ends[1])
    return next((begin for begin, _ in circles), None)


def warning(rows: Rows, target: str) -> str | None:
    """What a target that looks like a direction is forecast as. rows: their first column is the target's."""
    known = rows.values[np.isfinite(rows.values[:, 0]), 0]
    # Of most columns that says it at once, and to bring all rows into order takes long.
    if not len(known) or _begin(known) is None:
        return None
    order = np.lexsort((rows.t, rows.keys))
    values, keys = rows.values[order, 0], rows.keys[order]
    steps = np.diff(values)[keys[1:] == keys[:-1]]
    if not turns(known, steps[np.isfinite(steps)]):
        return None
    return f"{target!r} looks like a direction: {AS_NUMBER}"
