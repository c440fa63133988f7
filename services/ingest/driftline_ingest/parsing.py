"""From a request's body to rows. Pure: a row is what stood there, not yet a record.

A body that can't be read as its content type is refused whole, with the position; a row that is no record is the
matter of `validation`. A name that comes twice in one object or header is broken, too: nobody knows which was meant.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from driftline.errors import InvalidInput

Row = dict[str, object]
SHOWN = 80
"""Characters of a name that an error repeats."""


class Malformed(InvalidInput):
    """A body that is not what its content type says; the text holds the position."""


class UnknownType(InvalidInput):
    """A content type that nobody here reads."""


def parse(content_type: str, body: bytes) -> list[object]:
    """The rows in `body`, each as it stood there. Raises Malformed or UnknownType."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in PARSERS:
        raise UnknownType(f"found content type {kind!r}, expected one of {', '.join(PARSERS)}")
    return PARSERS[kind](body)


class Twice(ValueError):
    """A name that comes twice where it may come once."""


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Twice)


def decode(text: bytes) -> object:
    """What one JSON text holds. Raises one of UNREADABLE."""
    value = msgspec.json.decode(text)
    if not _surely_once(text, [value]):
        _check_names(text)
    return value


def _json(body: bytes) -> list[object]:
    try:
        value = msgspec.json.decode(body)
        rows = value if isinstance(value, list) else [value]
        if not _surely_once(body, rows):
            _check_rows(body, is_list=isinstance(value, list))
    except UNREADABLE as error:
        raise Malformed(f"broken JSON: {error}") from error
    return rows


def _check_rows(body: bytes, *, is_list: bool) -> None:
    """Raises Malformed or Twice when an object holds a name twice. The body is JSON."""
    if not is_list:
        _check_names(body)
        return
    for number, row in enumerate(msgspec.json.decode(body, type=list[msgspec.Raw]), 1):
        try:
            _check_names(bytes(row))
        except Twice as error:
            raise Malformed(f"broken JSON in row {number}: {error}") from error


def _ndjson(body: bytes) -> list[object]:
    try:
        rows = msgspec.json.Decoder().decode_lines(body)
        if _surely_once(body, rows):
            return rows
    except UNREADABLE:
        pass  # line by line it is known where
    return [_line(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]


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
    """Raises Twice when an object in the JSON `text` holds a name twice."""
    json.loads(text, object_pairs_hook=_once, parse_int=str, parse_float=str)


def _once(pairs: list[tuple[str, object]]) -> Row:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise _twice((name for name, _ in pairs), "one object")
    return row


def _twice(names: Iterable[str], where: str) -> Twice:
    again = next(name for name, times in Counter(names).items() if times > 1)
    return Twice(f"found {again[:SHOWN]!r} twice in {where}, expected every name once")


def _csv(body: bytes) -> list[object]:
    """Rows of text by the header's names; an empty field is a missing value."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed(f"broken CSV: found no UTF-8 at byte {error.start}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return _fields(reader)
    except csv.Error as error:
        raise Malformed(f"broken CSV in line {reader.line_num}: {error}") from error


def _fields(reader: "csv._reader") -> list[object]:  # type: ignore[name-defined]
    header: list[str] = next(reader, [])
    if len(set(header)) != len(header):
        raise Malformed(f"broken CSV in line 1: {_twice(header, 'the header')}")
    rows: list[object] = []
    for fields in reader:
        if not fields:
            continue
        if len(fields) != len(header):
            problem = f"found {len(fields)} fields, expected {len(header)} as in the header"
            raise Malformed(f"broken CSV in line {reader.line_num}: {problem}")
        rows.append({name: field or None for name, field in zip(header, fields, strict=True)})
    return rows


PARSERS: dict[str, Callable[[bytes], list[object]]] = {
    "application/json": _json,
    "application/x-ndjson": _ndjson,
    "application/jsonl": _ndjson,
    "text/csv": _csv,
}
TEXT_ONLY = frozenset({"text/csv"})
"""Types in which a number is written as text."""
