"""Day files in memory and as bytes: rows of many series, each with its stamp. Runs in the child that unpacks.

A day file has the columns of its windows under their names and one more, STAMP. Its rows are in order of key and time,
in row groups of ROW_GROUP, so that who wants some columns or some series reads no others.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.arrays import Floats, Ints, Mask
from driftline.errors import InvalidInput
from driftline.streams.bounds import TableBounds
from driftline.streams.definition import SINGLE_KEY, StreamDefinition
from driftline.streams.rows import Names
from driftline.streams.tables import MAPPED, MARK
from driftline_trainer.days.uniting import unite

STAMP = "driftline_window"
"""The column that says which window a row came with; see `driftline_trainer.days.uniting`."""
ROW_GROUP = 32_768
"""Rows: of 10,000 series in an hour's step those of 1,365 series."""


Groups = npt.NDArray[np.object_]


@dataclass(frozen=True)
class DayTable:
    """names: of the series in order; codes: [n] of each row its series; groups: [n], of which each lies in memory once;
    values: [n, columns], NaN missing."""

    names: Names
    codes: Ints
    t: Ints
    stamps: Ints
    groups: Groups
    columns: tuple[str, ...]
    values: Floats

    def __len__(self) -> int:
        return len(self.t)

    @property
    def size(self) -> int:
        """Bytes that its rows take in memory, more or less."""
        return size_of(len(self), len(self.columns))

    def take(self, which: Mask | Ints) -> "DayTable":
        return replace(
            self,
            codes=self.codes[which],
            t=self.t[which],
            stamps=self.stamps[which],
            groups=self.groups[which],
            values=self.values[which],
        )

    def united(self) -> "DayTable":
        """In order of key and time, each time of a series once."""
        united = unite(self.codes, self.t, self.stamps, self.values)
        return replace(self.take(united.places), values=united.values)

    def same(self, other: "DayTable") -> bool:
        """Whether both are the same, when they are united."""
        pairs = [(self.t, other.t), (self.stamps, other.stamps), (self.groups, other.groups)]
        pairs += [(self.names.astype(object)[self.codes], other.names.astype(object)[other.codes])]
        return (
            self.columns == other.columns
            and all(np.array_equal(one, two) for one, two in pairs)
            and np.array_equal(self.values, other.values, equal_nan=True)
        )


def size_of(rows: int, columns: int) -> int:
    """Bytes of so many rows in memory: code, time, stamp and values; a key lies there once."""
    return rows * 8 * (3 + columns)


def joined(tables: Sequence[DayTable]) -> DayTable:
    """All rows of at least one table, with all their columns."""
    columns = tuple(dict.fromkeys(name for table in tables for name in table.columns))
    names = np.unique(np.concatenate([table.names for table in tables]))
    codes = [np.searchsorted(names, table.names)[table.codes] for table in tables]
    return DayTable(
        names,
        np.concatenate(codes),
        np.concatenate([table.t for table in tables]),
        np.concatenate([table.stamps for table in tables]),
        np.concatenate([table.groups for table in tables]),
        columns,
        np.concatenate([_widened(table, columns) for table in tables]),
    )


def _widened(table: DayTable, columns: tuple[str, ...]) -> Floats:
    values = np.full((len(table), len(columns)), np.nan)
    values[:, [columns.index(name) for name in table.columns]] = table.values
    return values


def encode(table: DayTable, stream: StreamDefinition) -> bytes:
    """table: united. stream: of the source."""
    columns: dict[str, pa.Array] = {stream.time.column: pa.array(table.t, pa.timestamp("ms", tz="UTC"))}
    if stream.key:
        keys = pa.DictionaryArray.from_arrays(pa.array(table.codes, pa.int32()), pa.array(table.names.tolist()))
        columns[stream.key] = keys.cast(pa.string())
    for name in stream.group_columns:
        columns[name] = pa.array(table.groups.tolist(), pa.string())
    for index, name in enumerate(table.columns):
        columns[name] = pa.array(table.values[:, index], pa.float64(), from_pandas=True)
    columns[STAMP] = pa.array(table.stamps, pa.int64())
    sink = io.BytesIO()
    content = pa.table(columns, metadata={MARK: MAPPED})
    pq.write_table(content, sink, compression="zstd", row_group_size=ROW_GROUP)
    return sink.getvalue()


