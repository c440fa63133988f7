"""Tables of records: CSV and Parquet files with the columns that a stream definition names, in and out.

History files, archived windows and replayed files are all such tables. The only importer of pyarrow beside the archive
of results and the command's survey of files that no definition describes; needs the extra `tables`.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from driftline.arrays import Floats, Ints
from driftline.clock import shown
from driftline.errors import InvalidInput
from driftline.streams.bounds import NONE, TableBounds
from driftline.streams.definition import EVERY_SERIES, ISSUED, SINGLE_KEY, StreamDefinition

SHOWN = 300
"""Characters that an error repeats of what was found."""
YEARS = (1900, 2100)
"""Times lie between them; beyond, what counts nanoseconds begins anew."""
ENCODED_AT_ONCE = 1_000_000
"""Keys that are sorted at once."""
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

Names = npt.NDArray[np.str_]
"""[n] keys or groups."""


def _nobody() -> Names:
    return np.empty(0, np.str_)


@dataclass(frozen=True)
class FutureRows:
    """Futures of any keys in the table's order. values: [n, futures] as `StreamDefinition.futures`, NaN missing."""

    keys: Names
    issued: Ints
    """[n] milliseconds since the epoch, UTC: when the values were issued ..."""
    t: Ints
    """... and the time that they are for."""
    values: Floats

    @classmethod
    def empty(cls, futures: int = 0) -> "FutureRows":
        """futures: columns."""
        none = np.empty(0, np.int64)
        return cls(_nobody(), none, none, np.empty((0, futures)))

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: npt.NDArray[np.bool_] | Ints) -> "FutureRows":
        return FutureRows(self.keys[which], self.issued[which], self.t[which], self.values[which])

    def by_key(self) -> "dict[str, FutureRows]":
        """Per key its rows in the table's order."""
        if not len(self):
            return {}
        names, codes = _encode(self.keys)
        together = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        parts = np.split(together, ends[:-1])
        return {str(name): self.take(places) for name, places in zip(names, parts, strict=True)}


@dataclass(frozen=True)
class Rows:
    """Records of any keys in the table's order. values: [n, columns] as `StreamDefinition.columns`, NaN missing."""

    keys: Names
    t: Ints
    """[n] milliseconds since the epoch, UTC."""
    values: Floats
    groups: Names = field(default_factory=_nobody)
    """[n] the group of each row's series; "" where the stream has no groups, which is how they are if none are given.
    A key may have different ones until `in_newest_groups`."""
    futures: FutureRows = field(default_factory=FutureRows.empty)
    """What was known ahead, of these keys and others: part of the rows share all of it."""

    def __post_init__(self) -> None:
        if not len(self.groups):
            # All rows share one "", so that streams without groups pay no memory for them.
            object.__setattr__(self, "groups", np.broadcast_to(np.array(""), len(self.t)))

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: npt.NDArray[np.bool_] | Ints | slice) -> "Rows":
        return Rows(self.keys[which], self.t[which], self.values[which], self.groups[which], self.futures)

    def with_futures(self, parts: "list[FutureRows]") -> "Rows":
        """Together with these futures, which follow those that there are."""
        return Rows(self.keys, self.t, self.values, self.groups, _joined_futures([self.futures, *parts]))

    def by_key(self) -> dict[str, "Rows"]:
        """Per key its rows in order of time, a repeated time once: the first row that has the target, or the first."""
        return {key: self.take(places) for key, places in self.series()}

    def series(self) -> Iterator[tuple[str, Ints]]:
        """As `by_key`, one key after the other, by the places of its rows: a long history lies in memory once."""
        names, codes = _encode(self.keys)
        together = np.argsort(codes, kind="stable")
        ends = np.cumsum(np.bincount(codes, minlength=len(names)))
        del codes
        for name, places in zip(names, np.split(together, ends[:-1]), strict=False):
            yield str(name), places[_each_time_once(self.take(places))]

    def steps(self) -> Ints:
        """Milliseconds from each record to the next of its series."""
        return np.concatenate([np.diff(self.t[places]) for _, places in self.series()] or [np.empty(0, np.int64)])

    def with_short_keys(self) -> "Rows":
        """With numbers, in the keys' order, as keys: NumPy keeps every key as wide as the longest."""
        names, codes = _encode(self.keys)
        width = len(str(len(names)))
        numbers = np.array([f"{n:0{width}}" for n in range(len(names))], dtype=np.str_)
        return Rows(numbers[codes], self.t, self.values, self.groups, self._short_futures(names, numbers))

    def _short_futures(self, names: Names, numbers: Names) -> FutureRows:
        """The futures of these keys, under their numbers. names: in order."""
        if not len(self.futures):
            return self.futures
        futures = self.futures.take(np.isin(self.futures.keys, names))
        return replace(futures, keys=numbers[np.searchsorted(names, futures.keys)])

    def in_newest_groups(self) -> "Rows":
        """Without the rows that a series has from a group before its newest one: its neighbours were others then."""
        if not self.groups.any():
            return self
        names, which = _encode(self.keys)
        newest = np.empty(len(names), dtype=np.int64)
        in_time = np.argsort(self.t, kind="stable")
        # Of several writes to one place the last stays, which is the newest row of the key.
        newest[which[in_time]] = in_time
        same: npt.NDArray[np.bool_] = self.groups == self.groups[newest[which]]
        return self if bool(same.all()) else self.take(same)


