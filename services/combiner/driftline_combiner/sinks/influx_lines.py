"""Forecasts and what was observed as InfluxDB's line protocol. Pure.

A point is named by its measurement, its tags and its time: one that is written twice is there once. Its time is that
which the forecast is for, so that a forecast lies over its truth.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

from driftline.scoring import LEVELS
from driftline_combiner.sinks.forecast_rows import ForecastRow, TruthRow

FORECASTS: Final = "driftline_forecasts"
OBSERVED: Final = "driftline_observed"
"""The measurements. Not the streams' names: there is often a measurement of that name already, with the readings."""
_ENDS: Final = frozenset({str(LEVELS[0]), str(LEVELS[-1])})
"""The quantiles that are the interval's ends."""
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f\\]|%(?=[0-9A-Fa-f]{2})")
"""A backslash has no escape of its own there, and a line ends the point. A percent sign is written so only where it
could be taken for one of these."""
_SEPARATORS = re.compile("([,= ])")
_QUOTED = re.compile(r'(["\\])')

Value = float | bool | str


def forecast_line(row: ForecastRow, tags: Mapping[str, str]) -> str | None:
    """None where nothing is known. tags: further ones. Times in milliseconds."""
    named = {**tags, "stream": row.stream, "key": row.key, "horizon": str(row.horizon)}
    numbers: dict[str, Value | None] = {"value": row.value, "lower": row.lower, "upper": row.upper}
    numbers |= {percentile(level): value for level, value in row.quantiles.items() if level not in _ENDS}
    if all(value is None for value in numbers.values()):
        return None
    versions: dict[str, Value | None] = {f"version_{member}": version for member, version in row.versions.items()}
    return _line(FORECASTS, named, {**numbers, "issued": row.issued, "guarded": row.guarded, **versions}, row.t)


def truth_line(row: TruthRow, tags: Mapping[str, str]) -> str | None:
    """As `forecast_line`."""
    if not math.isfinite(row.observed):
        return None
    return _line(OBSERVED, {**tags, "stream": row.stream, "key": row.key}, {"value": row.observed}, row.t)


def percentile(level: str) -> str:
    """The field of a quantile: `p10` for level 0.1."""
    return f"p{100 * float(level):.6g}".replace(".", "_")


def tag_text(text: str) -> str:
    """As it is written in a line. Two texts are never written alike."""
    writable = _UNWRITABLE.sub(lambda match: f"%{ord(match[0]):02X}", text)
    return _SEPARATORS.sub(r"\\\1", writable)


def _line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, Value | None], t: int) -> str:
    # Sorted, as InfluxDB wants tags for speed.
    named = "".join(f",{tag_text(name)}={tag_text(tags[name])}" for name in sorted(tags))
    written = ",".join(f"{tag_text(name)}={_field(value)}" for name, value in fields.items() if value is not None)
    return f"{measurement}{named} {written} {t}"


def _field(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    quoted = _QUOTED.sub(r"\\\1", value)
    return f'"{quoted}"'