def opened(body: bytes, source: str, bounds: TableBounds) -> pq.ParquetFile:
    """Of a file whose footer keeps the bounds. Raises InvalidInput, and what Arrow raises."""
    file = pq.ParquetFile(pa.BufferReader(body))
    metadata = file.metadata
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    counts = (
        ("rows", metadata.num_rows, bounds.rows),
        ("row groups", len(groups), bounds.row_groups),
        ("columns", metadata.num_columns, bounds.columns),
        ("unpacked bytes", sum(group.total_byte_size for group in groups), bounds.unpacked),
        ("unpacked bytes", size_of(metadata.num_rows, metadata.num_columns), bounds.unpacked),
    )
    for what, number, bound in counts:
        if not 0 <= number <= bound:
            raise InvalidInput(f"{source}: found {number} {what}, expected at most {bound}")
    if sum(group.num_rows for group in groups) != metadata.num_rows:
        raise InvalidInput(f"{source}: found row groups of other sizes than the footer says")
    return file


def decode(body: bytes, stream: StreamDefinition, source: str, bounds: TableBounds) -> DayTable:
    """All that a day file holds. Raises InvalidInput, and what Arrow raises."""
    file = opened(body, source, bounds)
    named = [stream.time.column, STAMP, *([stream.key] if stream.key else []), *stream.group_columns]
    check_types(file.schema_arrow, named, stream, source)
    columns = tuple(name for name in file.schema_arrow.names if name not in named)
    table = file.read(use_threads=False)
    names, codes = coded_or(table, stream.key, SINGLE_KEY, source, bounds.key_length)
    grouping = stream.group_columns[0] if stream.group_columns else None
    groups, of_groups = coded_or(table, grouping, "", source, bounds.key_length)
    return DayTable(
        names,
        codes,
        whole_of(table, stream.time.column, source),
        whole_of(table, STAMP, source),
        groups.astype(object)[of_groups],
        columns,
        np.stack([table[name].to_numpy() for name in columns], axis=1) if columns else np.empty((len(table), 0)),
    )


def coded_or(table: pa.Table, name: str | None, only: str, source: str, longest: int) -> tuple[Names, Ints]:
    """As `coded`; `only` where there is no such column."""
    if name is None:
        return np.array([only]), np.zeros(len(table), np.int64)
    return coded(table, name, source, longest)


def check_types(schema: pa.Schema, named: Sequence[str], stream: StreamDefinition, source: str) -> None:
    """Raises InvalidInput for a file that no trainer wrote for a source as it is defined now."""
    if len(set(schema.names)) != len(schema.names):
        raise InvalidInput(f"{source}: found columns {schema.names[:20]}, expected each once")
    for name in named:
        if name not in schema.names:
            raise InvalidInput(f"{source}: found no column {name!r}, expected one in every day file")
    expected = {stream.time.column: pa.timestamp("ms", tz="UTC"), STAMP: pa.int64()}
    for field in schema:
        kind = expected.get(field.name, pa.string() if field.name in named else pa.float64())
        if field.type != kind:
            raise InvalidInput(f"{source}: column {field.name!r}: found {field.type}, expected {kind}")


def coded(table: pa.Table, name: str, source: str, longest: int) -> tuple[Names, Ints]:
    """The names of a column in order, and which of them each row has. longest: characters of one. Raises
    InvalidInput."""
    column = table[name]
    if column.null_count:
        raise InvalidInput(f"{source}: column {name!r}: found {column.null_count} empty names, expected none")
    encoding = column.dictionary_encode().unify_dictionaries().combine_chunks()
    texts = encoding.dictionary.to_pylist()
    if any(not 0 < len(text) <= longest for text in texts):
        length = max(map(len, texts))
        raise InvalidInput(f"{source}: column {name!r}: found {length} characters, expected at most {longest}")
    # Each name once: NumPy keeps every one as wide as the longest.
    names, places = np.unique(np.asarray(texts, dtype=np.str_), return_inverse=True)
    codes: Ints = places.astype(np.int64)[encoding.indices.to_numpy()] if len(texts) else np.empty(0, np.int64)
    return names, codes


def whole_of(table: pa.Table, name: str, source: str) -> Ints:
    """Numbers, or times in milliseconds. Raises InvalidInput."""
    if table[name].null_count:
        raise InvalidInput(f"{source}: column {name!r}: found {table[name].null_count} empty ones, expected none")
    numbers: Ints = table[name].cast(pa.int64()).to_numpy()
    return numbers
