"""What of the readings in a period becomes its value. Pure.

A value depends on the readings and their times alone, never on the order in which they came.
"""

import math
from collections.abc import Callable, Mapping

from driftline.streams.data_sections import Take

Readings = Mapping[int, float]
"""By time in milliseconds since the epoch; at least one."""

FULL_CIRCLE = 360.0
LEAST_RESULTANT = 1e-9
"""Angles that point everywhere have no mean."""


def mean(readings: Readings) -> float:
    # The sum is exact, and so the same in any order.
    return math.fsum(readings.values()) / len(readings)


def mean_angle(readings: Readings) -> float | None:
    """In degrees from 0 to below 360; a single one as it is."""
    if len(readings) == 1:
        return mean(readings)
    radians = [math.radians(angle) for angle in readings.values()]
    x, y = math.fsum(map(math.cos, radians)), math.fsum(map(math.sin, radians))
    if math.hypot(x, y) < LEAST_RESULTANT * len(radians):
        return None
    degrees = math.degrees(math.atan2(y, x)) % FULL_CIRCLE
    # The remainder of what is less than nothing by a rounding is all of it.
    return degrees if degrees < FULL_CIRCLE else 0.0


def last(readings: Readings) -> float:
    return readings[max(readings)]


def total(readings: Readings) -> float:
    return math.fsum(readings.values())


def largest(readings: Readings) -> float:
    return max(readings.values())


def smallest(readings: Readings) -> float:
    return min(readings.values())


def taking(take: Take, *, angle: bool) -> Callable[[Readings], float | None]:
    """How a column's value is made of its readings, except for a `difference`: see `counters`."""
    if take == "mean" and angle:
        return mean_angle
    return {"mean": mean, "last": last, "sum": total, "max": largest, "min": smallest}[take]
