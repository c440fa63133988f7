"""How the values of a definition are written, and what each has to be.

Pure. The messages say what was expected; whoever explains them adds what was found, and where.
"""

import codecs
import math
import re
from difflib import get_close_matches
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from driftline.streams import public_holidays

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""Of streams and sources."""
UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}
DAY_S = 86400
TIME_FORMATS = ("iso", "s", "ms", "us", "ns")
"""How times may be written, except for patterns of strptime."""
SWITCHED = {True: ("true", "on", "yes"), False: ("false", "off", "no")}
"""What people write that YAML reads as true and false."""
SEASONS = {"1d": DAY_S, "7d": 7 * DAY_S}
"""The lengths of time that values may repeat after."""


class Section(BaseModel):
    """A part of a definition; keys that it does not have are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _seconds(value: object) -> object:
    match = re.fullmatch(r"(\d+)\s*(s|min|h|d)", value) if isinstance(value, str) else None
    if match is None or int(match[1]) == 0:
        raise ValueError("expected a length of time such as 30s, 10min, 1h or 1d")
    return int(match[1]) * UNITS_S[match[2]]


def _time_format(value: str) -> str:
    if value not in TIME_FORMATS and "%" not in value:
        raise ValueError(f"expected one of {', '.join(TIME_FORMATS)}, or a pattern such as %d/%m/%Y %H:%M")
    return value


def _encoding(value: str) -> str:
    try:
        return codecs.lookup(value).name
    except LookupError as error:
        raise ValueError("expected an encoding such as utf-8, latin-1 or cp1252") from error


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("expected a finite number")
    return value


def _scale(value: float) -> float:
    if not value:
        raise ValueError("expected another number than 0")
    return _finite(value)


def _texts(value: object) -> object:
    """YAML reads `on` and `off`, unless they are quoted, as true and false."""
    if not isinstance(value, dict):
        return value
    texts: dict[object, object] = {}
    for text, number in value.items():
        meant = SWITCHED[text] if isinstance(text, bool) else (str(text).strip().lower(),)
        texts |= dict.fromkeys(meant, number)
    return texts


def _missing(value: object) -> object:
    """YAML reads `off`, unless it is quoted, as false."""
    items = _as_list(value)
    if not isinstance(items, list | tuple):
        return items
    return [text for item in items for text in (SWITCHED[item] if isinstance(item, bool) else (item,))]


def _zone(value: str) -> str:
    return value if value == "required" else _known_zone(value, "`required` or the name")


def _calendar_zone(value: str) -> str:
    return _known_zone(value, "the name")


def _known_zone(value: str, allowed: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = ", ".join(_near_zones(value))
        hint = f"; near it: {near}" if near else ""
        raise ValueError(f"expected {allowed} of a time zone such as Europe/Paris{hint}") from error
    return value


def _near_zones(value: str) -> list[str]:
    """At most five: those that hold `value`, such as a city's name, or else those that are written much like it."""
    zones = sorted(available_timezones())
    holding = [zone for zone in zones if value.strip() and value.strip().lower() in zone.lower()]
    return (holding or get_close_matches(value, zones))[:5]


def _country(value: object) -> object:
    if value is False:
        raise ValueError("expected a country's code; YAML reads NO as false, unless quotes make it text: 'NO'")
    expected = public_holidays.expected_instead(value) if isinstance(value, str) else None
    if expected is not None:
        raise ValueError(f"expected {expected}")
    return value


def _season(value: object) -> object:
    try:
        seconds = _seconds(value)
    except ValueError:
        seconds = None
    if seconds not in SEASONS.values():
        raise ValueError(f"expected {' or '.join(SEASONS)}")
    return seconds


def _as_list(value: object) -> object:
    return value if isinstance(value, list | tuple) else (value,)


def _stage(value: object) -> object:
    """Written the same way, whatever it is read from."""
    text = str(value).replace(" ", "") if isinstance(value, int | str) and not isinstance(value, bool) else ""
    share = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)%", text)
    if share is not None and 0 < float(share[1]) <= 100:  # noqa: PLR2004 - a percentage
        return f"{float(share[1]):g}%"
    if re.fullmatch(r"\d{1,6}", text) is None or int(text) == 0:
        raise ValueError("expected a number of edges such as 1, or a share of them such as 10%")
    return str(int(text))


def _truths(value: object) -> object:
    match = re.fullmatch(r"(\d{1,9})(\s*truths)?", value.strip()) if isinstance(value, str) else None
    if match is not None:
        return int(match[1])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("expected a number such as 500 truths")


def _range(value: object) -> tuple[float | None, float | None]:
    ends = tuple(value) if isinstance(value, list | tuple) else ()
    if len(ends) != 2 or not all(map(_is_end, ends)):  # noqa: PLR2004 - both of them
        raise ValueError("expected the least and the greatest possible value, such as [0, 3000] or [0, null]")
    lowest, highest = (None if end is None else float(end) for end in ends)
    if lowest is None and highest is None:
        raise ValueError("expected at least one end, such as [0, null]")
    if lowest is not None and highest is not None and lowest >= highest:
        raise ValueError("expected the lower end first, and another upper end")
    return lowest, highest


def _is_end(end: object) -> bool:
    return end is None or (isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end))


def _ranges(value: object) -> object:
    return {str(name): _range(ends) for name, ends in value.items()} if isinstance(value, dict) else _range(value)


Listed = BeforeValidator(_as_list)
"""One value, or a list of them."""
LengthOfTime = Annotated[
    int, BeforeValidator(_seconds), WithJsonSchema({"type": "string", "pattern": r"\d+ *(s|min|h|d)"})
]
SeasonLength = Annotated[int, BeforeValidator(_season), WithJsonSchema({"type": "string", "enum": list(SEASONS)})]
Stage = Annotated[
    str,
    BeforeValidator(_stage),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"\d+(\.\d+)? *%"}]}),
]
Truths = Annotated[
    int,
    BeforeValidator(_truths),
    Field(ge=1),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"\d+( *truths)?"}]}),
]
Horizons = Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Listed, Field(min_length=1)]
TimeFormat = Annotated[str, AfterValidator(_time_format)]
TimeZone = Annotated[str, AfterValidator(_zone)]
"""Or `required`."""
CalendarZone = Annotated[str, AfterValidator(_calendar_zone)]
Country = Annotated[str, BeforeValidator(_country)]
Encoding = Annotated[str, AfterValidator(_encoding)]
Finite = Annotated[float, AfterValidator(_finite)]
Range = tuple[float | None, float | None]
"""Least and greatest possible value; None for an open side."""
END_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "null"}]}
RANGE_SCHEMA = {"type": "array", "prefixItems": [END_SCHEMA, END_SCHEMA], "minItems": 2, "maxItems": 2}
RangeOrByColumn = Annotated[
    Range | dict[str, Range],
    BeforeValidator(_ranges),
    WithJsonSchema({"anyOf": [RANGE_SCHEMA, {"type": "object", "additionalProperties": RANGE_SCHEMA}]}),
]
Scale = Annotated[float, AfterValidator(_scale)]
MissingValues = Annotated[tuple[float | str, ...], BeforeValidator(_missing)]
NumberByText = Annotated[dict[str, Finite], BeforeValidator(_texts)]
