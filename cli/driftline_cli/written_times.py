"""Times that are neither ISO 8601 nor typed: numbers since 1970, and days with slashes. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from driftline.arrays import Floats, Ints

EPOCHS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH_YEARS = (1990, 2100)
YEAR_S = 31_556_952
DAY = re.compile(
    r"(?P<one>\d{1,2})(?P<by>[./-])(?P<two>\d{1,2})(?P=by)(?P<year>\d{4}|\d{2}(?=[ T,]))"
    r"((?P<gap>[ T]|, )(?P<hour>\d{1,2}):\d{2}(?P<seconds>:\d{2})?(?P<part>\.\d{1,6})?(?P<half> [AaPp][Mm])?)?"
)
"""A day alone has a year of four digits: what has two may be a version."""
MONTHS = 12
A_MONTH_US = 27 * 86_400_000_000
LOOKED_AT = 10_000
"""Times whose order is looked at, where no day is beyond the 12th: of more, each of so many."""


def unit_of(values: Floats) -> str | None:
    """The unit since 1970 in which all values are times of our days, or None."""
    first, last = ((year - 1970) * YEAR_S for year in EPOCH_YEARS)
    units = [unit for unit, scale in EPOCHS.items() if np.all((values > first * scale) & (values < last * scale))]
    return units[0] if units and len(values) else None


def pattern_of(texts: Sequence[str]) -> str | None:
    """The pattern of strptime that all texts follow; None where none does, or day and month can't be told apart.

    texts: in the order of the file, each once or as often as it comes.
    """
    matches = [DAY.fullmatch(text.strip()) for text in texts]
    known = [match for match in matches if match is not None]
    if not known or len(known) < len(matches):
        return None
    shapes = {_shape(match) for match in known}
    if len(shapes) > 1:
        return None
    by, year, gap, rest = shapes.pop()
    day_first, month_first = (by.join((*days, f"{year}{gap}{rest}")) for days in (("%d", "%m"), ("%m", "%d")))
    is_day_first = any(int(match["one"]) > MONTHS for match in known)
    is_month_first = any(int(match["two"]) > MONTHS for match in known)
    if is_day_first != is_month_first:
        return day_first if is_day_first else month_first
    if is_day_first:
        return None
    # With points nobody writes the month first.
    return day_first if by == "." else _by_order(texts, day_first, month_first)


def by_pattern(text: str, pattern: str) -> datetime | None:
    """By the hands of a clock; None for what does not follow it."""
    try:
        return datetime.strptime(text.strip(), pattern)  # noqa: DTZ007 - the zone is the matter of others
    except ValueError:
        return None


def _by_order(texts: Sequence[str], *patterns: str) -> str | None:
    """Which of two patterns the order of the times shows: by the wrong one, each midnight is a jump of about a month,
    and by the right one none is. None where no day ends within them."""
    some = texts[:: -(-len(texts) // LOOKED_AT)]
    one, other = (_steps(some, pattern) for pattern in patterns)
    if not len(one) or not len(other) or _usual(one) != _usual(other):
        return None
    jumps = [int(np.abs(steps).max()) for steps in (one, other)]
    turns = [min(int((steps < 0).sum()), int((steps > 0).sum())) for steps in (one, other)]
    right = 0 if jumps[0] < jumps[1] else 1
    is_clear = jumps[right] < A_MONTH_US <= jumps[1 - right] and turns[right] <= turns[1 - right]
    return patterns[right] if is_clear else None


def _steps(texts: Sequence[str], pattern: str) -> Ints:
    """Between neighbours, in microseconds, without zeros; none where a text does not follow the pattern."""
    times = [by_pattern(text, pattern) for text in texts]
    if None in times:
        return np.empty(0, np.int64)
    steps = np.diff(np.array(times, "datetime64[us]")).astype(np.int64)
    between: Ints = steps[steps != 0]
    return between


def _usual(steps: Ints) -> int:
    lengths, counts = np.unique(steps, return_counts=True)
    return int(lengths[counts.argmax()])


def _shape(match: re.Match[str]) -> tuple[str, str, str, str]:
    year = "%Y" if len(match["year"]) == 4 else "%y"  # noqa: PLR2004 - digits
    if match["gap"] is None:
        return match["by"], year, "", ""
    clock = "%I:%M" if match["half"] else "%H:%M"
    seconds = ":%S" if match["seconds"] else ""
    part = ".%f" if match["part"] else ""
    return match["by"], year, match["gap"], f"{clock}{seconds}{part}{' %p' if match['half'] else ''}"
