"""CSV as people have it: separator, decimal comma, byte order mark, comments and second header rows are found. Pure.

The definition's `csv` goes before all of that. A name with its unit, such as `Power [kW]`, is also known by
the name alone.
"""

import csv
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from driftline.errors import InvalidInput
from driftline.streams.data_sections import CsvFormat
from driftline.streams.reading.values import NOTHING, Decimal

SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
HEADER_LINES: Final = 50
"""A header is looked for in so many lines."""
UNIT_LINES: Final = 3
"""So many lines below a header may say more of its columns."""
LOOKED_AT: Final = 200
"""Rows whose numbers say whether there is a decimal comma."""
HEAD: Final = 256 * 1024
"""Characters that are looked at."""
NAME_AND_UNIT = re.compile(r"(.*\S)\s*[\[(]([^\[\]()]*)[\])]")
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+|[-+]?\d{1,3}(\.\d{3})+,\d+")
DECIMAL_POINT = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")
POINTS_OF_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+")
"""It may be a number with a decimal point as well."""
SHOWN: Final = 80


class MalformedCsv(InvalidInput):
    """Text that is no CSV; the text of the error holds the line."""


@dataclass(frozen=True)
class Wanted:
    """What is looked for in a header: the time's field, and the fields of numbers."""

    time: str | None = None
    numbers: Collection[str] = ()


@dataclass(frozen=True)
class CsvDialect:
    """How a text is written.

    names: of the columns, by the wanted ones where a unit follows them. data: the number of the first line of data;
    lines count from 1. comment: begins lines that are left out. notes: what was found, as sentences.
    """

    separator: str
    decimal: Decimal
    names: tuple[str, ...]
    header: int
    data: int
    comment: str
    units: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Line:
    number: int
    text: str

    def fields(self, separator: str) -> list[str]:
        """Raises MalformedCsv."""
        try:
            return next(csv.reader([self.text], delimiter=separator), [])
        except csv.Error as error:
            raise MalformedCsv(f"broken CSV in line {self.number}: {error}") from error


def decoded(body: bytes, form: CsvFormat) -> str:
    """Raises MalformedCsv with the position."""
    name = form.encoding
    try:
        return body.decode("utf-8-sig" if name == "utf-8" else name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        other = "utf-16" if body.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "latin-1"
        hint = f"; `csv.encoding` of the definition may say another, such as {other}" if name == "utf-8" else ""
        label = "UTF-8" if name == "utf-8" else name
        raise MalformedCsv(f"broken CSV: found no {label} at byte {error.start}{hint}") from error


def dialect_of(text: str, form: CsvFormat, wanted: Wanted) -> CsvDialect:
    """How a text is written. wanted: without a time the first line that is no comment is the header.

    Raises MalformedCsv for a text without a header.
    """
    lines = _head(text)
    header, names, separator = _header(lines, form, wanted)
    names, units = _without_units(names, wanted)
    data = _data_lines(lines, header.number, form)
    described = _describing(data, names, separator, wanted)
    rows = [line.fields(separator) for line in data[described : described + LOOKED_AT]]
    decimal = form.decimal or _decimal(rows, names, separator, wanted)
    notes = [*_notes(header, separator, form), *_unit_notes(data[:described])]
    if decimal == "," and form.decimal is None:
        notes.append("numbers have a decimal comma")
    first = data[described].number if described < len(data) else header.number + 1 + described
    return CsvDialect(separator, decimal, tuple(names), header.number, first, form.comment, units, tuple(notes))


def records_of(text: str, dialect: CsvDialect) -> Iterator[tuple[int, list[str]]]:
    """The fields of each record, and the line that it ends in. Raises MalformedCsv."""
    feed = _Feed(text, dialect)
    reader = csv.reader(feed, delimiter=dialect.separator, strict=True)
    width = len(dialect.names)
    try:
        for fields in reader:
            if not fields:
                continue
            if len(fields) != width:
                problem = f"found {len(fields)} fields, expected {width} as in the header"
                raise MalformedCsv(f"broken CSV in line {feed.number}: {problem}")
            yield feed.number, fields
    except csv.Error as error:
        raise MalformedCsv(f"broken CSV in line {feed.number}: {error}") from error


class _Feed:
    """The lines of data, for a reader that has no numbers for those left out."""

    def __init__(self, text: str, dialect: CsvDialect) -> None:
        self._lines = enumerate(_physical(text), 1)
        self._dialect = dialect
        self.number = 0

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        comment = self._dialect.comment
        for number, line in self._lines:
            if number < self._dialect.data or (comment and line.startswith(comment)):
                continue
            self.number = number
            return line
        raise StopIteration


def _physical(text: str) -> Iterator[str]:
    """Its lines with their ends; of the characters that `str.splitlines` breaks at, only those that CSV does."""
    return iter(re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text))


