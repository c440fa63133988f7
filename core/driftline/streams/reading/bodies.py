"""From bytes to rows: a row is what somebody wrote, not yet a record. Pure.

A body that can't be read as what it is meant to be is refused whole, with the position; a row that is no record is the
matter of `rows`. A name that comes twice in one object or header is broken, too: nobody knows which was meant.
"""

import json
import math
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from driftline.errors import InvalidInput
from driftline.streams.data_sections import CsvFormat
from driftline.streams.reading.csv_text import MalformedCsv, Wanted, decoded, dialect_of, records_of, repeated_name
from driftline.streams.reading.refusals import Refusal
from driftline.streams.reading.values import Decimal

Fields = dict[str, object]
SHOWN = 80
"""Characters of a name that an error repeats."""
NOT_A_NUMBER = re.compile(rb'"(?:\\.|[^"\\])*"|-?\b(?:nan|NAN|NaN|[Ii]nf(?:inity)?|INF)\b')
"""A text, which is left as it is, or what several programs write where JSON has no word: not a number, or infinity."""


class Malformed(InvalidInput):
    """A body that is not what its content type says; the text holds the position."""


class RawRows(msgspec.Struct, frozen=True):
    """rows: as they came. text: whether numbers are written as text; decimal: and how. lines: [n] the line of each row,
    where they are in lines. notes: what was found of the format, as sentences. broken: lines that are no rows, by their
    numbers, of a format that has each line for itself."""

    rows: Sequence[object]
    text: bool = False
    decimal: Decimal = "."
    lines: Sequence[int] = ()
    notes: tuple[str, ...] = ()
    broken: Sequence[Refusal] = ()


class TwiceError(ValueError):
    """A name that comes twice where it may come once."""


LINES: msgspec.json.Decoder[object] = msgspec.json.Decoder()
UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError)


def decode(text: bytes) -> object:
    """What one JSON text holds; not a number is null. Raises one of UNREADABLE."""
    text = text.removeprefix(BOM_UTF8)
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return _with_nan(text)
    if not _surely_once(text, [value]):
        _check_names(text)
    return value


def json_rows(body: bytes) -> RawRows:
    """One object, or an array of them. Raises Malformed."""
    body = body.removeprefix(BOM_UTF8)
    try:
        try:
            value = msgspec.json.decode(body)
        except msgspec.DecodeError:
            value = _with_nan(body)
            return RawRows(value if isinstance(value, list) else [value])
        rows = value if isinstance(value, list) else [value]
        if not _surely_once(body, rows):
            _check_rows(body, is_list=isinstance(value, list))
    except UNREADABLE as error:
        raise Malformed(f"broken JSON: {error}") from error
    return RawRows(rows)


def ndjson_rows(body: bytes) -> RawRows:
    """An object in each line. Raises Malformed."""
    body = body.removeprefix(BOM_UTF8)
    try:
        rows = LINES.decode_lines(body)
        if _surely_once(body, rows):
            return RawRows(rows)
    except UNREADABLE:
        pass  # line by line it is known where
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    return RawRows([_line(number, line) for number, line in lines], lines=[number for number, _ in lines])


def csv_rows(body: bytes, form: CsvFormat, wanted: Wanted) -> RawRows:
    """Rows of text by the header's names; an empty field is a missing value. Raises Malformed."""
    try:
        text = decoded(body, form)
        if not text.strip():
            return RawRows([], text=True)
        dialect = dialect_of(text, form, wanted)
        again = repeated_name(dialect.names)
        if again is not None:
            raise Malformed(f"broken CSV in line {dialect.header}: {_twice([again, again], 'the header')}")
        rows: list[object] = []
        lines: list[int] = []
        for number, fields in records_of(text, dialect):
            rows.append({name: field or None for name, field in zip(dialect.names, fields, strict=True) if name})
            lines.append(number)
    except MalformedCsv as error:
        raise Malformed(str(error)) from error
    return RawRows(rows, text=True, decimal=dialect.decimal, lines=lines, notes=dialect.notes)


def _with_nan(text: bytes) -> object:
    """JSON in which somebody's program has written NaN, as several do. Raises one of UNREADABLE."""
    plain = NOT_A_NUMBER.sub(_word, text)
    if plain == text and b"NaN" not in text and b"Infinity" not in text:
        # Raises with msgspec's own position.
        return msgspec.json.decode(text)
    return json.loads(plain, object_pairs_hook=_once, parse_constant=_constant)


def _word(match: re.Match[bytes]) -> bytes:
    word = match[0]
    if word.startswith(b'"'):
        return word
    if b"n" in word.lower() and word.lower().lstrip(b"-") == b"nan":
        return b"NaN"
    return b"-Infinity" if word.startswith(b"-") else b"Infinity"


def _constant(word: str) -> float | None:
    return None if word == "NaN" else math.inf


def _check_rows(body: bytes, *, is_list: bool) -> None:
    """Raises Malformed or TwiceError when an object holds a name twice. The body is JSON."""
    if not is_list:
        _check_names(body)
        return
    for number, row in enumerate(msgspec.json.decode(body, type=list[msgspec.Raw]), 1):
        try:
            _check_names(bytes(row))
        except TwiceError as error:
            raise Malformed(f"broken JSON in row {number}: {error}") from error


def _line(number: int, line: bytes) -> object:
    try:
        return decode(line)
    except UNREADABLE as error:
        raise Malformed(f"broken JSON in line {number}: {error}") from error


def _surely_once(body: bytes, rows: Iterable[object]) -> bool:
    """Whether no object in `body` can hold a name twice: there are no more names than `rows` have columns.

    The decoder keeps the last of two without a word. Where no space stands before a colon, every name ends in `":`, so
    counting those finds at least all names; a value that holds the same makes a body doubtful, never sure.
    """
    # Looking for one byte first is ten times faster than for two, and most bodies hold none of these.
    if b" :" in body or (b"\n" in body and b"\n:" in body) or (b"\t" in body and b"\t:" in body):
        return False
    if b"\r" in body and b"\r:" in body:
        return False
    return body.count(b'":') == sum(len(row) for row in rows if isinstance(row, dict))


def _check_names(text: bytes) -> None:
    """Raises TwiceError when an object in the JSON `text` holds a name twice."""
    json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str)


def _once(pairs: list[tuple[str, object]]) -> Fields:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise _twice((name for name, _ in pairs), "one object")
    return row


def _twice(names: Iterable[str], where: str) -> TwiceError:
    again = next(name for name, times in Counter(names).items() if times > 1)
    return TwiceError(f"found {again[:SHOWN]!r} twice in {where}, expected every name once")
