"""How right forecasts were: the same formulas wherever something is scored, and the names of what is. Pure."""

from typing import Any, Literal

import numpy as np

from driftline.members import MEMBERS

Strategy = Literal["static", "window", "online"]
STRATEGIES: tuple[Strategy, ...] = ("static", "window", "online")
"""How the members are weighed, side by side; see docs/explain."""
LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95)
"""Of the quantiles that are published; the 90 % interval lies between the outermost."""
PUBLISHED = "blend"
ROWS = (*MEMBERS, *STRATEGIES, PUBLISHED)
"""Everything that is scored. What is published is the active strategy's blend, or persistence while that is better."""


def rmse(forecast: Any, truth: Any) -> float:
    """Root mean square error; NaN where any is. forecast, truth: arrays of one shape, in the target's units."""
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def skill(error: float, persistence: float) -> float:
    """1 - RMSE / RMSE(persistence) on the same records; 0 where persistence is never wrong."""
    return 1 - error / persistence if persistence else 0.0
