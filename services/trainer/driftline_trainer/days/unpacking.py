"""What the unpacking child does with windows and day files: it makes day files of windows, and reads parts of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.arrays import Floats, Ints
from driftline.errors import InvalidInput
from driftline.store.days import DayName
from driftline.streams.definition import SINGLE_KEY, StreamDefinition
from driftline.streams.rows import Rows, concatenate, encoded
from driftline.streams.tables import examine
from driftline_trainer.days.sampling import Sampling
from driftline_trainer.days.table import (
    STAMP,
    DayTable,
    check_types,
    coded,
    coded_or,
    decode,
    encode,
    joined,
    opened,
    whole_of,
)
from driftline_trainer.unpacking import Means, Packed, check, guarded


def unpack_window(stamp: int, packed: Packed, means: Means) -> DayTable:
    """A window as rows of day files. stamp: see `driftline_trainer.days.uniting`. Raises InvalidInput."""
    with guarded(packed, means):
        stream = packed.stream
        content = examine(packed.body, stream, packed.source, means.bounds, mapped=True)
        rows = content.rows_or_refusal()
        check(rows, stream.columns, packed)
        names, codes = encoded(rows.keys)
        others = _others(packed.body, stream, content.ignored)
        return DayTable(
            names,
            codes.astype(np.int64),
            rows.t,
            np.full(len(rows), stamp),
            rows.groups.astype(object),
            (*stream.columns, *others),
            np.concatenate([rows.values, *(values[:, None] for values in others.values())], axis=1),
        )


def _others(body: bytes, stream: StreamDefinition, ignored: tuple[str, ...]) -> dict[str, Floats]:
    """The columns that no stream has any more: a stream that was taken away may come back."""
    if body[:4] != b"PAR1":
        return {}
    file = pq.ParquetFile(pa.BufferReader(body))
    kept = [name for name in ignored if name != STAMP and name in file.schema_arrow.names and _is_number(file, name)]
    table = file.read(columns=kept, use_threads=False)
    return {name: table[name].to_numpy() for name in kept if name not in stream.columns}


def _is_number(file: pq.ParquetFile, name: str) -> bool:
    return bool(file.schema_arrow.field(name).type == pa.float64())


@dataclass(frozen=True)
class Merged:
    """body: the day file with the new rows in it; None where it had them all. fits: False where they are too many for
    one file, which then stays as it is."""

    body: bytes | None
    fits: bool = True


def merge(new: DayTable, most: int, packed: Packed, means: Means) -> Merged:
    """Takes rows of one day into a day file. packed: the file as it is, without a body where there is none. most: bytes
    of its rows in memory. Raises InvalidInput for a file that can't be used."""
    with guarded(packed, means):
        if not packed.body:
            return Merged(encode(new.united(), packed.stream))
        old = decode(packed.body, packed.stream, packed.source, means.bounds)
        both = joined([old, new]).united()
        if both.same(old):
            return Merged(None)
        if both.size > most:
            return Merged(None, fits=False)
        return Merged(encode(both, packed.stream))


@dataclass(frozen=True)
class DaySlice:
    """Which rows of a day file are wanted. since: milliseconds, the first time."""

    name: DayName
    sampling: Sampling
    since: int | None = None


@dataclass(frozen=True)
class DayRows:
    """What a slice has, with the stamp of each row. total: rows of the file."""

    rows: Rows
    stamps: Ints
    total: int


def unpack_day(wanted: DaySlice, packed: Packed, means: Means) -> DayRows:
    """Those columns of a day file that the stream has, of those row groups that may have rows that are wanted; one row
    group lies in memory at a time. Raises InvalidInput."""
    with guarded(packed, means):
        stream, file = packed.stream, opened(packed.body, packed.source, means.bounds)
        named = [stream.time.column, STAMP, *([stream.key] if stream.key else []), *stream.group_columns]
        columns = _columns(file, stream, packed.source)
        fields = [field for field in file.schema_arrow if field.name in {*named, *columns}]
        check_types(pa.schema(fields), named, stream, packed.source)
        parts = list(_parts(file, [*named, *columns], wanted, packed, means.bounds.key_length))
        if not parts:
            return DayRows(_empty(stream), np.empty(0, np.int64), file.metadata.num_rows)
        stamps = np.concatenate([stamps for _, stamps in parts])
        return DayRows(concatenate([rows for rows, _ in parts]), stamps, file.metadata.num_rows)


def _columns(file: pq.ParquetFile, stream: StreamDefinition, source: str) -> list[str]:
    """Those of the stream. As with windows, a file of a source may be older than a stream of it."""
    names = file.schema_arrow.names
    lacking = [] if stream.shares else [name for name in stream.columns if name not in names]
    if lacking:
        raise InvalidInput(f"{source}: found no column {lacking[0]!r}, expected {list(stream.columns)}")
    return [name for name in stream.columns if name in names]


def _parts(
    file: pq.ParquetFile, columns: list[str], wanted: DaySlice, packed: Packed, longest: int
) -> Iterator[tuple[Rows, Ints]]:
    stream = packed.stream
    for n in range(file.metadata.num_row_groups):
        if stream.key and not _is_wanted(file, n, wanted, stream.key, packed.source, longest):
            continue
        table = file.read_row_group(n, columns=columns, use_threads=False)
        rows, stamps = _rows(table, stream, packed.source, longest)
        if bool(((rows.t < wanted.name.begins) | (rows.t >= wanted.name.ends)).any()):
            raise InvalidInput(f"{packed.source}: found rows of another day, expected those of {wanted.name.day}")
        taken = wanted.sampling.takes(rows)
        if wanted.since is not None:
            taken &= rows.t >= wanted.since
        if bool(taken.any()):
            some = rows.take(taken)
            check(some, stream.columns, packed)
            yield some, stamps[taken]


def _is_wanted(file: pq.ParquetFile, n: int, wanted: DaySlice, key: str, source: str, longest: int) -> bool:
    """Whether a row group may have rows of the sample: its keys are read first, and alone."""
    if not wanted.sampling.level or wanted.sampling.grouped:
        return True
    names, _ = coded(file.read_row_group(n, columns=[key], use_threads=False), key, source, longest)
    return wanted.sampling.takes_any(names, wanted.name.begins, wanted.name.ends - 1)


def _rows(table: pa.Table, stream: StreamDefinition, source: str, longest: int) -> tuple[Rows, Ints]:
    keys, of_keys = coded_or(table, stream.key, SINGLE_KEY, source, longest)
    groups, of_groups = coded_or(table, next(iter(stream.group_columns), None), "", source, longest)
    t, stamps = whole_of(table, stream.time.column, source), whole_of(table, STAMP, source)
    values = [
        table[name].to_numpy() if name in table.column_names else np.full(len(table), np.nan) for name in stream.columns
    ]
    return Rows(keys[of_keys], t, np.stack(values, axis=1), groups[of_groups]), stamps


def _empty(stream: StreamDefinition) -> Rows:
    none = np.empty(0, np.int64)
    return Rows(np.empty(0, np.str_), none, np.empty((0, len(stream.columns))))