def _encode(keys: npt.NDArray[np.str_]) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.int32]]:
    """The names in order, and which of them each key is. Part by part: to sort all takes several times their memory."""
    parts = [keys[start : start + ENCODED_AT_ONCE] for start in range(0, len(keys), ENCODED_AT_ONCE)]
    names = np.unique(np.concatenate([np.unique(part) for part in parts])) if parts else keys
    codes = [np.searchsorted(names, part).astype(np.int32) for part in parts]
    return names, np.concatenate(codes) if codes else np.empty(0, np.int32)


def _each_time_once(rows: Rows) -> Ints:
    order = np.lexsort((np.isnan(rows.values[:, 0]), rows.t))
    places: Ints = order[np.unique(rows.t[order], return_index=True)[1]]
    return places


def concatenate(parts: list[Rows]) -> Rows:
    """All parts, one after the other; at least one."""
    return Rows(
        np.concatenate([p.keys for p in parts]),
        np.concatenate([p.t for p in parts]),
        np.concatenate([p.values for p in parts]),
        np.concatenate([p.groups for p in parts]),
        _joined_futures([p.futures for p in parts]),
    )


def _joined_futures(parts: list[FutureRows]) -> FutureRows:
    # Parts of one table share their futures.
    parts = [part for n, part in enumerate(parts) if len(part) and not any(part is other for other in parts[:n])]
    if not parts:
        return FutureRows.empty()
    return FutureRows(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(FutureRows)))


def read_file(path: Path, stream: StreamDefinition) -> Rows:
    """The records in a .csv or .parquet file. Raises InvalidInput naming file, column, found and expected."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror}") from error
    return decode(body, stream, str(path))


def decode(body: bytes, stream: StreamDefinition, source: str, bounds: TableBounds = NONE) -> Rows:
    """The records in the bytes of a Parquet file, or else of a CSV file. Raises InvalidInput, MemoryError.

    bounds: held against what the file says of itself before it is unpacked.
    """
    file = _File(body, stream, source, bounds)
    try:
        return file.rows(file.parquet() if body[:4] == b"PAR1" else file.csv())
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        # Of a broken page the decompressor says what the system would say of a disk.
        raise InvalidInput(f"{source}: neither Parquet nor CSV: {_cut(str(error))}") from error


def decode_futures(body: bytes, stream: StreamDefinition, source: str, bounds: TableBounds = NONE) -> FutureRows:
    """The same of a table of futures: its columns are `issued`, those of time and key, and the stream's futures."""
    names = list(stream.futures)
    of_futures = stream.model_copy(
        update={"target": names[0], "features": dict.fromkeys(names[1:], "level"), "group": None}
    )
    file = _File(body, of_futures, source, bounds, dated=True)
    try:
        return file.futures(file.parquet() if body[:4] == b"PAR1" else file.csv())
    except MemoryError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"{source}: neither Parquet nor CSV: {_cut(str(error))}") from error


@dataclass(frozen=True)
class _NameColumn:
    """Keys or groups as they lie in a file: each once, and for each row its number among them. width: characters of the
    longest."""

    names: Names
    numbers: Ints
    width: int

    def rows(self) -> Names:
        """[n]: NumPy keeps every one as wide as the longest."""
        names: Names = self.names[self.numbers]
        return names


