"""InfluxDB's line protocol as rows. Pure.

A row has the line's tags and fields by their names. Where the definition names them, it has the measurement as
`_measurement`, and the fields below the measurement, as in `weather.temperature`. The line's own time goes before
any other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from line_protocol_parser import LineFormatError, parse_line

from driftline.errors import InvalidInput
from driftline.streams.reading.bodies import Fields, RawRows
from driftline.streams.reading.refusals import Refusal, shown
from driftline.streams.reading.rows import NAMES_KEPT, RowReader, listed
from driftline.streams.reading.times import EPOCH

MEASUREMENT: Final = "_measurement"
PER_SECOND: Final = {"ns": 10**9, "n": 10**9, "us": 10**6, "u": 10**6, "ms": 10**3, "s": 1}
"""Units of time, also by the names that InfluxDB 1 has for them."""
EXPECTED: Final = "a line such as weather,station=roof temperature=21.5,humidity=70i 1772323200000000000"
MOST_LINES: Final = 100
"""Of one text in quotes; with more it is taken for a quote that nobody closed."""
BEFORE_FIELDS = re.compile(r"(?:\\.|[^ \\])* +", re.DOTALL)
LITERAL = re.compile(r'\\.|(=)"(?:\\.|[^"\\])*"', re.DOTALL)
"""Where signs mean nothing but themselves."""


@dataclass
class _Taken:
    """What lines hold so far. strange: by measurement that is not the stream's the fields of its first line."""

    rows: list[object] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    broken: list[Refusal] = field(default_factory=list)
    strange: dict[str, Fields] = field(default_factory=dict)


class LineReader:
    """Makes rows of lines for a reader of rows. precision: the unit of times. Raises InvalidInput for one that is
    none."""

    def __init__(self, reader: RowReader, precision: str = "ns") -> None:
        if precision not in PER_SECOND:
            raise InvalidInput(f"found precision {precision!r}, expected one of {', '.join(PER_SECOND)}")
        self._reader = reader
        self._fields = reader.fields
        self._time = str(reader.wanted.time)
        self._per_second = PER_SECOND[precision]

    def rows(self, body: bytes) -> RawRows:
        """The lines that have any of the stream's values. broken: by line, why others can't be read. notes: which
        measurements are not the stream's."""
        taken = _Taken()
        for number, line in _lines(body):
            self._take(number, line, taken)
        notes = tuple(self._left_out(name, fields) for name, fields in taken.strange.items())
        return RawRows(taken.rows, lines=taken.lines, notes=notes, broken=taken.broken)

    def _take(self, number: int, line: str, taken: "_Taken") -> None:
        try:
            point = parse_line(line)
            row = self._row(line, point) if point is not None else None
        except (ValueError, LineFormatError) as error:
            if "\n" not in line:
                taken.broken.append(Refusal(number, "", shown(line), f"{EXPECTED}: {error}"))
                return
            # A quote that nobody closed: those below are lines of their own.
            for below, part in enumerate(line.split("\n"), number):
                if part.strip():
                    self._take(below, part.strip("\r "), taken)
            return
        if row is None:
            return
        if self._reader.measures(row):
            taken.rows.append(row)
            taken.lines.append(number)
        elif len(taken.strange) < NAMES_KEPT:
            taken.strange.setdefault(point["measurement"], point["fields"])

    def _left_out(self, measurement: str, fields: Fields) -> str:
        sought = ", ".join(sorted(self._reader.wanted.numbers))
        problem = f"they have the fields {listed(fields)}, and none of {sought}"
        return f"lines of the measurement {shown(measurement)} are left out: {problem}"

    def _row(self, line: str, point: dict[str, Any]) -> Fields:
        """Raises ValueError."""
        tags, fields, measurement, time = point["tags"], point["fields"], point["measurement"], point["time"]
        if line.count("=") > len(tags) + len(fields) and _of_fields(line).count("=") > len(fields):
            raise ValueError("a field's name comes twice")
        row: Fields = {**tags, **fields}
        if measurement in self._fields:
            # The other fields are known by their longer name.
            row = {name: value for name, value in row.items() if name in tags or name in self._fields}
            row[measurement] = fields
        if MEASUREMENT in self._fields:
            row[MEASUREMENT] = measurement
        if time is not None:
            row[self._time] = self._at(time)
        return row

    def _at(self, time: int) -> datetime:
        try:
            # Whole numbers are divided without a loss: nanoseconds have more digits than a float.
            return EPOCH + timedelta(microseconds=time * 10**6 // self._per_second)
        except OverflowError:
            raise ValueError(f"the time {time} is out of range, is the precision right?") from None


def _lines(body: bytes) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers from 1. A text in quotes may hold line breaks."""
    pending: list[str] = []
    for number, line in enumerate(body.decode(errors="replace").split("\n"), 1):
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
