"""The same look as `survey` into rows of JSON: objects in objects, numbers and times as text. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from driftline.errors import InvalidInput
from driftline.streams.data_sections import Time
from driftline.streams.reading.nested import spread
from driftline.streams.reading.refusals import UnusableError
from driftline.streams.reading.times import TimeRule
from driftline.streams.reading.values import NOTHING
from driftline_cli.columns_seen import NUMBER, Column, NumberColumn, OtherColumn, Survey, TextColumn, TimeColumn
from driftline_cli.written_times import DAY, by_pattern, pattern_of

SAMPLES = 200
LIST_SHOWN = 16
"""Elements of a list of values that are looked at."""
DEEPEST = 8


def survey_rows(rows: Sequence[object], source: str, zone: str) -> Survey:
    """zone: that of times that carry none. Raises InvalidInput where there is no object among the rows."""
    way = _way_to_rows(rows)
    spreaded = [part for row in rows for part in spread(row, way)]
    flat = [dict(_flat(row)) for row in spreaded if isinstance(row, dict)]
    if not flat:
        raise InvalidInput(f"{source}: found no object of names and values, expected one in each row")
    paths = list(dict.fromkeys(path for row in flat for path in row))
    columns = [_column(path, [row.get(path) for row in flat], zone) for path in paths]
    return Survey(source, len(flat), tuple(columns), is_nested=True, rows_in=way)


def _way_to_rows(rows: Sequence[object]) -> str | None:
    """Where in a single object the rows are, if they are in a list of objects."""
    if len(rows) != 1 or not isinstance(rows[0], dict):
        return None
    lists = [(path, value) for path, value in _lists(rows[0]) if len(value) > 1]
    return max(lists, key=lambda pair: len(pair[1]), default=(None, []))[0]


def _lists(row: Mapping[str, object], before: str = "", depth: int = 0) -> Iterator[tuple[str, list[object]]]:
    for name, value in row.items():
        path = joined(before, name)
        if isinstance(value, list) and all(isinstance(element, dict) for element in value):
            yield path, value
        elif isinstance(value, dict) and depth < DEEPEST:
            yield from _lists(value, path, depth + 1)


def _flat(row: Mapping[str, object], before: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Path and value of whatever is no object."""
    for name, value in row.items():
        # The whole name of a row's own field goes first where it is read again.
        is_own = not before and not isinstance(value, (dict, list))
        yield from _parts(name if is_own else joined(before, name), value, depth)


def _parts(path: str, value: object, depth: int) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict) and depth < DEEPEST:
        yield from _flat(value, path, depth + 1)
    elif isinstance(value, list) and depth < DEEPEST:
        for index, element in enumerate(value[:LIST_SHOWN]):
            yield from _parts(f"{path}[{index}]", element, depth + 1)
    else:
        yield path, value


def joined(before: str, name: str) -> str:
    """As `driftline.streams.reading.paths` reads it again. before: empty for a row's own field."""
    if any(sign in name for sign in ".[]"):
        return f'{before}["{name}"]'
    return f"{before}.{name}" if before else name


def _column(path: str, values: Sequence[object], zone: str) -> Column:
    known = [value for value in values if value is not None]
    if not known:
        return OtherColumn(path, "null")
    telling = [value for value in known if not (isinstance(value, str) and value.strip().lower() in NOTHING)]
    if telling and all(isinstance(value, (bool, int, float)) for value in telling):
        # A number, or a word such as `unavailable`.
        return _numbers(path, [None if isinstance(value, str) else value for value in values])
    texts = [value for value in known if isinstance(value, str)]
    if len(texts) < len(known):
        return OtherColumn(path, "values of several kinds")
    if all(NUMBER.fullmatch(text) or text.strip().lower() in NOTHING for text in texts) and any(
        map(NUMBER.fullmatch, texts)
    ):
        return _numbers(path, [_number(value) for value in values], text=True)
    times = as_times(path, values, zone)
    return times or _names(path, values)


def _numbers(path: str, values: Sequence[object], *, text: bool = False) -> NumberColumn:
    numbers = np.array([np.nan if value is None else _as_float(value) for value in values], dtype=np.float64)
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return NumberColumn(path, numbers, whole, text)


def _as_float(value: object) -> float:
    """NaN for a whole number that no float holds, as it is refused later."""
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return float("nan")


def _number(value: object) -> float | None:
    return float(str(value)) if isinstance(value, str) and NUMBER.fullmatch(value) else None


def as_times(path: str, values: Sequence[object], zone: str) -> TimeColumn | None:
    """Of texts that are all times, or missing."""
    texts = [value for value in values if isinstance(value, str) and value]
    pattern = pattern_of(texts)
    if pattern is not None:
        parsed = [by_pattern(text, pattern) for text in texts]
        milliseconds = iter([_milliseconds(time, zone) for time in parsed if time is not None])
        if all(time is not None for time in parsed):
            t = [next(milliseconds) if isinstance(value, str) and value else 0 for value in values]
            empty = len(values) - len(texts)
            return TimeColumn(path, np.array(t, np.int64), None, empty, pattern, is_days="M" not in pattern)
        return None
    for carried, rule in (
        ("UTC", TimeRule(Time(period="1s"))),
        (None, TimeRule(Time(period="1s", zone=zone))),
    ):
        try:
            t = [rule.milliseconds(path, value) if value else 0 for value in values]
        except UnusableError:
            continue
        return TimeColumn(path, np.array(t, np.int64), carried, len(values) - len(texts))
    return None


def odd_times(texts: Sequence[str], zone: str) -> list[str]:
    """Those that the reader refuses among times that are written like most of them."""
    dated = [text for text in texts if DAY.fullmatch(text.strip())]
    rule = TimeRule(Time(period="1s", zone=zone, format=pattern_of(dated)))
    return [text for text in texts if not _is_time(text, rule)]


def _is_time(text: str, rule: TimeRule) -> bool:
    try:
        rule.milliseconds("", text)
    except UnusableError:
        return False
    return True


def _milliseconds(time: datetime, zone: str) -> int:
    return round(time.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC).timestamp() * 1000)


def _names(path: str, values: Sequence[object]) -> TextColumn:
    distinct = {text: code for code, text in enumerate(dict.fromkeys(str(value) for value in values if value))}
    codes = np.array([distinct[str(value)] if value else -1 for value in values], dtype=np.int64)
    return TextColumn(path, codes, len(distinct), tuple(distinct)[:SAMPLES])