@dataclass(frozen=True)
class _File:
    """A file that is read. Its methods raise InvalidInput, and what Arrow raises."""

    body: bytes
    stream: StreamDefinition
    source: str
    bounds: TableBounds
    dated: bool = False
    """Whether its rows say when they were issued."""

    @property
    def expected(self) -> list[str]:
        return [*([ISSUED] if self.dated else []), self.stream.time.column, *self._named, *self.stream.columns]

    @property
    def _named(self) -> list[str]:
        """The columns of keys and groups."""
        return [*([self.stream.key] if self.stream.key else []), *self.stream.group_columns]

    def parquet(self) -> pa.Table:
        file = pq.ParquetFile(pa.BufferReader(self.body))
        metadata = file.metadata
        self._at_most("rows", metadata.num_rows, self.bounds.rows)
        self._at_most("row groups", metadata.num_row_groups, self.bounds.row_groups)
        self._at_most("columns", metadata.num_columns, self.bounds.columns)
        self._has_columns(file.schema_arrow.names)
        leaves = [self._leaf(metadata.schema, name) for name in self.expected]
        groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
        if sum(group.num_rows for group in groups) != metadata.num_rows:
            raise InvalidInput(f"{self.source}: found row groups of other sizes than the footer says")
        packed = sum(group.column(leaf).total_uncompressed_size for group in groups for leaf in leaves)
        self._at_most("unpacked bytes", packed, self.bounds.unpacked)
        self._fits(metadata.num_rows, 0)
        # A key or group that is repeated in all rows lies in memory once.
        file = pq.ParquetFile(pa.BufferReader(self.body), read_dictionary=self._named)
        return file.read(columns=self.expected, use_threads=False)

    def _leaf(self, schema: pq.ParquetSchema, name: str) -> int:
        """Where a column stands among all leaves."""
        leaves = [leaf for leaf in range(len(schema.names)) if schema.column(leaf).path == name]
        if len(leaves) != 1 or schema.column(leaves[0]).max_repetition_level:
            raise InvalidInput(f"{self.source}: column {name!r}: found nested values, expected one in a row")
        return leaves[0]

    def csv(self) -> pa.Table:
        letters = np.frombuffer(self.body, np.uint8)
        breaks = np.flatnonzero((letters == ord("\n")) | (letters == ord("\r")))
        self._at_most("lines", len(breaks), 2 * self.bounds.rows + 2)
        ends = np.concatenate([[-1], breaks, [len(self.body)]])
        self._at_most("bytes in a line", int(np.diff(ends).max()), self.bounds.line)
        with pcsv.open_csv(pa.BufferReader(self.body)) as head:
            names = head.schema.names
        self._at_most("columns", len(names), self.bounds.columns)
        self._has_columns(names)
        options = pcsv.ConvertOptions(include_columns=self.expected)
        return pcsv.read_csv(pa.BufferReader(self.body), convert_options=options)

    def rows(self, table: pa.Table) -> Rows:
        self._at_most("rows", table.num_rows, self.bounds.rows)
        stream = self.stream
        keys, groups = self._keys_and_groups(table)
        values = [_numbers(table[name], f"{self.source}: column {name!r}") for name in stream.columns]
        time = stream.time.column
        t = _times(table[time], stream, f"{self.source}: column {time!r}")
        return Rows(keys, t, np.stack(values, axis=1), groups)

    def futures(self, table: pa.Table) -> FutureRows:
        rows = self.rows(table)
        issued = _times(table[ISSUED], self.stream, f"{self.source}: column {ISSUED!r}")
        late = np.flatnonzero(issued > rows.t)
        if len(late):
            after, t = (shown(int(times[late[0]]) / 1000) for times in (issued, rows.t))
            problem = f"found {after} in row {late[0] + 1}, expected at most {t}, the time that it is for"
            raise InvalidInput(f"{self.source}: column {ISSUED!r}: {problem}")
        return FutureRows(rows.keys, issued, rows.t, rows.values)

    def _keys_and_groups(self, table: pa.Table) -> tuple[Names, Names]:
        """[n] each; without a column all rows have the same."""
        stream, n = self.stream, table.num_rows
        every = np.broadcast_to(np.array("" if stream.group is None else EVERY_SERIES), n)
        if not stream.key or not n:
            return np.full(n, SINGLE_KEY), every
        keys = self._names(table[stream.key], stream.key, "key")
        if not stream.group_columns:
            self._fits(n, keys.width)
            return keys.rows(), every
        groups = self._names(table[stream.group_columns[0]], stream.group_columns[0], "group")
        self._fits(n, keys.width + groups.width)
        self._has_one_group_a_key(keys, groups)
        return keys.rows(), groups.rows()

    def _names(self, column: pa.ChunkedArray, name: str, what: str) -> _NameColumn:
        """At least one row's. what: key or group."""
        self._has_no_empty(column.null_count, name, what)
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        encoded = column.unify_dictionaries().combine_chunks()
        texts = encoded.dictionary.cast(pa.string())
        self._at_most("series" if what == "key" else "groups", len(texts), self.bounds.keys)
        longest = int(_compute().max(_compute().utf8_length(texts)).as_py() or 1)
        self._at_most(f"characters in a {what}", longest, self.bounds.key_length)
        names, numbers = np.asarray(texts.to_pylist(), dtype=np.str_), encoded.indices.to_numpy()
        self._has_no_empty(int(np.isin(numbers, np.flatnonzero(names == "")).sum()), name, what)
        return _NameColumn(names, numbers, longest)

    def _has_no_empty(self, count: int, name: str, what: str) -> None:
        if count:
            where = f"{self.source}: column {name!r}"
            raise InvalidInput(f"{where}: found {count} empty {what}s, expected a {what} in every row")

    def _has_one_group_a_key(self, keys: _NameColumn, groups: _NameColumn) -> None:
        pairs = np.unique(keys.numbers * np.int64(len(groups.names)) + groups.numbers)
        of_key, of_group = np.divmod(pairs, len(groups.names))
        # Pairs are in the order of keys, so two of one key are neighbours.
        twice = np.flatnonzero(np.diff(of_key) == 0)
        if len(twice):
            key, (one, other) = keys.names[of_key[twice[0]]], groups.names[of_group[twice[0] : twice[0] + 2]]
            where = f"{self.source}: column {self.stream.group_columns[0]!r}"
            problem = f"found groups {_cut(repr(str(one)))} and {_cut(repr(str(other)))} of key {_cut(repr(str(key)))}"
            raise InvalidInput(f"{where}: {problem}, expected one group for a key")

    def _has_columns(self, names: list[str]) -> None:
        missing = [name for name in self.expected if name not in names]
        if missing:
            problem = f"found no column {missing[0]!r} among {_cut(str(names))}"
            raise InvalidInput(f"{self.source}: {problem}, expected {self.expected}")
        twice = [name for name in self.expected if names.count(name) > 1]
        if twice:
            raise InvalidInput(f"{self.source}: found several columns {twice[0]!r}, expected one")

    def _fits(self, rows: int, letters: int) -> None:
        """letters: of the longest key and the longest group, since NumPy keeps all as wide as the longest."""
        width = 8 * (1 + self.dated + len(self.stream.columns)) + 4 * letters
        self._at_most("unpacked bytes", rows * width, self.bounds.unpacked)

    def _at_most(self, what: str, number: int, bound: int) -> None:
        if not 0 <= number <= bound:
            raise InvalidInput(f"{self.source}: found {number} {what}, expected at most {bound}")


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def encode(rows: Rows, stream: StreamDefinition) -> bytes:
    """A Parquet file with the stream's own column names, which `decode` reads again."""
    columns: dict[str, pa.Array] = {stream.time.column: pa.array(rows.t, pa.timestamp("ms", tz="UTC"))}
    if stream.key:
        columns[stream.key] = pa.array(rows.keys.tolist(), pa.string())
    for name in stream.group_columns:
        columns[name] = pa.array(rows.groups.tolist(), pa.string())
    for index, name in enumerate(stream.columns):
        columns[name] = pa.array(rows.values[:, index], pa.float64(), from_pandas=True)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def encode_futures(futures: FutureRows, stream: StreamDefinition) -> bytes:
    """A Parquet file of futures, which `decode_futures` reads again."""
    columns: dict[str, pa.Array] = {
        ISSUED: pa.array(futures.issued, pa.timestamp("ms", tz="UTC")),
        stream.time.column: pa.array(futures.t, pa.timestamp("ms", tz="UTC")),
    }
    if stream.key:
        columns[stream.key] = pa.array(futures.keys.tolist(), pa.string())
    for index, name in enumerate(stream.futures):
        columns[name] = pa.array(futures.values[:, index], pa.float64(), from_pandas=True)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def _numbers(column: pa.ChunkedArray, where: str) -> Floats:
    try:
        numbers: Floats = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise InvalidInput(f"{where}: found {column.type}, expected numbers: {error}") from error
    return numbers


