"""A stream definition that is proposed for a file which nobody has described yet, as a file that people keep. Pure."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import yaml

from driftline.errors import InvalidInput
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_cli.columns_seen import NumberColumn, Survey
from driftline_cli.lengths import DAY_S, WEEK_S, exactly, roughly
from driftline_cli.measured import Measured, features, is_angle, only_grows, target_of
from driftline_cli.timeline import Timeline, remarks

LONGEST_NAME = 63
FURTHEST = 1000
"""Steps that a definition's horizon may have."""
ROUND_S = (86_400, 43_200, 21_600, 10_800, 7_200, 3_600, 1_800, 900, 600, 300, 120, 60)
"""Lengths of time that are a horizon where a day is further than FURTHEST steps."""
HISTORY = 0.6
"""Share of the records that is history."""
LEAST_LEARNED = 120
"""Records to learn from: the trainer refuses less than 100."""
LOOKS_BACK = 12
"""Records before the first one that can be learned from: the lags of a definition that does not name them."""
TIMES_AHEAD = 10
"""A series is at least so many times as long as its furthest horizon; else too little of it can be scored."""
COMMENT_AT = 33
PLENTY = 10_000_000
"""Records, where nobody knows how many there will be."""
STEP = re.compile(r'\["([^"]+)"\]|([^.\[\]"]+)')
"""A name or an index on a way through JSON."""
SHOWN = 5
"""Columns that are left out for one reason and named."""
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*([ .-][A-Za-z0-9_]+)*")


@dataclass(frozen=True)
class Origin:
    """Where records come from, and what a definition says of that.

    called: in the first line. brief: whether there were too few records to say what they are good for. topic: MQTT's,
    with its payload, or None. arrival: whether the times are those of arrival.
    """

    by: str = "driftline backtest"
    called: str | None = None
    name: str | None = None
    brief: bool = False
    topic: str | None = None
    payload: str = "json"
    arrival: bool = False


@dataclass(frozen=True)
class Proposal:
    """text: the definition as a YAML file with comments. notes: what was seen in the file, in sentences."""

    text: str
    notes: tuple[str, ...]

    @property
    def definition(self) -> StreamDefinition:
        """Raises InvalidDefinition, which would be a mistake of ours."""
        return parse(self.text, "the proposed definition")


