"""From a request's body to rows. Pure: a row is what stood there, not yet a record.

A body that can't be read as its content type is refused whole, with the position; a row that is no record is the
matter of `validation`.
"""

import csv
import io
from collections.abc import Callable

import msgspec

from driftline.errors import InvalidInput

Row = dict[str, object]


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


def _json(body: bytes) -> list[object]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"broken JSON: {error}") from error
    return found if isinstance(found, list) else [found]


def _ndjson(body: bytes) -> list[object]:
    try:
        return msgspec.json.Decoder().decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [_line(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]


def _line(number: int, line: bytes) -> object:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"broken JSON in line {number}: {error}") from error


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
    rows: list[object] = []
    for fields in reader:
        if not fields:
            continue
        if len(fields) != len(header):
            found = f"found {len(fields)} fields, expected {len(header)} as in the header"
            raise Malformed(f"broken CSV in line {reader.line_num}: {found}")
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