def _times(column: pa.ChunkedArray, stream: StreamDefinition, where: str) -> Ints:
    if not pa.types.is_timestamp(column.type):
        raise InvalidInput(f"{where}: found {column.type}, expected times such as 2014-01-01T01:00:00+01:00")
    if column.null_count:
        raise InvalidInput(f"{where}: found {column.null_count} empty times, expected a time in every row")
    _between_years(column, where)
    if column.type.tz is None:
        if stream.time.zone == "required":
            raise InvalidInput(f"{where}: found times without a zone, expected one, or a zone in the stream definition")
        column = _compute().assume_timezone(column, stream.time.zone, ambiguous="earliest", nonexistent="latest")
    milliseconds: Ints = column.cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64()).to_numpy()
    return milliseconds


def _between_years(column: pa.ChunkedArray, where: str) -> None:
    """Raises InvalidInput for a time that can't be meant, and might not fit into milliseconds."""
    if not len(column):
        return
    ends = _compute().min_max(column.cast(pa.int64()))
    first, last = (ends[name].as_py() // PER_SECOND[column.type.unit] for name in ("min", "max"))
    earliest, latest = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in YEARS)
    if first < earliest or last >= latest:
        problem = f"found times from {first} to {last} seconds since 1970"
        raise InvalidInput(f"{where}: {problem}, expected times between the years {YEARS[0]} and {YEARS[1]}")


def _compute() -> Any:
    import pyarrow.compute as pc  # noqa: PLC0415 - 9 MB that ingest, which only writes, does without

    return pc
