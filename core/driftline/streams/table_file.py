"""One file with rows of a stream: CSV, JSON, Parquet or line protocol, read by its definition's columns. Pure."""

from codecs import BOM_UTF8
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.arrays import Floats, Ints
from driftline.clock import shown
from driftline.errors import InvalidInput
from driftline.streams.bounds import TableBounds
from driftline.streams.data_sections import ColumnSource
from driftline.streams.definition import EVERY_SERIES, ISSUED, SINGLE_KEY, StreamDefinition
from driftline.streams.gridded.rows import gridded
from driftline.streams.reading.bodies import Malformed, RawRows, json_rows, ndjson_rows
from driftline.streams.reading.columns import (
    Refused,
    check_names,
    in_range,
    is_text,
    joined_texts,
    local_times,
    numbers_of_texts,
    times_of_texts,
    times_of_values,
)
from driftline.streams.reading.csv_columns import CsvBody
from driftline.streams.reading.csv_text import Wanted
from driftline.streams.reading.line_protocol import LineReader
from driftline.streams.reading.paths import path_of
from driftline.streams.reading.refusals import Refusal, UnusableError
from driftline.streams.reading.rows import RowReader, from_the_future
from driftline.streams.reading.times import ISO, PER_SECOND, TimeRule
from driftline.streams.reading.values import Decimal, NumberRule
from driftline.streams.rows import Names, Rows, rows_of

SHOWN = 300
"""Characters that an error repeats of what was found."""
YEARS = (1900, 2100)
"""Times lie between them; beyond, what counts nanoseconds begins anew."""
LINES_SUFFIX = ".lp"
"""Of the names of files of line protocol."""
REFUSALS = 1000
"""Rows whose refusals are kept, of a file."""


@dataclass(frozen=True)
class FileContent:
    """What a file holds.

    source: its name in errors. refusals: the first of the rows that can't be used, by their lines, or by their rows
    where `unit` is that; refused: how many they are. ignored: columns that the definition does not name; absent: those
    of the definition that the file lacks. notes: what was found of its format, as sentences.
    """

    source: str
    rows: Rows
    issued: Ints
    """[n] of a file of futures, when each row was issued; else empty."""
    refusals: tuple[Refusal, ...] = ()
    refused: int = 0
    unit: str = "row"
    ignored: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    on_grid: bool = False
    """Whether the rows are records already: an archive or a command has written them."""

    def records(self, stream: StreamDefinition) -> Rows:
        """The rows on the stream's grid, where it has one. Raises InvalidInput where every row was refused."""
        rows = self.rows_or_refusal()
        return rows if stream.grid is None or self.on_grid else gridded(rows, stream)

    def rows_or_refusal(self) -> Rows:
        """Raises InvalidInput where every row was refused."""
        if self.refused and not len(self.rows):
            others = f"; none of its {self.refused} rows can be used" if self.refused > 1 else ""
            raise InvalidInput(f"{self.source}: {self.sentence(self.refusals[0])}{others}")
        return self.rows

    def sentence(self, refusal: Refusal) -> str:
        """Why a row can't be used."""
        column = f" column {refusal.column!r}:" if refusal.column else ""
        return f"{self.unit} {refusal.row}:{column} found {refusal.value}, expected {refusal.expected}"


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

    def of(self, which: npt.NDArray[np.bool_]) -> "_NameColumn":
        return replace(self, numbers=self.numbers[which])


def _constant(name: str, rows: int) -> _NameColumn:
    """The same for every row."""
    return _NameColumn(np.array([name]), np.zeros(rows, np.int64), len(name))


def _numbered(names: Names) -> _NameColumn:
    """names: of each row its own."""
    each_once, numbers = np.unique(names, return_inverse=True)
    return _NameColumn(each_once, numbers, 0)


