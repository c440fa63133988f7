"""CSV that no definition describes, as a table: its encoding, its separator, its header and its decimals are found.
Pure.
"""

import csv
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE

import pyarrow as pa

from driftline.errors import InvalidInput
from driftline.streams.data_sections import CsvFormat
from driftline.streams.reading.csv_columns import CsvBody
from driftline.streams.reading.csv_text import HEAD, SEPARATORS, Wanted, dialect_of
from driftline.streams.reading.values import Decimal
from driftline_cli.columns_seen import TIME_NAMES

LOOKED_AT = 50
"""Lines in which a header is looked for."""
SHOWN = 200
"""Characters of Arrow's own words that an error repeats."""
OTHER_FILES = {
    b"PK\x03\x04": "a workbook or an archive",
    b"\xd0\xcf\x11\xe0": "an old workbook",
    b"\x1f\x8b": "a packed file (gzip)",
    b"\x28\xb5\x2f\xfd": "a packed file (zstd)",
}
"""By their first bytes, files that people take for CSV."""
UTF_8, UTF_16, WINDOWS = "utf-8", "utf-16", "cp1252"
UNKNOWN_TO_WINDOWS = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
"""Bytes that no letter of cp1252 has."""
SEPARATOR_LINE = re.compile(rb'"?sep=[,;|\t]"?[ \t;,]*\r?\n', re.IGNORECASE)
"""For a spreadsheet, before the line of names."""
VALUE = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?|\d{4}-\d\d-\d\d.*")
"""What is no column's name but a number or a time."""


def encoding_of(body: bytes, source: str) -> str:
    """Of text: what its first bytes say, UTF-8 where it is that, or else what Windows writes in Western Europe.
    Raises InvalidInput."""
    kind = next((kind for start, kind in OTHER_FILES.items() if body.startswith(start)), None)
    if kind is not None:
        raise InvalidInput(f"{source}: found {kind}, expected CSV in UTF-8 or Parquet: save it as one of them")
    if b"\0" in body[:HEAD] and not body.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        problem = "found bytes of zero, as UTF-16 without its first mark has, expected CSV in UTF-8 or Parquet"
        raise InvalidInput(f"{source}: {problem}: save it as one of them")
    encoding = UTF_16 if body.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else UTF_8
    try:
        body.decode(encoding)
    except UnicodeDecodeError as error:
        # Beside letters in UTF-8 a byte that is none is damage, and no other encoding.
        if encoding == UTF_8 and body.decode(errors="ignore").isascii() and not UNKNOWN_TO_WINDOWS.search(body):
            return WINDOWS
        label = encoding.upper()
        problem = f"found text that is not {label} at byte {error.start}, expected CSV in UTF-8 or Parquet"
        raise InvalidInput(f"{source}: {problem}: save it as one of them") from error
    return encoding


def table_of(body: bytes, encoding: str, source: str) -> tuple[pa.Table, Decimal]:
    """All columns, of the kinds that Arrow finds, and what a number's decimals follow. Raises InvalidInput."""
    body = body if encoding == UTF_8 else body.decode(encoding).encode()
    if not body.strip(b"\xef\xbb\xbf\r\n\t ,;"):
        raise InvalidInput(f"{source}: found an empty file, expected a line of column names and records")
    try:
        written = _with_dialect(body)
        table = _with_clocks_as_written(written.typed_table(), written)
        names: list[str] = table.column_names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"{source}: neither Parquet nor CSV: {cut(error)}") from error
    values = [name for name in names if VALUE.fullmatch(name)]
    if values:
        raise InvalidInput(f"{source}: found {values[0]!r} in the first line, expected the columns' names there")
    return table, written.dialect.decimal


def _with_clocks_as_written(table: pa.Table, written: CsvBody) -> pa.Table:
    """Times of day as text: Arrow's have seconds, whether these were written or not."""
    clocks = [field.name for field in table.schema if pa.types.is_time(field.type)]
    if not clocks or len(set(table.column_names)) < table.num_columns:
        return table
    texts = written.table(clocks)
    for name in clocks:
        table = table.set_column(table.column_names.index(name), name, texts[name])
    return table


def _with_dialect(body: bytes) -> CsvBody:
    """Raises MalformedCsv for a body without a line of names."""
    body = body.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if (for_spreadsheets := SEPARATOR_LINE.match(body)) is not None:
        body = body[for_spreadsheets.end() :]
    head = body[:HEAD].decode(errors="replace")
    time = _time_below_a_title(head)
    names = dialect_of(head, CsvFormat(), Wanted(time)).names
    return CsvBody(body, dialect_of(head, CsvFormat(), Wanted(time, frozenset(names) - {time})))


def _time_below_a_title(head: str) -> str | None:
    """The name of the time in a header that does not come first: many loggers write who they are before it."""
    lines = [line for line in head.splitlines() if line.strip()][:LOOKED_AT]
    separator = max(SEPARATORS, key=lambda sign: sum(line.count(sign) for line in lines))
    fields = [next(csv.reader([line], delimiter=separator), []) for line in lines]
    width = max(map(len, fields))
    if len(fields[0]) == width:
        return None
    headers = [names for names in fields if len(names) == width and not any(map(VALUE.fullmatch, names))]
    return next((name.strip() for names in headers for name in names if TIME_NAMES.search(name)), None)


def cut(error: Exception) -> str:
    return " ".join(str(error).split())[:SHOWN]
