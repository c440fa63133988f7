"""What lines of InfluxDB's line protocol hold that no definition describes: their measurements and fields, and which
tag names the series. Pure.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from driftline.errors import InvalidInput
from driftline.streams.reading.line_protocol import Point, points, time_of, unit_by_size
from driftline.streams.reading.refusals import Refusal
from driftline.streams.reading.times import EPOCH
from driftline_cli.columns_seen import NumberColumn, Survey, TextColumn, TimeColumn
from driftline_cli.measured import Measured, measured
from driftline_cli.rows_survey import joined, survey_rows
from driftline_cli.timeline import KEY_NAMES, timeline

MACHINE = "host"
"""The tag that Telegraf adds to all lines."""
TIME = "time"
NAMES_SHOWN = 8
USUAL = 0.9
"""Share of the lines that have a tag which may be the key."""
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True)
class SentLines:
    """precision: the unit of times, None where nobody knows. arrived: seconds since the epoch, None for a file."""

    body: bytes
    precision: str | None = None
    arrived: float | None = None


@dataclass(frozen=True)
class TimedPoint:
    """t: milliseconds since the epoch, None for a line of a file that has no time. own: whether it is the line's."""

    point: Point
    t: int | None
    own: bool


@dataclass(frozen=True)
class Measurement:
    """Lines of one measurement. prefixed: whether its fields need its name before theirs, since another measurement has
    fields of the same names."""

    name: str
    lines: Sequence[TimedPoint]
    prefixed: bool

    @property
    def fields(self) -> list[str]:
        """As a definition names them."""
        names = dict.fromkeys(name for line in self.lines for name in line.point.fields)
        return [joined(joined("", self.name), name) if self.prefixed else name for name in names]


@dataclass(frozen=True)
class LinesSeen:
    """measurements: the one with most lines first. notes: what there is to say of all lines, as sentences."""

    source: str
    measurements: Sequence[Measurement]
    notes: Sequence[str]

    def of(self, target: str) -> tuple[Measurement, str]:
        """The one that has the target, and that by its full name. Raises InvalidInput."""
        fields = {name: measurement for measurement in self.measurements for name in measurement.fields}
        prefixed = [joined(joined("", measurement.name), target) for measurement in self.measurements]
        names = [target] if target in fields else [name for name in prefixed if name in fields]
        if len(names) == 1:
            return fields[names[0]], names[0]
        expected = f"expected as target one of {_some(names or list(fields))}"
        raise InvalidInput(f"{self.source}: found {'several fields' if names else 'no field'} {target!r}, {expected}")


def lines_seen(sent: Sequence[SentLines], source: str) -> LinesSeen:
    """Raises InvalidInput where there is no line that can be read."""
    lines: dict[str, list[TimedPoint]] = {}
    broken: list[Refusal] = []
    for part in sent:
        for point in points(part.body):
            timed = point if isinstance(point, Refusal) else _timed(point, part)
            if isinstance(timed, Refusal):
                broken.append(timed)
            else:
                lines.setdefault(timed.point.measurement, []).append(timed)
    if not lines:
        instead = f": found {broken[0].value}, expected {broken[0].expected}" if broken else ""
        raise InvalidInput(f"{source}: found no line that can be read{instead}")
    having = Counter(name for group in lines.values() for name in {name for one in group for name in one.point.fields})
    measurements = [
        Measurement(name, group, any(having[field] > 1 for one in group for field in one.point.fields))
        for name, group in lines.items()
    ]
    measurements.sort(key=lambda measurement: -len(measurement.lines))
    return LinesSeen(source, measurements, tuple(_notes(measurements, broken)))


