"""Times that are neither ISO 8601 nor typed: numbers since 1970, and days with slashes. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from driftline.arrays import Floats

EPOCHS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH_YEARS = (1990, 2100)
YEAR_S = 31_556_952
DAY = re.compile(
    r"(?P<one>\d{1,2})(?P<by>[./-])(?P<two>\d{1,2})(?P=by)(?P<year>\d{4}|\d{2})"
    r"(?P<gap>[ T]|, )(?P<hour>\d{1,2}):\d{2}(?P<seconds>:\d{2})?(?P<part>\.\d{1,6})?(?P<half> [AaPp][Mm])?"
)
MONTHS = 12


def unit_of(values: Floats) -> str | None:
    """The unit since 1970 in which all values are times of our days, or None."""
    first, last = ((year - 1970) * YEAR_S for year in EPOCH_YEARS)
    units = [unit for unit, scale in EPOCHS.items() if np.all((values > first * scale) & (values < last * scale))]
    return units[0] if units and len(values) else None


def pattern_of(texts: Sequence[str]) -> str | None:
    """The pattern of strptime that all texts follow; None where none does, or day and month can't be told apart."""
    matches = [DAY.fullmatch(text.strip()) for text in texts]
    known = [match for match in matches if match is not None]
    if not known or len(known) < len(matches):
        return None
    shapes = {_shape(match) for match in known}
    is_day_first = any(int(match["one"]) > MONTHS for match in known)
    is_month_first = any(int(match["two"]) > MONTHS for match in known)
    if len(shapes) > 1 or is_day_first == is_month_first:
        return None
    by, year, gap, rest = shapes.pop()
    return by.join(("%d", "%m") if is_day_first else ("%m", "%d")) + f"{by}{year}{gap}{rest}"


def by_pattern(text: str, pattern: str) -> datetime | None:
    """By the hands of a clock; None for what does not follow it."""
    try:
        return datetime.strptime(text.strip(), pattern)  # noqa: DTZ007 - the zone is the matter of others
    except ValueError:
        return None


def _shape(match: re.Match[str]) -> tuple[str, str, str, str]:
    year = "%Y" if len(match["year"]) == 4 else "%y"  # noqa: PLR2004 - digits
    clock = "%I:%M" if match["half"] else "%H:%M"
    seconds = ":%S" if match["seconds"] else ""
    part = ".%f" if match["part"] else ""
    return match["by"], year, match["gap"], f"{clock}{seconds}{part}{' %p' if match['half'] else ''}"
