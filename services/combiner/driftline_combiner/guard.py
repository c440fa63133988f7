"""The guard: persistence is published while the active strategy is clearly behind it. Pure NumPy."""

import numpy as np

from driftline.arrays import Floats, Ints
from driftline_combiner.ledger import MEMBER_COUNT, Ledger
from driftline_combiner.weighting_rules import Rules

GUARD_MARGIN = 1.1
"""The guard steps in when the active strategy's mean squared error is so many times persistence's."""
GUARD_AFTER = 50
"""Records before the guard judges, for each step of the horizon: what overlaps convicts nobody sooner."""


def guard(ledger: Ledger, rules: Rules, slots: Ints, error: Floats) -> None:
    """Has persistence published from when the active strategy falls clearly behind it until it is as good again.

    error: [n, horizons, rows], made milder. Both are judged by what they would have published, whether it was or not.
    """
    # In ROWS the strategies follow the M members, of which persistence is the first.
    square = error[:, :, [MEMBER_COUNT + rules.active, 0]] ** 2
    known = np.isfinite(square[..., 0]) & np.isfinite(square[..., 1])
    before, age = ledger.rivals[slots], ledger.count[slots][:, None] - ledger.compared[slots]
    memory = np.maximum(rules.guard[:, None], 1.0 / (age[..., None] + 1.0))
    rivals = np.where(known[..., None], before + memory * (square - before), before)
    ledger.rivals[slots] = rivals
    guarded = ledger.guarded[slots]
    # Hysteresis: on at the margin, off at equality, so that it does not switch with every record.
    margin = np.where(guarded, 1.0, GUARD_MARGIN)
    enough = age >= GUARD_AFTER * rules.steps
    ledger.guarded[slots] = np.where(known, enough & (rivals[..., 0] > margin * rivals[..., 1]), guarded)
