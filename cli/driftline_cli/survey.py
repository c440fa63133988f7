"""A look into a CSV, JSON or Parquet file that no definition describes: which columns it has, and of which kind.

Types are found by Arrow, as they are when `driftline.streams.tables` reads the file by a definition. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from driftline.errors import InvalidInput
from driftline.streams import json_files
from driftline.streams.reading.columns import Refused, is_text, joined_texts, numbers_of_texts
from driftline.streams.reading.values import Decimal, NumberRule
from driftline_cli.columns_seen import Column, NumberColumn, OtherColumn, Survey, TextColumn, TimeColumn
from driftline_cli.csv_survey import UTF_8, cut, encoding_of, table_of
from driftline_cli.rows_survey import as_times, odd_times, survey_rows
from driftline_cli.written_times import DAY, EPOCHS, by_pattern, pattern_of, unit_of

SAMPLES = 200
"""Different texts of a column that are looked at."""
ODD_TIMES = 0.01
"""Share of rows whose times may be no times."""
DAY_ALONE = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d{4}")
CLOCK = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d{1,6})?)?( [AaPp][Mm])?")
READ_ALONE = "%d.%m.%Y"
"""What begins so is read without a definition's `time.format`: nobody writes the month first there."""
ISO_TIME = re.compile(r"\d{4}([-/.])\d{1,2}\1\d{1,2}[T ]+\d{1,2}:\d\d")
"""What a time begins with whose year comes first."""


def survey(body: bytes, source: str, zone: str) -> Survey:
    """Looks at the bytes of a file. zone: that of times that carry none. Raises InvalidInput."""
    if json_files.is_json(body):
        return with_times(survey_rows(json_files.json_rows_of(body, source).rows, source, zone))
    is_parquet = body[:4] == b"PAR1"
    encoding = UTF_8 if is_parquet else encoding_of(body, source)
    table, decimal = _parquet(body, source) if is_parquet else table_of(body, encoding, source)
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise InvalidInput(f"{source}: found several columns {twice[0]!r}, expected each name once")
    seen = _surveyed(table, source, zone, decimal)
    if not _has_time(seen) and (usable := _with_usable_times(table, zone)) is not None:
        seen = _surveyed(usable, source, zone, decimal)
    return replace(seen, encoding=None if encoding == UTF_8 else encoding)


def _surveyed(table: pa.Table, source: str, zone: str, decimal: Decimal) -> Survey:
    columns = [_column(name, table[name], zone, decimal) for name in table.column_names]
    return with_times(Survey(source, table.num_rows, tuple(_with_days(columns, table, zone))))


def _with_usable_times(table: pa.Table, zone: str) -> pa.Table | None:
    """Without the few rows that the reader will refuse for their time, such as a last one with sums; None where no
    column has times but for a few."""
    for name in table.column_names:
        odd = _without_time(table[name], zone)
        if odd is not None and 0 < (pc.sum(odd).as_py() or 0) <= ODD_TIMES * table.num_rows:
            return table.filter(pc.invert(odd))
    return None


