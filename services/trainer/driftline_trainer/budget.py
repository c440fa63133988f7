"""How often a model may be retrained without anybody asking. Pure."""

from collections.abc import Sequence

DAY_S = 86_400.0


def earliest(starts: Sequence[float], interval: float, per_day: int) -> float:
    """When the next retraining may begin. starts: ascending times of those before. All in seconds."""
    soonest = starts[-1] + interval if starts else 0.0
    return max(soonest, starts[-per_day] + DAY_S) if len(starts) >= per_day else soonest