def _head(text: str) -> list[_Line]:
    head = text[:HEAD]
    cut = max(head.rfind("\n"), head.rfind("\r")) if len(text) > HEAD else -1
    lines = enumerate(_physical(head[: cut + 1] if cut >= 0 else head), 1)
    return [_Line(number, line.rstrip("\r\n")) for number, line in lines if line.strip()]


def _separator(line: str, form: CsvFormat) -> str:
    bare = re.sub(r'"(?:[^"]|"")*"', "", line)
    return form.separator or max(SEPARATORS, key=bare.count)


def _header(lines: Sequence[_Line], form: CsvFormat, wanted: Wanted) -> tuple[_Line, list[str], str]:
    """The line of names: the first with the time's, or else the first that is no comment."""
    for line in lines[:HEADER_LINES]:
        separator = _separator(line.text, form)
        for text in (line.text, line.text.removeprefix(form.comment).lstrip() if form.comment else line.text):
            names = _stripped(_Line(line.number, text).fields(separator))
            if wanted.time is not None and wanted.time in _known_as(names):
                return line, names, separator
    first = next((line for line in lines if not (form.comment and line.text.startswith(form.comment))), None)
    if first is None:
        raise MalformedCsv("broken CSV: found no line, expected one with the columns' names")
    separator = _separator(first.text, form)
    return first, _stripped(first.fields(separator)), separator


def _stripped(fields: Sequence[str]) -> list[str]:
    return [field.strip() for field in fields]


def _known_as(names: Sequence[str]) -> set[str]:
    """The names, with their units and without."""
    return {*names, *(match[1] for name in names if (match := NAME_AND_UNIT.fullmatch(name)))}


def _without_units(names: Sequence[str], wanted: Wanted) -> tuple[list[str], dict[str, str]]:
    """The names, those that are wanted without their units as they are wanted; and the units of all by those names."""
    sought = {*wanted.numbers, *([wanted.time] if wanted.time is not None else [])}
    short: list[str] = []
    units: dict[str, str] = {}
    for name in names:
        match = NAME_AND_UNIT.fullmatch(name)
        bare = match[1] if match and name not in sought and match[1] in sought and match[1] not in names else name
        if match:
            units[bare] = match[2]
        short.append(bare)
    return short, units


def _data_lines(lines: Sequence[_Line], header: int, form: CsvFormat) -> list[_Line]:
    """Those below the header that are no comments."""
    return [
        line for line in lines if line.number > header and not (form.comment and line.text.startswith(form.comment))
    ]


def _describing(data: Sequence[_Line], names: Sequence[str], separator: str, wanted: Wanted) -> int:
    """How many of the first lines say more of the columns, such as their units: they have no digit where a time should
    be, and words where numbers should be."""
    for count, line in enumerate(data[:UNIT_LINES]):
        row = dict(zip(names, line.fields(separator), strict=False))
        numbers = [row[name].strip() for name in wanted.numbers if name in row]
        has_words = any(text.lower() not in NOTHING for text in numbers)
        digits = any(map(str.isdigit, row.get(wanted.time or "", "0")))
        if digits or not has_words or any(text[:1].isdigit() or text[1:2].isdigit() for text in numbers):
            return count
    return min(UNIT_LINES, len(data))


def _decimal(rows: Sequence[Sequence[str]], names: Sequence[str], separator: str, wanted: Wanted) -> Decimal:
    """A comma where the numbers have it and nothing contradicts; one that separates columns is none."""
    if separator == ",":
        return "."
    places = [index for index, name in enumerate(names) if name in wanted.numbers]
    texts = [row[index].strip() for row in rows for index in places if index < len(row)]
    commas = any(DECIMAL_COMMA.fullmatch(text) for text in texts)
    points = any(DECIMAL_POINT.fullmatch(text) and not POINTS_OF_THOUSANDS.fullmatch(text) for text in texts)
    return "," if commas and not points else "."


def _notes(header: _Line, separator: str, form: CsvFormat) -> Iterator[str]:
    if form.separator is None and separator != ",":
        yield f"columns are separated by {SEPARATORS[separator]}"
    if header.number > 1:
        yield f"the columns' names are in line {header.number}"


def _unit_notes(lines: Sequence[_Line]) -> Iterator[str]:
    for line in lines:
        yield f"line {line.number} is no row but says more of the columns: {line.text[:SHOWN]!r}"


def repeated_name(names: Sequence[str]) -> str | None:
    """One that several columns have; columns without a name are nobody's."""
    return next((name for name, times in Counter(names).items() if times > 1 and name), None)
