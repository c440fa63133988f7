"""Reads a window of results, as the archive writes it: only the columns that are asked for, and within bounds. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from driftline.errors import InvalidInput
from driftline.streams.definition import StreamDefinition
from driftline_combiner.history import PastForecast, PastValue
from driftline_combiner.next_values import finite, iso

BLEND, LOWER, UPPER = "blend", "lower", "upper"
T, GRID_T, OBSERVED = "t", "grid_t", "observed"
ROWS_LIMIT = 200_000
UNPACKED_LIMIT = 32 * 1024 * 1024
"""Bytes of the columns that are read, unpacked."""

Columns = Mapping[str, Sequence[Any]]


def read_results(
    body: bytes, stream: StreamDefinition, horizons: Sequence[int], begin: int, end: int
) -> list[PastForecast]:
    """The rows that were issued from `begin` on and before `end`, milliseconds since the epoch. horizons: steps ahead.
    Raises InvalidInput for what is no such file."""
    try:
        table = _table(body, horizons)
        times = table.column(T).cast(pa.int64()).to_pylist()
        places = [row for row, t in enumerate(times) if t is not None and begin <= t < end]
        columns = _columns(table.take(pa.array(places, pa.int64())))
    except (pa.ArrowException, KeyError, ValueError, OSError) as error:
        raise InvalidInput(f"found {str(error)[:200]!r}, expected a window of results") from error
    return [_row(stream, horizons, columns, row) for row in range(len(places))]


def _columns(table: pa.Table) -> Columns:
    """By name the values; those of times are whole numbers. Raises ValueError."""
    kinds = {T: pa.int64(), GRID_T: pa.int64()}
    columns = {name: table.column(name).cast(kinds.get(name, pa.float64())).to_pylist() for name in table.column_names}
    if None in columns.get(GRID_T, ()):
        raise ValueError("no time on the grid")
    return columns


def _table(body: bytes, horizons: Sequence[int]) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(body))
    names = file.schema_arrow.names
    wanted = [T, GRID_T, OBSERVED, *(f"{kind}_{steps}" for kind in (BLEND, LOWER, UPPER) for steps in horizons)]
    columns = [name for name in wanted if name in names]
    metadata = file.metadata
    if metadata.num_rows > ROWS_LIMIT:
        raise InvalidInput(f"found {metadata.num_rows} rows, expected at most {ROWS_LIMIT}")
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    leaves = [names.index(name) for name in columns]
    unpacked = sum(group.column(leaf).total_uncompressed_size for group in groups for leaf in leaves)
    if unpacked > UNPACKED_LIMIT:
        raise InvalidInput(f"found {unpacked} bytes unpacked, expected at most {UNPACKED_LIMIT}")
    return file.read(columns=columns, use_threads=False)


def _row(stream: StreamDefinition, horizons: Sequence[int], columns: Columns, row: int) -> PastForecast:
    t, ahead = columns[T][row], 1000 * stream.time.period
    begin = columns[GRID_T][row] if GRID_T in columns else t

    def of(name: str) -> float | None:
        return finite(columns[name][row]) if name in columns else None

    values = [
        PastValue(steps, begin + steps * ahead, of(f"{BLEND}_{steps}"), of(f"{LOWER}_{steps}"), of(f"{UPPER}_{steps}"))
        for steps in horizons
    ]
    return PastForecast(t, iso(t), of(OBSERVED), values)
