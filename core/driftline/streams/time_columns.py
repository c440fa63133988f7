"""The columns of times in a file. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from driftline.arrays import Ints
from driftline.clock import shown
from driftline.errors import InvalidInput
from driftline.streams.definition import ISSUED, StreamDefinition
from driftline.streams.name_columns import NameColumn
from driftline.streams.reading.columns import (
    Refused,
    compute,
    is_text,
    joined_texts,
    local_times,
    times_of_texts,
    times_of_values,
)
from driftline.streams.reading.refusals import UnusableError
from driftline.streams.reading.rows import from_the_future
from driftline.streams.reading.times import ISO, PER_SECOND, TimeRule

YEARS = (1900, 2100)
"""Times lie between them; beyond, what counts nanoseconds begins anew."""
EARLIEST, LATEST = (datetime(year, 1, 1, tzinfo=UTC) for year in YEARS)


@dataclass(frozen=True)
class TimeReader:
    """Reads them by a definition. Its methods raise InvalidInput, and what Arrow raises.

    source, mapped, is_csv, now: as `TableFile` has them. paths: by column its name in the file.
    """

    stream: StreamDefinition
    source: str
    paths: Mapping[str, str]
    rule: TimeRule
    mapped: bool
    is_csv: bool
    now: float

    def of(self, table: pa.Table, name: str, keys: NameColumn, refused: Refused) -> Ints:
        column, where, path = table[self.paths[name]], f"{self.source}: column {name!r}", self.paths[name]
        if self.stream.time.date is not None and name == self.stream.time.column:
            column = joined_texts(table[self.stream.time.date], column)
        if is_text(column) and (self.is_csv or not self.mapped):
            return times_of_texts(column, path, self.rule, keys.numbers, refused)
        if not self.mapped and _is_number(column.type):
            return times_of_values(column.to_pylist(), path, self.rule, keys.numbers, refused)
        if not self.mapped and pa.types.is_temporal(column.type) and column.null_count:
            refused.add(np.flatnonzero(column.is_null()), lambda _: UnusableError(path, None, ISO))
            column = compute().fill_null(column, pa.scalar(0).cast(column.type))
        return _of_times(column, self.rule, where, keys.numbers, refused, path)

    def issued(self, table: pa.Table, t: Ints, keys: NameColumn, refused: Refused) -> Ints:
        issued = self.of(table, ISSUED, keys, refused)
        late = np.flatnonzero((issued > t) & ~refused.rows)
        if len(late):
            after, for_time = (shown(int(times[late[0]]) / 1000) for times in (issued, t))
            problem = f"found {after} in row {late[0] + 1}, expected at most {for_time}, the time that it is for"
            raise InvalidInput(f"{self.source}: column {ISSUED!r}: {problem}")
        return issued

    def check_ahead(self, t: Ints, refused: Refused) -> None:
        if self.now:
            latest = 1000 * (self.now + self.stream.time.tolerance)
            path = self.paths[self.stream.time.column]
            beyond = np.flatnonzero(t > latest)
            refused.add(beyond, lambda row: from_the_future(path, int(t[row]), self.now, self.stream.time))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _of_times(column: pa.ChunkedArray, rule: TimeRule, where: str, keys: Ints, refused: Refused, name: str) -> Ints:
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
    ends = compute().min_max(column.cast(pa.int64()))
    first, last = (ends[name].as_py() // PER_SECOND[column.type.unit] for name in ("min", "max"))
    if first < EARLIEST.timestamp() or last >= LATEST.timestamp():
        problem = f"found times from {first} to {last} seconds since 1970"
        raise InvalidInput(f"{where}: {problem}, expected times between the years {YEARS[0]} and {YEARS[1]}")
