"""How often a model may be retrained without anybody asking. Pure."""

from collections.abc import Sequence

DAY_S = 86_400.0
SKEW_S = 60.0
"""By how much the clocks of two trainers may differ."""


def earliest(starts: Sequence[float], interval: float, per_day: int, *, now: float) -> float:
    """When the next retraining may begin. starts: ascending times of those before; one that lies ahead of the clock was
    noted before that was set back, and holds nothing up. All in seconds."""
    starts = [start for start in starts if start <= now + SKEW_S]
    soonest = starts[-1] + interval if starts else 0.0
    return max(soonest, starts[-per_day] + DAY_S) if len(starts) >= per_day else soonest
