"""How the streams do, in the few numbers that a report has of each, whatever the number of series. Pure."""

import math
from collections.abc import Mapping

from driftline.messages import StreamHealth
from driftline.scoring import skill
from driftline_combiner.scores import RowScore, coverage, scores
from driftline_combiner.step import BlendStep

LOWEST = -1e6
"""Of skills: where persistence is all but never wrong, less says no more, and nobody would believe it."""
DIGITS = 4
"""Of skills and shares: a report is written each minute."""


def health(stream_step: BlendStep) -> StreamHealth:
    """Of the series that are owned here."""
    if not stream_step.series:
        return StreamHealth()
    sums, horizon = stream_step.sums(), [str(h) for h in stream_step.stream.horizon]
    rows = scores(sums)
    skills = {h: _recent_skill(row["blend"], row["persistence"]) for h, row in zip(horizon, rows, strict=True)}
    shares = {h: covered.recent for h, covered in zip(horizon, coverage(sums), strict=True)}
    return StreamHealth(
        keys=stream_step.series,
        newest=stream_step.newest(),
        scored=max(row["blend"].n for row in rows),
        skill=_finite(skills),
        coverage=_finite(shares),
    )


def skills_of(stream_step: BlendStep, key: str) -> dict[int, float]:
    """By horizon the recent skill of a series, as far as it is owned here and known."""
    if not stream_step.owns(key):
        return {}
    rows = zip(stream_step.stream.horizon, scores(stream_step.sums(key)), strict=True)
    skills = {h: _recent_skill(row["blend"], row["persistence"]) for h, row in rows}
    return {h: round(value, DIGITS) for h, value in skills.items() if math.isfinite(value)}


def _recent_skill(blend: RowScore, persistence: RowScore) -> float:
    if not persistence.recent_rmse > 0:
        return math.nan
    return max(LOWEST, skill(blend.recent_rmse, persistence.recent_rmse))


def _finite(values: Mapping[str, float]) -> dict[str, float]:
    return {h: round(value, DIGITS) for h, value in values.items() if math.isfinite(value)}
