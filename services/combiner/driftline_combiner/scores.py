"""How members and strategies did, from the sums over one series or over all of them. Pure."""

from dataclasses import dataclass

import numpy as np

from driftline.scoring import ROWS, skill
from driftline_combiner.totals import ScoreSums


@dataclass(frozen=True)
class RowScore:
    """How a member or strategy did. Errors in the target's units; NaN before anything was scored."""

    n: int
    rmse: float
    mae: float
    skill: float
    recent_rmse: float


@dataclass(frozen=True)
class Coverage:
    """Share of the truths that fell into the 90 % interval, and mean pinball loss of the quantiles in the target's
    units: of all `n`, and of about the last 500. Twice the loss approximates the CRPS."""

    n: int
    share: float
    recent: float
    pinball: float
    recent_pinball: float


def scores(sums: ScoreSums) -> list[dict[str, RowScore]]:
    """Per horizon and row."""
    known = sums.recently > 0
    recent = np.sqrt(np.where(known, sums.recent / np.maximum(sums.recently, 1), np.nan))
    rows = np.stack([sums.scored, sums.squared, sums.absolute, sums.naive, recent], axis=2).tolist()
    return [{name: _row(*row) for name, row in zip(ROWS, horizon, strict=True)} for horizon in rows]


def _row(n: float, squared: float, absolute: float, naive: float, recent: float) -> RowScore:
    if not n:
        return RowScore(0, np.nan, np.nan, np.nan, np.nan)
    error, persistence = (squared / n) ** 0.5, (naive / n) ** 0.5
    return RowScore(int(n), error, absolute / n, skill(error, persistence), recent)


def coverage(sums: ScoreSums) -> list[Coverage]:
    """Per horizon, over all truths that met an interval."""
    judged = np.maximum(sums.judged, 1)
    rows = np.stack([sums.met, sums.covered, sums.share / judged, sums.pinball, sums.loss / judged], axis=1).tolist()
    return [_coverage(*row) for row in rows]


def _coverage(n: float, covered: float, recent: float, pinball: float, recent_pinball: float) -> Coverage:
    if not n:
        return Coverage(0, np.nan, np.nan, np.nan, np.nan)
    return Coverage(int(n), covered / n, recent, pinball / n, recent_pinball)