def check_zone(zone: str) -> None:
    """Raises InvalidInput for what is no time zone."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(f"--zone: found {zone!r}, expected the name of a time zone such as Europe/Paris") from error


def propose(
    survey: Survey,
    line: Timeline,
    columns: Measured,
    target: str,
    zone: str | None = None,
    origin: Origin = Origin(),
) -> Proposal:
    """target: a column of numbers. zone: that of times that carry none; UTC by default. Raises InvalidInput."""
    chosen = target_of(columns, target, survey.source)
    taken, left = features(columns, chosen, line)
    angles = {column.name for column in taken if is_angle(column, line)}
    horizon = horizons(line.period, PLENTY) if origin.brief else horizons_of(survey, line)
    used = [line.time, *([line.key] if line.key else []), *(column.name for column in (chosen, *taken))]
    short = short_names(used) if survey.is_nested else {name: name for name in used}
    called = origin.called or PurePath(survey.source).name
    lines = [
        _one_line(f"# Proposed for {called} by `{origin.by}`; any line may be changed."),
        f"name: {_scalar(origin.name or name_of(survey.source))}",
        "",
        *_time(line, zone, short, origin),
        "",
        *([_commented(f"key: {_scalar(short[line.key])}", f"{line.series:,} series")] if line.key else []),
        f"target: {_scalar(short[target])}",
        *_features(taken, angles, short),
        *_left_out(columns.left | left),
        *_sources([chosen, *taken], short),
        *_origin(survey, origin),
        "",
        _commented(f"horizon: {list(horizon)}", ", ".join(roughly(h * line.period) for h in horizon) + " ahead"),
    ]
    return Proposal("\n".join(lines) + "\n", tuple(_notes(survey, line, zone, chosen)))


def horizons_of(survey: Survey, line: Timeline) -> tuple[int, ...]:
    """Those of a file. Raises InvalidInput where it is too short for any."""
    horizon = horizons(line.period, survey.rows // line.series, line.series)
    if not horizon:
        raise InvalidInput(f"{survey.source}: {_too_short(survey, line)}")
    return horizon


def horizons(period: int, records: int, series: int = 1) -> tuple[int, ...]:
    """Steps ahead, ascending: one, a quarter of a day and a day, as far as they make sense; none for too few records.

    period: seconds. records: of one series. Where a day is too many steps, the furthest round length of time that is
    not, and about a quarter of it; where it is a few, longer ones.
    """
    steps = sorted({1, *(round(length / period) for length in _lengths(period))})
    return tuple(step for step in steps if 0 < step <= FURTHEST and _enough(step, records, series))


def _lengths(period: int) -> tuple[int, int]:
    """How far ahead somebody wants to see, in seconds."""
    if period >= DAY_S:
        return WEEK_S, 4 * WEEK_S
    if 4 * period >= DAY_S:
        return DAY_S, WEEK_S
    far = _round(FURTHEST * period)
    return _round(far // 4), far


def _round(most: int) -> int:
    return next(length for length in ROUND_S if length <= most)


def name_of(source: str) -> str:
    """A stream's name from a file's: lower case, digits and dashes."""
    plain = unicodedata.normalize("NFKD", PurePath(source).stem).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_NAME].rstrip("-") or "stream"


def _enough(step: int, records: int, series: int) -> bool:
    learned = series * (int(HISTORY * records) - LOOKS_BACK - step)
    return learned >= LEAST_LEARNED and step * TIMES_AHEAD <= records


def _too_short(survey: Survey, line: Timeline) -> str:
    least = next(n for n in range(survey.rows // line.series, 10_000) if _enough(1, n, line.series))
    return (
        f"found {survey.rows:,} records of {line.series:,} series, expected at least {least * line.series:,}: "
        f"{HISTORY:.0%} of them are history, and {LEAST_LEARNED} must be left there to learn from"
    )


def _notes(survey: Survey, line: Timeline, zone: str | None, target: NumberColumn) -> Iterator[str]:
    first, last = (np.datetime_as_string(np.datetime64(int(t), "ms"), "m") for t in (line.t.min(), line.t.max()))
    series = f"{line.series:,} series by {line.key!r}" if line.key else "one series"
    yield f"{survey.rows:,} records, {series}, from {first} to {last} UTC"
    if survey.encoding is not None:
        yield f"the text is not in UTF-8 and is read as {survey.encoding}: look whether its names are right"
    yield from remarks(line)
    if line.zone is None and zone is None:
        yield "the times carry no zone and are taken as UTC; --zone Europe/Paris if they are local"
    if only_grows(target, line):
        yield f"{target.name!r} only grows, as a counter does: the difference between its records may be what is meant"


def _zone(line: Timeline, zone: str | None) -> str:
    if zone is not None:
        return _commented(f"  zone: {zone}", "that of a time which carries none")
    if line.zone is None:
        return _commented("  zone: UTC", "the times carry none; if they are local, name it: Europe/Paris")
    if line.zone != "UTC" and _is_zone(line.zone):
        return _commented(f"  zone: {line.zone}", "the times' own")
    return _commented("  zone: required", "the times carry theirs")


def _is_zone(name: str) -> bool:
    try:
        check_zone(name)
    except InvalidInput:
        return False
    return True


def _time(line: Timeline, zone: str | None, short: dict[str, str], origin: Origin) -> Iterator[str]:
    yield "time:"
    if not origin.arrival:
        yield f"  column: {_scalar(short[line.time])}"
        if line.date is not None:
            yield f"  date: {_scalar(line.date)}"
        if line.format is not None:
            yield f"  format: {_scalar(line.format)}"
        yield _zone(line, zone)
    period = f"  period: {exactly(line.period).replace(' ', '')}"
    yield _commented(period, next(remarks(line)))
    if origin.arrival:
        yield "  # the messages carry no time: each is of when it arrives"


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """By path a name for its column: its last step, or as many as tell it from the others."""
    steps = {path: [name or quoted for quoted, name in STEP.findall(path)] for path in paths}
    for count in range(1, max(map(len, steps.values())) + 1):
        short = {path: "_".join(part[-count:]) for path, part in steps.items()}
        if len(set(short.values())) == len(paths):
            return short
    return {path: path for path in paths}


def _sources(numbers: Sequence[NumberColumn], short: dict[str, str]) -> Iterator[str]:
    """Where columns are that devices send under another name, or as text."""
    by_path = {column.name: column for column in numbers}
    lines = []
    for path, name in short.items():
        if path in by_path and by_path[path].text:
            lines.append(f"  {_scalar(name)}: {{path: {_scalar(path)}, text: true}}")
        elif path != name:
            lines.append(f"  {_scalar(name)}: {_scalar(path)}")
    if lines:
        yield from ("", "columns:", *lines)


def _origin(survey: Survey, origin: Origin) -> Iterator[str]:
    if survey.encoding is not None:
        yield from ("", f"csv: {{encoding: {survey.encoding}}}")
    if survey.rows_in is not None:
        yield from ("", f"rows: {_scalar(survey.rows_in)}")
    if origin.topic is not None:
        yield from ("", "mqtt:", f"  topic: {_scalar(origin.topic)}", f"  payload: {origin.payload}")


def _features(taken: list[NumberColumn], angles: set[str], short: dict[str, str]) -> Iterator[str]:
    if taken:
        yield ""
        yield _commented("features:", "learned from in addition to the target")
    for column in taken:
        if column.name in angles:
            yield _commented(f"  {_scalar(short[column.name])}: angle", "degrees, wraps")
        else:
            yield f"  {_scalar(short[column.name])}: level"


def _left_out(reasons: dict[str, str]) -> Iterator[str]:
    """Per reason its columns, a few of them by name."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        further = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        shown = ", ".join(name or '""' for name in names[:SHOWN])
        yield _one_line(f"# left out: {shown}{further}: {reason}")


def _scalar(text: str) -> str:
    """A column's name as YAML reads it again."""
    if PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf")).strip()


def _one_line(text: str) -> str:
    """For a comment."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _commented(line: str, comment: str) -> str:
    return f"{line:<{COMMENT_AT - 1}} # {_one_line(comment)}"