@dataclass(frozen=True)
class TableFile:
    """A file that is read. Its methods raise InvalidInput, and what Arrow raises."""

    body: bytes
    stream: StreamDefinition
    source: str
    bounds: TableBounds
    dated: bool = False
    """Whether its rows say when they were issued."""
    mapped: bool = False
    """Whether it has the definition's own columns: such a file is used as a whole, or not at all."""
    now: float = 0.0

    @cached_property
    def needed(self) -> list[str]:
        """Columns without which a file has no record."""
        return [*([ISSUED] if self.dated else []), self.stream.time.column, *self._named, self.stream.target]

    @cached_property
    def expected(self) -> list[str]:
        return [*self.needed[:-1], *self.stream.columns]

    @property
    def _named(self) -> list[str]:
        """The columns of keys and groups."""
        return [*([self.stream.key] if self.stream.key else []), *self.stream.group_columns]

    @cached_property
    def paths(self) -> dict[str, str]:
        """By column its name in the file; without those that are constants."""
        paths = {name: path_of(self.stream, name) for name in self.expected}
        return {name: path.text for name, path in paths.items() if path is not None}

    @cached_property
    def wanted(self) -> Wanted:
        """What to look for in a header."""
        numbers = frozenset(self.paths[name] for name in self.stream.columns)
        return Wanted(self.paths[self.stream.time.column], numbers)

    @cached_property
    def times(self) -> TimeRule:
        earliest = datetime(YEARS[0], 1, 1, tzinfo=UTC)
        return TimeRule(self.stream.time, earliest, readings=self.stream.grid is not None)

    def of_parquet(self) -> FileContent:
        file = pq.ParquetFile(pa.BufferReader(self.body))
        metadata = file.metadata
        self._at_most("rows", metadata.num_rows, self.bounds.rows)
        self._at_most("row groups", metadata.num_row_groups, self.bounds.row_groups)
        self._at_most("columns", metadata.num_columns, self.bounds.columns)
        names = file.schema_arrow.names
        columns = self._columns_of(names)
        leaves = [self._leaf(metadata.schema, name) for name in columns]
        groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
        if sum(group.num_rows for group in groups) != metadata.num_rows:
            raise InvalidInput(f"{self.source}: found row groups of other sizes than the footer says")
        packed = sum(group.column(leaf).total_uncompressed_size for group in groups for leaf in leaves)
        self._at_most("unpacked bytes", packed, self.bounds.unpacked)
        self._fits(metadata.num_rows, 0)
        # A key or group that is repeated in all rows lies in memory once.
        repeated = [self.paths[name] for name in self._named if name in self.paths]
        file = pq.ParquetFile(pa.BufferReader(self.body), read_dictionary=repeated)
        table = file.read(columns=columns, use_threads=False)
        return self._content(table, names, ".")

    def _leaf(self, schema: pq.ParquetSchema, name: str) -> int:
        """Where a column stands among all leaves."""
        leaves = [leaf for leaf in range(len(schema.names)) if schema.column(leaf).path == name]
        if len(leaves) != 1 or schema.column(leaves[0]).max_repetition_level:
            raise InvalidInput(f"{self.source}: column {name!r}: found nested values, expected one in a row")
        return leaves[0]

    def of_csv(self) -> FileContent:
        letters = np.frombuffer(self.body, np.uint8)
        breaks = np.flatnonzero((letters == ord("\n")) | (letters == ord("\r")))
        self._at_most("lines", len(breaks), 2 * self.bounds.rows + 2)
        ends = np.concatenate([[-1], breaks, [len(self.body)]])
        self._at_most("bytes in a line", int(np.diff(ends).max()), self.bounds.line)
        csv = CsvBody.of(self.body, self.stream.csv, self.wanted)
        names = list(csv.dialect.names)
        self._at_most("columns", len(names), self.bounds.columns)
        columns = self._columns_of(names)
        try:
            table = csv.table(columns)
        except pa.ArrowException:
            # With the line, if that can be said.
            csv.check()
            raise
        content = self._content(table, names, csv.dialect.decimal)
        lines = csv.lines([refusal.row - 1 for refusal in content.refusals])
        refusals = [
            Refusal(line, refusal.column, refusal.value, refusal.expected)
            for line, refusal in zip(lines, content.refusals, strict=True)
        ]
        notes = (*csv.dialect.notes, *self._unit_notes(csv.dialect.units), *content.notes)
        return replace(content, refusals=tuple(refusals), unit="line", notes=notes)

    def _unit_notes(self, units: Mapping[str, str]) -> Iterator[str]:
        """Where a header names another unit than the definition."""
        for name, source in self.stream.sources.items():
            unit = units.get(self.paths.get(name, ""))
            if source.unit is not None and unit not in {None, "", source.unit} and not source.converts:
                yield f"column {name!r} is in {unit} by the header, and in {source.unit} by the definition"

    def of_json(self) -> FileContent:
        return self._of_rows(json_rows_of(self.body, self.source), self._reader())

    def of_lines(self) -> FileContent:
        """Of line protocol, which does not say in which unit its times are: the definition may."""
        unit = self.stream.time.format
        self._at_most("lines", self.body.count(b"\n"), 2 * self.bounds.rows + 2)
        reader = self._reader()
        lines = LineReader(reader, unit if unit in PER_SECOND else None)
        return self._of_rows(lines.rows(self.body), reader)

    def _reader(self) -> RowReader:
        return RowReader(self.stream, earliest=datetime(YEARS[0], 1, 1, tzinfo=UTC), dated=self.dated)

    def _of_rows(self, raw: RawRows, reader: RowReader) -> FileContent:
        self._at_most("rows", len(raw.rows), self.bounds.rows)
        taken = reader.read(raw.rows, self.now, text=False)
        self._at_most("rows", len(taken.records) + len(taken.refusals), self.bounds.rows)
        # Of rows in a list inside of an object nobody knows the lines.
        lines = {} if self.stream.rows else dict(enumerate(raw.lines, 1))
        refusals = [
            Refusal(lines.get(refusal.row, refusal.row), refusal.column, refusal.value, refusal.expected)
            for refusal in taken.refusals[:REFUSALS]
        ]
        refusals = sorted([*refusals, *raw.broken[:REFUSALS]], key=lambda refusal: refusal.row)[:REFUSALS]
        self._at_most("series", len({record.key for record in taken.records}), self.bounds.keys)
        rows = rows_of(taken.records, self.stream)
        self._has_one_group_a_key(*(_numbered(names) for names in (rows.keys, rows.groups)))
        issued = np.array([record.issued or 0 for record in taken.records], dtype=np.int64)
        ignored, unit = tuple(taken.ignored), "line" if lines or raw.broken else "row"
        notes = (*raw.notes, *reader.guesses)
        refused = len(taken.refusals) + len(raw.broken)
        absent = tuple(name for name, count in taken.absent.items() if count >= len(taken.records) > 0)
        return FileContent(self.source, rows, issued, tuple(refusals), refused, unit, ignored, absent, notes)

    def _columns_of(self, names: Sequence[str]) -> list[str]:
        """The file's names of the columns that are read. Raises InvalidInput where it lacks some that are needed."""
        needed = self.expected if self.mapped else self.needed
        if self.mapped and self.stream.shares:
            # It may have been archived before the stream was added to its source.
            needed = [name for name in self.needed if name != self.stream.target]
        lacking = [name for name in needed if self._lacks(name, names)]
        if lacking:
            problem = f"found no column {self.paths[lacking[0]]!r} among {cut(str(list(names)))}"
            raise InvalidInput(f"{self.source}: {problem}, expected {list(self.paths.values())}")
        day = self.stream.time.date
        if day is not None and day not in names:
            raise InvalidInput(
                f"{self.source}: found no column {day!r} among {cut(str(list(names)))}, expected the day"
            )
        sought = [*self.paths.values(), *([day] if day is not None else [])]
        columns = list(dict.fromkeys(path for path in sought if path in names))
        twice = [name for name in columns if names.count(name) > 1]
        if twice:
            raise InvalidInput(f"{self.source}: found several columns {twice[0]!r}, expected one")
        unknown = [name for name in names if name and name not in columns]
        if unknown and self.stream.unknown == "refuse":
            raise InvalidInput(f"{self.source}: found a column {unknown[0]!r}, expected only {', '.join(columns)}")
        return columns

    def _lacks(self, name: str, names: Collection[str]) -> bool:
        return name in self.paths and self.paths[name] not in names

    def _content(self, table: pa.Table, names: Sequence[str], decimal: Decimal) -> FileContent:
        """What a table has. names: of all columns of the file."""
        self._at_most("rows", table.num_rows, self.bounds.rows)
        stream, refused = self.stream, Refused.none(table.num_rows)
        values = [self._values(table, name, decimal, refused) for name in stream.columns]
        keys, groups = self._keys_and_groups(table, refused)
        t = self._times(table, stream.time.column, keys, refused)
        self._check_ahead(t, refused)
        issued = self._issued(table, t, keys, refused) if self.dated else np.empty(0, np.int64)
        if self.mapped and refused.why:
            (row, error) = refused.first(1)[0]
            raise InvalidInput(f"{self.source}: {_unusable(error, row)}")
        rows = Rows(keys.rows(), t, np.stack(values, axis=1), groups)
        count = int(refused.rows.sum())
        if count:
            rows, issued = rows.take(~refused.rows), issued[~refused.rows] if self.dated else issued
        ignored = tuple(name for name in names if name and name not in table.column_names)
        absent = tuple(name for name in stream.columns if self._lacks(name, names))
        refusals = tuple(error.of_row(row + 1) for row, error in refused.first(REFUSALS))
        return FileContent(
            self.source, rows, issued, refusals, count, "row", ignored, absent, tuple(self.times.guesses.values())
        )

    def _check_ahead(self, t: Ints, refused: Refused) -> None:
        if self.now:
            latest = 1000 * (self.now + self.stream.time.tolerance)
            path = self.paths[self.stream.time.column]
            beyond = np.flatnonzero(t > latest)
            refused.add(beyond, lambda row: from_the_future(path, int(t[row]), self.now, self.stream.time))

    def _values(self, table: pa.Table, name: str, decimal: Decimal, refused: Refused) -> Floats:
        """[n]: NaN missing."""
        if self._lacks(name, table.column_names):
            return np.full(table.num_rows, np.nan)
        column, where = table[self.paths[name]], f"{self.source}: column {name!r}"
        rule = NumberRule.of(self.paths[name], self.stream.sources.get(name, ColumnSource()))
        if pa.types.is_boolean(column.type):
            # As words: what the definition says of true and false is said of those.
            return numbers_of_texts(column.cast(pa.string()), rule, decimal, refused)
        if is_text(column) and (rule.source.text or self._is_csv):
            return numbers_of_texts(column, rule, decimal, refused)
        numbers = _numbers(column, where)
        return numbers if self.mapped else in_range(numbers, rule, refused)

    @property
    def _is_csv(self) -> bool:
        return self.body[:4] != b"PAR1"

    def _times(self, table: pa.Table, name: str, keys: _NameColumn, refused: Refused) -> Ints:
        column, where, path = table[self.paths[name]], f"{self.source}: column {name!r}", self.paths[name]
        if self.stream.time.date is not None and name == self.stream.time.column:
            column = joined_texts(table[self.stream.time.date], column)
        if is_text(column) and (self._is_csv or not self.mapped):
            return times_of_texts(column, path, self.times, keys.numbers, refused)
        if not self.mapped and _is_number(column.type):
            return times_of_values(column.to_pylist(), path, self.times, keys.numbers, refused)
        if not self.mapped and pa.types.is_temporal(column.type) and column.null_count:
            refused.add(np.flatnonzero(column.is_null()), lambda _: UnusableError(path, None, ISO))
            column = _compute().fill_null(column, pa.scalar(0).cast(column.type))
        return _times(column, self.times, where, keys.numbers, refused, path)

    def _issued(self, table: pa.Table, t: Ints, keys: _NameColumn, refused: Refused) -> Ints:
        issued = self._times(table, ISSUED, keys, refused)
        late = np.flatnonzero((issued > t) & ~refused.rows)
        if len(late):
            after, for_time = (shown(int(times[late[0]]) / 1000) for times in (issued, t))
            problem = f"found {after} in row {late[0] + 1}, expected at most {for_time}, the time that it is for"
            raise InvalidInput(f"{self.source}: column {ISSUED!r}: {problem}")
        return issued

    def _keys_and_groups(self, table: pa.Table, refused: Refused) -> tuple[_NameColumn, Names]:
        """The key of each row, and [n] its group; without a column all rows have the same."""
        stream, n = self.stream, table.num_rows
        every = np.broadcast_to(np.array("" if stream.group is None else EVERY_SERIES), n)
        if not stream.key or not n:
            return _constant(SINGLE_KEY, n), every
        keys = self._names(table, stream.key, "key", refused)
        if not stream.group_columns:
            self._fits(n, keys.width)
            return keys, every
        groups = self._names(table, stream.group_columns[0], "group", refused)
        self._fits(n, keys.width + groups.width)
        self._has_one_group_a_key(keys.of(~refused.rows), groups.of(~refused.rows))
        return keys, groups.rows()

    def _names(self, table: pa.Table, name: str, what: str, refused: Refused) -> _NameColumn:
        """At least one row's. what: key or group."""
        if name not in self.paths:
            return _constant(str(self.stream.sources[name].constant), table.num_rows)
        column = table[self.paths[name]]
        if self.mapped and column.null_count:
            raise self._empty(column.null_count, name, what)
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string())
            if self._is_csv:
                column = _compute().utf8_trim_whitespace(column)
            column = column.dictionary_encode()
        encoded = column.unify_dictionaries().combine_chunks()
        texts = encoded.dictionary.cast(pa.string())
        self._at_most("series" if what == "key" else "groups", len(texts), self.bounds.keys)
        longest = int(_compute().max(_compute().utf8_length(texts)).as_py() or 1)
        self._at_most(f"characters in a {what}", longest, self.bounds.key_length)
        # An empty one is the text after all others.
        names = np.asarray([*texts.to_pylist(), ""], dtype=np.str_)
        numbers = _compute().fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False)
        empty = int(np.isin(numbers, np.flatnonzero(names == "")).sum())
        if self.mapped and empty:
            raise self._empty(empty, name, what)
        if not self.mapped:
            check_names(self.paths[name], names, numbers, refused)
        return _NameColumn(names, numbers, longest)

    def _empty(self, count: int, name: str, what: str) -> InvalidInput:
        where = f"{self.source}: column {name!r}"
        return InvalidInput(f"{where}: found {count} empty {what}s, expected a {what} in every row")

    def _has_one_group_a_key(self, keys: _NameColumn, groups: _NameColumn) -> None:
        pairs = np.unique(keys.numbers * np.int64(len(groups.names)) + groups.numbers)
        of_key, of_group = np.divmod(pairs, len(groups.names))
        # Pairs are in the order of keys, so two of one key are neighbours.
        twice = np.flatnonzero(np.diff(of_key) == 0)
        if len(twice):
            key, (one, other) = keys.names[of_key[twice[0]]], groups.names[of_group[twice[0] : twice[0] + 2]]
            where = f"{self.source}: column {self.stream.group_columns[0]!r}"
            problem = f"found groups {cut(repr(str(one)))} and {cut(repr(str(other)))} of key {cut(repr(str(key)))}"
            raise InvalidInput(f"{where}: {problem}, expected one group for a key")

    def _fits(self, rows: int, letters: int) -> None:
        """letters: of the longest key and the longest group, since NumPy keeps all as wide as the longest."""
        width = 8 * (1 + self.dated + len(self.stream.columns)) + 4 * letters
        self._at_most("unpacked bytes", rows * width, self.bounds.unpacked)

    def _at_most(self, what: str, number: int, bound: int) -> None:
        if not 0 <= number <= bound:
            raise InvalidInput(f"{self.source}: found {number} {what}, expected at most {bound}")