def survey_lines(measurement: Measurement, source: str, zone: str, key: str | None = None) -> tuple[Survey, bool]:
    """A look at its lines, and whether their times are those of arrival. zone: of times in texts. key: the tag that is
    known to name the series. Raises InvalidInput."""
    dated = [line for line in measurement.lines if line.t is not None]
    if not dated:
        raise InvalidInput(f"{source}: found no time in the lines of {measurement.name!r}, expected one in each")
    usual = {key} if key in _tags(dated) else _usual_tags(dated)
    # A few that lack the key may be refused, and say nothing of the others.
    timed = [line for line in dated if usual <= line.point.tags.keys()]
    of_line = [line.point.fields for line in timed]
    rows = [{measurement.name: fields} if measurement.prefixed else fields for fields in of_line]
    survey = replace(survey_rows(rows, source, zone), is_nested=measurement.prefixed)
    tags = [line.point.tags for line in timed]
    fields = survey.names
    columns = [_tag_column(name, tags) for name in dict.fromkeys(name for row in tags for name in row)]
    own = [column for column in columns if column.name not in fields]
    time = TIME if TIME not in {*fields, *(column.name for column in own)} else f"{TIME} of the line"
    times = TimeColumn(time, np.array([line.t for line in timed], np.int64), "UTC", 0)
    survey = replace(survey, columns=(times, *survey.columns, *own))
    return replace(survey, key=key or _key(tags, fields, source)), not any(line.own for line in timed)


def _tags(lines: Sequence[TimedPoint]) -> Counter[str]:
    """By tag how many lines have it."""
    return Counter(name for line in lines for name in line.point.tags)


def _usual_tags(lines: Sequence[TimedPoint]) -> set[str]:
    return {name for name, count in _tags(lines).items() if count >= USUAL * len(lines)}


def usable_fields(seen: LinesSeen, zone: str, key: str | None, *, brief: bool) -> Measured:
    """What of all measurements can be forecast. Raises InvalidInput where nothing can."""
    usable: dict[str, NumberColumn] = {}
    problems: list[InvalidInput] = []
    for measurement in seen.measurements:
        try:
            survey, _ = survey_lines(measurement, seen.source, zone, key)
            usable |= measured(survey, timeline(survey, brief=brief), brief=brief).usable
        except InvalidInput as problem:
            problems.append(problem)
    if not usable:
        raise problems[0]
    return Measured(usable, {})


def _timed(point: Point, part: SentLines) -> TimedPoint | Refusal:
    if point.time is None:
        return TimedPoint(point, None if part.arrived is None else round(part.arrived * 1000), own=False)
    try:
        time = time_of(point.time, part.precision or unit_by_size(point.time))
    except ValueError as error:
        return Refusal(point.number, "", repr(point.text), str(error))
    return TimedPoint(point, (time - EPOCH) // MILLISECOND, own=True)


def _tag_column(name: str, tags: Sequence[Mapping[str, str]]) -> TextColumn:
    values = [row.get(name) for row in tags]
    distinct = {text: code for code, text in enumerate(dict.fromkeys(value for value in values if value is not None))}
    codes = np.array([-1 if value is None else distinct[value] for value in values], np.int64)
    return TextColumn(name, codes, len(distinct), tuple(distinct))


def _key(tags: Sequence[Mapping[str, str]], fields: Collection[str], source: str) -> str | None:
    """The tag that tells the series apart; that of a sensor rather than that of a machine. Raises InvalidInput."""
    common = [name for name in tags[0] if name not in fields and all(name in row for row in tags)]
    series = {tuple(row[name] for name in common) for row in tags}
    parting = [name for name in common if len({row[name] for row in tags}) == len(series)]
    if parting:
        return min(parting, key=lambda name: (name == MACHINE, KEY_NAMES.search(name) is None))
    if len(series) == 1:
        return None
    problem = f"found {len(series)} series that only the tags {_some(common)} tell apart together"
    raise InvalidInput(f"{source}: {problem}, expected one that does (--key NAME), or one value of the others")


def _notes(measurements: Sequence[Measurement], broken: Sequence[Refusal]) -> Iterator[str]:
    counts = sum(len(measurement.lines) for measurement in measurements)
    of_each = _some([f"{measurement.name} ({len(measurement.lines):,})" for measurement in measurements])
    yield f"{counts:,} lines of the measurement{'s' if len(measurements) > 1 else ''} {of_each}"
    if broken:
        first = f"found {broken[0].value}, expected {broken[0].expected}"
        yield f"{len(broken):,} other lines can't be read: {first}"


def _some(names: Sequence[str]) -> str:
    further = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + further
