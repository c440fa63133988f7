"""Forecasts in words: in how long, at what local time, how much, and between which ends. Pure."""

import math
from collections.abc import Iterable
from datetime import datetime, tzinfo

from driftline_cli.lengths import in_words
from driftline_client import ForecastValue

DIGITS = 2
"""Of an interval's width; the value and its ends have as many decimals as that."""
MOST_DECIMALS = 6


def local(t: int, zone: tzinfo | None = None) -> datetime:
    """A time in milliseconds since the epoch in a zone, by default that of this machine."""
    return datetime.fromtimestamp(t / 1000, zone) if zone is not None else datetime.fromtimestamp(t / 1000).astimezone()


def moment(time: datetime, day: datetime) -> str:
    """The time of day, with its date unless it is that of `day`."""
    clock = "%H:%M:%S" if time.second else "%H:%M"
    return time.strftime(clock if time.date() == day.date() else f"%Y-%m-%d {clock}")


def next_value(value: ForecastValue, issued: int, unit: str | None, zone: tzinfo | None = None) -> str:
    """One of the `forecasts` of an answer in a line. issued: milliseconds since the epoch."""
    at = moment(local(value.t, zone), local(issued, zone))
    when = f"in {in_words(value.ahead)} ({at})"
    if value.value is None:
        return f"{when} no forecast yet"
    decimals = decimals_of(value)
    amount = f"{number(value.value, decimals)}{f' {unit}' if unit else ''}"
    return f"{when} {amount}, {ends(value, decimals) or 'its interval is not known yet'}"


def ends(value: ForecastValue, decimals: int) -> str:
    """`between … and …`; empty where they are not known yet."""
    lower, upper = value.interval.lower, value.interval.upper
    if lower is None or upper is None:
        return ""
    return f"between {number(lower, decimals)} and {number(upper, decimals)}"


def decimals_of(value: ForecastValue) -> int:
    """So many that the interval's width has DIGITS digits; without one, that the value has three."""
    lower, upper = value.interval.lower, value.interval.upper
    width = upper - lower if lower is not None and upper is not None else 0.0
    if width > 0:
        return _decimals(width, DIGITS)
    return _decimals(abs(value.value), DIGITS + 1) if value.value else DIGITS


def number(value: float, decimals: int) -> str:
    """With commas between thousands, and without a minus before nothing."""
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"


def shown(steps: Iterable[int], most: int) -> list[int]:
    """Of the horizons at most so many, evenly and with both ends."""
    every = list(steps)
    if len(every) <= most:
        return every
    return [every[round(n * (len(every) - 1) / (most - 1))] for n in range(most)]


def _decimals(size: float, digits: int) -> int:
    return min(max(0, digits - 1 - math.floor(math.log10(size))), MOST_DECIMALS)