def cut(text: str) -> str:
    """As much of it as an error shows."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _lines_of(body: bytes) -> list[int]:
    """The numbers of lines that are not blank."""
    return [number for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]


def is_json(body: bytes) -> bool:
    """By its first sign."""
    return body.removeprefix(BOM_UTF8).lstrip()[:1] in {b"{", b"["}


def json_rows_of(body: bytes, source: str) -> RawRows:
    """An array or an object a line; one object may take several lines."""
    body = body.removeprefix(BOM_UTF8)
    try:
        if body.lstrip()[:1] == b"[":
            return json_rows(body)
        try:
            raw = ndjson_rows(body)
            return raw if raw.lines else RawRows(raw.rows, lines=_lines_of(body))
        except Malformed:
            if not body.rstrip().endswith(b"}") or len(body.splitlines()) == 1 or body.lstrip()[:2].rstrip() != b"{":
                raise
            return json_rows(body)
    except Malformed as error:
        raise InvalidInput(f"{source}: {error}") from error


def _numbers(column: pa.ChunkedArray, where: str) -> Floats:
    try:
        numbers: Floats = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise InvalidInput(f"{where}: found {column.type}, expected numbers: {error}") from error
    return numbers


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _unusable(error: UnusableError, row: int) -> str:
    refusal = error.of_row(row + 1)
    return f"column {refusal.column!r}: found {refusal.value} in row {refusal.row}, expected {refusal.expected}"


def _times(column: pa.ChunkedArray, rule: TimeRule, where: str, keys: Ints, refused: Refused, name: str) -> Ints:
    """Of a column that holds times and no texts."""
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if not pa.types.is_timestamp(column.type):
        raise InvalidInput(f"{where}: found {column.type}, expected times such as 2014-01-01T01:00:00+01:00")
    if column.null_count:
        raise InvalidInput(f"{where}: found {column.null_count} empty times, expected a time in every row")
    _between_years(column, where)
    if column.type.tz is None:
        if rule.zone is None:
            raise InvalidInput(f"{where}: found times without a zone, expected one, or a zone in the stream definition")
        return local_times(column.cast(pa.timestamp("us"), safe=False), name, rule, keys, refused)
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
