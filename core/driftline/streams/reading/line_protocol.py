"""InfluxDB's line protocol as rows. Pure.

A row has the line's tags and fields by their names. Where the definition names them, it has the measurement as
`_measurement`, and the fields below the measurement, as in `weather.temperature`. The line's own time goes before
any other.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from line_protocol_parser import LineFormatError, parse_line

from driftline.errors import InvalidInput
from driftline.streams.reading.bodies import Fields, RawRows
from driftline.streams.reading.refusals import Refusal, shown
from driftline.streams.reading.rows import NAMES_KEPT, RowReader, listed
from driftline.streams.reading.times import EPOCH, LATEST, UNITS

MEASUREMENT: Final = "_measurement"
PER_SECOND: Final = {"ns": 10**9, "n": 10**9, "us": 10**6, "u": 10**6, "ms": 10**3, "s": 1}
"""Units of time, also by the names that InfluxDB 1 has for them."""
EXPECTED: Final = "a line such as weather,station=roof temperature=21.5,humidity=70i 1772323200000000000"
LATEST_S: Final = (LATEST - EPOCH).total_seconds()
MOST_LINES: Final = 100
"""Of one text in quotes; with more it is taken for a quote that nobody closed."""
BEFORE_FIELDS = re.compile(r"(?:\\.|[^ \\])* +", re.DOTALL)
LITERAL = re.compile(r'\\.|(=)"(?:\\.|[^"\\])*"', re.DOTALL)
"""Where signs mean nothing but themselves."""


class Point(NamedTuple):
    """What a line says. number: of the line, from 1. time: None for a line without one. text: the line."""

    number: int
    measurement: str
    tags: dict[str, str]
    fields: Fields
    time: int | None
    text: str


class LineReader:
    """Makes rows of lines for a reader of rows. precision: the unit of times; None where nobody knows, then their size
    says it. Raises InvalidInput for one that is none."""

    def __init__(self, reader: RowReader, precision: str | None = "ns") -> None:
        check_precision(precision)
        self._reader = reader
        self._fields = reader.fields
        self._time = str(reader.wanted.time)
        self._precision = precision

    def rows(self, body: bytes) -> RawRows:
        """The lines that have any of the stream's values. broken: by line, why others can't be read. notes: which
        measurements are not the stream's, and units of time that were guessed."""
        rows: list[object] = []
        numbers: list[int] = []
        broken: list[Refusal] = []
        strange: dict[str, Fields] = {}
        guessed: dict[str, int] = {}
        for point in points(body):
            if isinstance(point, Refusal):
                broken.append(point)
                continue
            try:
                row = self._row(point, guessed)
            except ValueError as error:
                broken.append(_broken(point.number, point.text, error))
                continue
            if self._reader.measures(row):
                rows.append(row)
                numbers.append(point.number)
            elif len(strange) < NAMES_KEPT:
                strange.setdefault(point.measurement, point.fields)
        notes = [self._left_out(name, fields) for name, fields in strange.items()]
        return RawRows(rows, lines=numbers, notes=(*notes, *_guesses(guessed)), broken=broken)

    def _left_out(self, measurement: str, fields: Fields) -> str:
        sought = ", ".join(sorted(self._reader.wanted.numbers))
        problem = f"they have the fields {listed(fields)}, and none of {sought}"
        return f"lines of the measurement {shown(measurement)} are left out: {problem}"

    def _row(self, point: Point, guessed: dict[str, int]) -> Fields:
        """Raises ValueError."""
        tags, fields, measurement = point.tags, point.fields, point.measurement
        row: Fields = {**tags, **fields}
        if measurement in self._reader.objects:
            # The other fields are known by their longer name.
            row = {name: value for name, value in row.items() if name in tags or name in self._fields}
            row[measurement] = fields
        if MEASUREMENT in self._fields:
            row[MEASUREMENT] = measurement
        if point.time is not None:
            unit = self._precision or unit_by_size(point.time)
            if unit != self._precision:
                guessed.setdefault(unit, point.time)
            row[self._time] = time_of(point.time, unit)
        return row


def check_precision(precision: str | None) -> None:
    """Raises InvalidInput."""
    if precision is not None and precision not in PER_SECOND:
        raise InvalidInput(f"found precision {precision!r}, expected one of {', '.join(PER_SECOND)}")


def points(body: bytes) -> Iterator[Point | Refusal]:
    """What the lines say, or why one can't be read. Comments say nothing."""
    for number, line in _lines(body):
        yield from _points(number, line)


def _points(number: int, line: str) -> Iterator[Point | Refusal]:
    try:
        parsed = parse_line(line)
        if parsed is None:
            return
        point = Point(number, parsed["measurement"], parsed["tags"], parsed["fields"], parsed["time"], line)
        _check_names(point)
    except (ValueError, LineFormatError) as error:
        if "\n" not in line:
            yield _broken(number, line, error)
            return
        # A quote that nobody closed: those below are lines of their own.
        for below, part in enumerate(line.split("\n"), number):
            if part.strip():
                yield from _points(below, part.strip("\r "))
        return
    yield point


def _check_names(point: Point) -> None:
    """Raises ValueError."""
    line, count = point.text, len(point.fields)
    if line.count("=") > len(point.tags) + count and _of_fields(line).count("=") > count:
        raise ValueError("a field's name comes twice")


def _broken(number: int, line: str, error: Exception) -> Refusal:
    return Refusal(number, "", shown(line), f"{EXPECTED}: {error}")


def unit_by_size(time: int) -> str:
    """In which a time is one of our days, nanoseconds if in none."""
    return next((unit for unit in ("s", "ms", "us") if abs(time) < LATEST_S * PER_SECOND[unit]), "ns")


def _guesses(first: Mapping[str, int]) -> Iterator[str]:
    """What is said of guessed units, but for the usual one. first: by unit the first time."""
    for unit, time in first.items():
        if unit != "ns":
            yield f"times are taken for {UNITS[unit]} since 1970, since {time} was found"


def time_of(time: int, unit: str) -> datetime:
    """unit: one of PER_SECOND. Raises ValueError."""
    try:
        # Whole numbers are divided without a loss: nanoseconds have more digits than a float.
        return EPOCH + timedelta(microseconds=time * 10**6 // PER_SECOND[unit])
    except OverflowError:
        raise ValueError(f"the time {time} is out of range, is the precision right?") from None


def _lines(body: bytes) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1. A text in quotes may hold line breaks."""
    pending: list[str] = []
    for number, line in enumerate(body.decode(errors="replace").removeprefix("\ufeff").split("\n"), 1):
        if pending:
            pending.append(line)
            if len(pending) > MOST_LINES or ('"' in line and not _is_open("\n".join(pending))):
                yield number - len(pending) + 1, "\n".join(pending).rstrip("\r ")
                pending = []
        elif '="' in line and _is_open(line):
            pending = [line]
        elif line.strip():
            yield number, line.strip("\r ")
    if pending:
        yield number - len(pending) + 1, "\n".join(pending)


def _is_open(line: str) -> bool:
    """Whether a text in quotes does not end in the line."""
    return '="' in _of_fields(line)


def _of_fields(line: str) -> str:
    """The line from its fields on, without what texts hold."""
    return LITERAL.sub(r"\1", BEFORE_FIELDS.sub("", line, count=1))