def _without_time(column: pa.ChunkedArray, zone: str) -> pa.ChunkedArray | None:
    """Which rows of a column of times have none; None for another column."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.is_null()
    if not is_text(column):
        return None
    texts = pc.fill_null(column.cast(pa.string()), "")
    distinct = texts.unique().to_pylist()
    if not any(map(_is_dated, distinct[: SAMPLES + 1])):
        return None
    return pc.is_in(texts, pa.array(odd_times(distinct, zone), pa.string()))


def with_times(survey: Survey) -> Survey:
    """Where no column holds times, numbers that count from 1970 are times."""
    if _has_time(survey):
        return survey
    columns = [_since_1970(column) if isinstance(column, NumberColumn) else column for column in survey.columns]
    return replace(survey, columns=tuple(columns))


def _has_time(survey: Survey) -> bool:
    """Whether a column can be that of the records: all have one, and they are not all the same."""
    return any(np.ptp(column.t) for column in survey.times if len(column.t) and not column.empty)


def _since_1970(column: NumberColumn) -> Column:
    unit = unit_of(column.values)
    if unit is None or not np.isfinite(column.values).all():
        return column
    milliseconds = np.round(column.values / EPOCHS[unit] * 1000).astype(np.int64)
    return TimeColumn(column.name, milliseconds, "UTC", 0, unit)


def _with_days(columns: Sequence[Column], table: pa.Table, zone: str) -> Sequence[Column]:
    """Where the time of day has a column of its own, it and the first column of days are read as one."""
    clock = next((column.name for column in columns if _holds_times_of_day(column, table[column.name])), None)
    day = next((column.name for column in columns if _holds_days(column)), None)
    if clock is None or day is None:
        return columns
    time = as_times(clock, joined_texts(table[day], table[clock]).to_pylist(), zone)
    if time is None:
        # A day alone would be the time of all its records.
        return [_unread(day, table) if column.name == day else column for column in columns]
    time = replace(time, date=day, format=None if (time.format or READ_ALONE).startswith(READ_ALONE) else time.format)
    return [time if column.name == clock else column for column in columns if column.name != day]


def _unread(name: str, table: pa.Table) -> Column:
    samples = table[name].cast(pa.string()).unique().drop_null().to_pylist()[:SAMPLES]
    return TextColumn(name, np.full(table.num_rows, -1, np.int64), len(samples), tuple(samples))


def _holds_days(column: Column) -> bool:
    match column:
        case TimeColumn(is_days=is_days):
            return is_days
        case TextColumn(samples=samples):
            return bool(samples) and all(map(DAY_ALONE.fullmatch, samples))
    return False


def _holds_times_of_day(column: Column, written: pa.ChunkedArray) -> bool:
    if isinstance(column, TextColumn):
        return bool(column.samples) and all(map(CLOCK.fullmatch, column.samples))
    return bool(pa.types.is_time(written.type))


def _parquet(body: bytes, source: str) -> tuple[pa.Table, Decimal]:
    try:
        return pq.read_table(pa.BufferReader(body)), "."
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InvalidInput(f"{source}: a Parquet file that can't be read: {cut(error)}") from error


def _column(name: str, column: pa.ChunkedArray, zone: str, decimal: Decimal) -> Column:
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _times(name, column, zone)
    if pa.types.is_date(kind):
        return replace(_times(name, column.cast(pa.timestamp("ms")), zone), is_days=True)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return NumberColumn(name, column.cast(pa.float64()).to_numpy(), pa.types.is_integer(kind))
    if pa.types.is_decimal(kind):
        return NumberColumn(name, column.cast(pa.float64()).to_numpy(), whole=False)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        texts = column.cast(pa.string())
        return _with_thousands(name, texts, decimal) or _texts(name, texts, zone)
    return OtherColumn(name, str(kind))


def _times(name: str, column: pa.ChunkedArray, zone: str) -> TimeColumn:
    own = column.type.tz
    if own is None:
        # As the reader takes them: twice the hour that comes twice, and the next one for the hour that does not exist.
        column = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="latest")
    milliseconds = column.cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64())
    return TimeColumn(name, pc.fill_null(milliseconds, 0).to_numpy(), own, column.null_count)


def _with_thousands(name: str, column: pa.ChunkedArray, decimal: Decimal) -> NumberColumn | None:
    """Numbers such as `1.204,50`, which Arrow takes for text."""
    if decimal != ",":
        return None
    refused = Refused.none(len(column))
    numbers = numbers_of_texts(column, NumberRule(name), decimal, refused)
    usable = not refused.rows.any() and np.isfinite(numbers).any()
    return NumberColumn(name, numbers, whole=False) if usable else None


def _texts(name: str, column: pa.ChunkedArray, zone: str) -> Column:
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    if (times := _by_pattern(name, column, encoded.dictionary, zone)) is not None:
        return times
    codes: Any = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    distinct: list[str] = encoded.dictionary.to_pylist()
    samples = tuple(distinct[:SAMPLES])
    if not any(map(_is_dated, samples)):
        return TextColumn(name, codes.astype(np.int64), len(distinct), samples)
    times = as_times(name, column.to_pylist(), zone)
    odd = next((text for text in distinct if not _is_dated(text)), None)
    return times or TextColumn(name, codes.astype(np.int64), len(distinct), samples, odd)


def _is_dated(text: str) -> bool:
    return ISO_TIME.match(text) is not None or DAY.fullmatch(text.strip()) is not None


def _by_pattern(name: str, column: pa.ChunkedArray, distinct: pa.Array, zone: str) -> TimeColumn | None:
    """Of texts that follow one pattern."""
    texts: list[str] = distinct.to_pylist()
    pattern = pattern_of(texts)
    if pattern is None:
        return None
    parsed = {text: by_pattern(text, pattern) for text in texts}
    if None in parsed.values():
        return None
    naive = pa.chunked_array([pa.array([parsed.get(text) for text in column.to_pylist()], pa.timestamp("us"))])
    return replace(_times(name, naive, zone), zone=None, format=pattern, is_days="M" not in pattern)
