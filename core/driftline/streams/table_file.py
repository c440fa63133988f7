"""One file with rows of a stream: CSV, JSON, Parquet or line protocol, read by its definition's columns. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.arrays import Floats
from driftline.errors import InvalidInput
from driftline.streams.bounds import BoundedSource, TableBounds
from driftline.streams.data_sections import ColumnSource
from driftline.streams.definition import ISSUED, StreamDefinition
from driftline.streams.file_content import FileContent, cut
from driftline.streams.json_files import json_rows_of
from driftline.streams.name_columns import NameReader, numbered
from driftline.streams.reading.bodies import RawRows
from driftline.streams.reading.columns import Refused, in_range, is_text, numbers_of_texts
from driftline.streams.reading.csv_columns import CsvBody
from driftline.streams.reading.csv_text import Wanted
from driftline.streams.reading.line_protocol import LineReader
from driftline.streams.reading.paths import path_of
from driftline.streams.reading.refusals import Refusal, UnusableError
from driftline.streams.reading.rows import RowReader
from driftline.streams.reading.times import PER_SECOND, TimeRule
from driftline.streams.reading.values import Decimal, NumberRule
from driftline.streams.rows import Rows, rows_of
from driftline.streams.time_columns import EARLIEST, TimeReader

LINES_SUFFIX = ".lp"
"""Of the names of files of line protocol."""
REFUSALS = 1000
"""Rows whose refusals are kept, of a file."""


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

    @property
    def _limits(self) -> BoundedSource:
        return BoundedSource(self.source, self.bounds)

    @property
    def _width(self) -> int:
        """Bytes of a row's numbers in memory."""
        return 8 * (1 + self.dated + len(self.stream.columns))

    @property
    def _names(self) -> NameReader:
        return NameReader(self.stream, self._limits, self.paths, self._width, self.mapped, self._is_csv)

    @cached_property
    def _times(self) -> TimeReader:
        rule = TimeRule(self.stream.time, EARLIEST, readings=self.stream.grid is not None)
        return TimeReader(self.stream, self.source, self.paths, rule, self.mapped, self._is_csv, self.now)

    def of_parquet(self) -> FileContent:
        file = pq.ParquetFile(pa.BufferReader(self.body))
        metadata = file.metadata
        self._limits.at_most("rows", metadata.num_rows, self.bounds.rows)
        self._limits.at_most("row groups", metadata.num_row_groups, self.bounds.row_groups)
        self._limits.at_most("columns", metadata.num_columns, self.bounds.columns)
        names = file.schema_arrow.names
        columns = self._columns_of(names)
        leaves = [self._leaf(metadata.schema, name) for name in columns]
        groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
        if sum(group.num_rows for group in groups) != metadata.num_rows:
            raise InvalidInput(f"{self.source}: found row groups of other sizes than the footer says")
        packed = sum(group.column(leaf).total_uncompressed_size for group in groups for leaf in leaves)
        self._limits.at_most("unpacked bytes", packed, self.bounds.unpacked)
        self._limits.fits(metadata.num_rows, self._width)
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
        self._limits.at_most("lines", len(breaks), 2 * self.bounds.rows + 2)
        ends = np.concatenate([[-1], breaks, [len(self.body)]])
        self._limits.at_most("bytes in a line", int(np.diff(ends).max()), self.bounds.line)
        csv = CsvBody.of(self.body, self.stream.csv, self.wanted)
        names = list(csv.dialect.names)
        self._limits.at_most("columns", len(names), self.bounds.columns)
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
        self._limits.at_most("lines", self.body.count(b"\n"), 2 * self.bounds.rows + 2)
        reader = self._reader()
        lines = LineReader(reader, unit if unit in PER_SECOND else None)
        return self._of_rows(lines.rows(self.body), reader)

    def _reader(self) -> RowReader:
        return RowReader(self.stream, earliest=EARLIEST, dated=self.dated)

    def _of_rows(self, raw: RawRows, reader: RowReader) -> FileContent:
        self._limits.at_most("rows", len(raw.rows), self.bounds.rows)
        taken = reader.read(raw.rows, self.now, text=False)
        self._limits.at_most("rows", len(taken.records) + len(taken.refusals), self.bounds.rows)
        # Of rows in a list inside of an object nobody knows the lines.
        lines = {} if self.stream.rows else dict(enumerate(raw.lines, 1))
        refusals = [
            Refusal(lines.get(refusal.row, refusal.row), refusal.column, refusal.value, refusal.expected)
            for refusal in taken.refusals[:REFUSALS]
        ]
        refusals = sorted([*refusals, *raw.broken[:REFUSALS]], key=lambda refusal: refusal.row)[:REFUSALS]
        self._limits.at_most("series", len({record.key for record in taken.records}), self.bounds.keys)
        rows = rows_of(taken.records, self.stream)
        self._names.check_groups(*(numbered(names) for names in (rows.keys, rows.groups)))
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
        self._limits.at_most("rows", table.num_rows, self.bounds.rows)
        stream, refused = self.stream, Refused.none(table.num_rows)
        values = [self._values(table, name, decimal, refused) for name in stream.columns]
        keys, groups = self._names.keys_and_groups(table, refused)
        t = self._times.of(table, stream.time.column, keys, refused)
        self._times.check_ahead(t, refused)
        issued = self._times.issued(table, t, keys, refused) if self.dated else np.empty(0, np.int64)
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
            self.source, rows, issued, refusals, count, "row", ignored, absent, tuple(self._times.rule.guesses.values())
        )

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


def _numbers(column: pa.ChunkedArray, where: str) -> Floats:
    try:
        numbers: Floats = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise InvalidInput(f"{where}: found {column.type}, expected numbers: {error}") from error
    return numbers


def _unusable(error: UnusableError, row: int) -> str:
    refusal = error.of_row(row + 1)
    return f"column {refusal.column!r}: found {refusal.value} in row {refusal.row}, expected {refusal.expected}"
