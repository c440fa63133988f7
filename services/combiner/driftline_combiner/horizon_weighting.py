"""Who weighs what in the blend of a series now, horizon by horizon. Pure."""

from dataclasses import dataclass

import numpy as np

from driftline.arrays import Floats
from driftline.members import MEMBERS
from driftline.scoring import ROWS
from driftline_combiner.ledger import MEMBER_COUNT, Ledger
from driftline_combiner.weighing import newest_weights
from driftline_combiner.weighting_rules import Rules


@dataclass(frozen=True)
class HorizonWeighting:
    """Who weighs what at one horizon. rivals: recent RMSE of the active strategy and of persistence, as the guard sees
    them."""

    weights: dict[str, dict[str, float]]
    present: frozenset[str]
    guarded: bool
    rivals: tuple[float, float]


def horizon_weightings(ledger: Ledger, rules: Rules, slot: int) -> list[HorizonWeighting]:
    """Of one series, as if all that forecast last took part again."""
    weights, present = newest_weights(ledger, rules, np.array([slot]))
    rivals = np.sqrt(ledger.rivals[slot])
    return [
        HorizonWeighting(
            weights={row: _by_member(weights[0, h, s]) for s, row in enumerate(ROWS[MEMBER_COUNT:])},
            present=frozenset(name for name, is_present in zip(MEMBERS, present[0, h], strict=True) if is_present),
            guarded=bool(ledger.guarded[slot, h]),
            rivals=(float(rivals[h, 0]), float(rivals[h, 1])),
        )
        for h in range(len(rules.steps))
    ]


def _by_member(weights: Floats) -> dict[str, float]:
    return dict(zip(MEMBERS, weights.tolist(), strict=True))
