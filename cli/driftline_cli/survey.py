"""A look into a CSV or Parquet file that no definition describes: which columns it has, and of which kind.

Types are found by Arrow, as they are when `driftline.streams.tables` reads the file by a definition. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from driftline.arrays import Floats, Ints
from driftline.errors import InvalidInput
from driftline.streams.data_sections import CsvFormat
from driftline.streams.reading.csv_columns import CsvBody
from driftline.streams.reading.csv_text import HEAD, Wanted, dialect_of

SAMPLES = 200
"""Different texts of a column that are looked at."""
SHOWN = 200
"""Characters of Arrow's own words that an error repeats."""
OTHER_FILES = {
    b"PK\x03\x04": "a workbook or an archive",
    b"\xd0\xcf\x11\xe0": "an old workbook",
    b"\x1f\x8b": "a packed file (gzip)",
    b"\x28\xb5\x2f\xfd": "a packed file (zstd)",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
"""By their first bytes, files that people take for CSV."""
VALUE = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?|\d{4}-\d\d-\d\d.*")
"""What is no column's name but a number or a time."""


@dataclass(frozen=True)
class TimeColumn:
    """t: [n] milliseconds since the epoch, UTC, 0 where it is empty. zone: what the times carry, None for none."""

    name: str
    t: Ints
    zone: str | None
    empty: int


@dataclass(frozen=True)
class NumberColumn:
    """values: [n], NaN missing. whole: of integers, as Arrow found."""

    name: str
    values: Floats
    whole: bool


@dataclass(frozen=True)
class TextColumn:
    """codes: [n] the same number for the same text, -1 where it is empty. distinct: how many different texts."""

    name: str
    codes: Ints
    distinct: int
    samples: tuple[str, ...]


@dataclass(frozen=True)
class OtherColumn:
    """Neither a time nor a number nor text; kind: Arrow's name of it, `null` for a column without any value."""

    name: str
    kind: str


Column = TimeColumn | NumberColumn | TextColumn | OtherColumn


@dataclass(frozen=True)
class Survey:
    """What a file holds. source: its name in errors; names: of all columns."""

    source: str
    rows: int
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def times(self) -> list[TimeColumn]:
        return [column for column in self.columns if isinstance(column, TimeColumn)]

    @property
    def numbers(self) -> list[NumberColumn]:
        return [column for column in self.columns if isinstance(column, NumberColumn)]

    @property
    def texts(self) -> list[TextColumn]:
        return [column for column in self.columns if isinstance(column, TextColumn)]


def survey(body: bytes, source: str, zone: str) -> Survey:
    """Looks at the bytes of a file. zone: that of times that carry none. Raises InvalidInput."""
    table = _parquet(body, source) if body[:4] == b"PAR1" else _csv(body, source)
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise InvalidInput(f"{source}: found several columns {twice[0]!r}, expected each name once")
    columns = [_column(name, table[name], zone) for name in table.column_names]
    return Survey(source, table.num_rows, tuple(columns))


def _parquet(body: bytes, source: str) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(body))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"{source}: a Parquet file that can't be read: {_cut(error)}") from error


def _csv(body: bytes, source: str) -> pa.Table:
    if not body.strip(b"\xef\xbb\xbf\r\n\t ,;"):
        raise InvalidInput(f"{source}: found an empty file, expected a line of column names and records")
    kind = next((kind for start, kind in OTHER_FILES.items() if body.startswith(start)), None)
    if kind is not None:
        raise InvalidInput(f"{source}: found {kind}, expected CSV in UTF-8 or Parquet: save it as one of them")
    try:
        table = _with_dialect(body).typed_table()
        names: list[str] = table.column_names
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{source}: found text that is not UTF-8, expected CSV in UTF-8 or Parquet") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"{source}: neither Parquet nor CSV: {_cut(error)}") from error
    values = [name for name in names if VALUE.fullmatch(name)]
    if values:
        raise InvalidInput(f"{source}: found {values[0]!r} in the first line, expected the columns' names there")
    return table


def _with_dialect(body: bytes) -> CsvBody:
    """Raises MalformedCsv for a body without a line of names, UnicodeDecodeError for names that are not UTF-8."""
    body = body.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    body.splitlines()[0].decode()
    head = body[:HEAD].decode(errors="replace")
    names = dialect_of(head, CsvFormat(), Wanted()).names
    return CsvBody(body, dialect_of(head, CsvFormat(), Wanted(numbers=frozenset(names))))


def _cut(error: Exception) -> str:
    return " ".join(str(error).split())[:SHOWN]


def _column(name: str, column: pa.ChunkedArray, zone: str) -> Column:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _times(name, column, zone)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return NumberColumn(name, column.cast(pa.float64()).to_numpy(), pa.types.is_integer(kind))
    if pa.types.is_decimal(kind):
        return NumberColumn(name, column.cast(pa.float64()).to_numpy(), whole=False)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return _texts(name, column.cast(pa.string()))
    return OtherColumn(name, str(kind))


def _times(name: str, column: pa.ChunkedArray, zone: str) -> TimeColumn:
    own = column.type.tz
    if own is None:
        # As the reader takes them: twice the hour that comes twice, and the next one for the hour that does not exist.
        column = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="latest")
    milliseconds = column.cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64())
    return TimeColumn(name, pc.fill_null(milliseconds, 0).to_numpy(), own, column.null_count)


def _texts(name: str, column: pa.ChunkedArray) -> TextColumn:
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    codes: Any = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    samples: Sequence[str] = encoded.dictionary.slice(0, SAMPLES).to_pylist()
    return TextColumn(name, codes.astype(np.int64), len(encoded.dictionary), tuple(samples))
