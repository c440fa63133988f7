"""Tables of records: CSV and Parquet files with the columns that a stream definition names, in and out.

History files, archived windows and replayed files are all such tables. The only importer of pyarrow beside the archive
of results; needs the extra `tables`.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from driftline.definition import SINGLE_KEY, StreamDefinition
from driftline.errors import InvalidInput
from driftline.features import Floats, Ints


@dataclass(frozen=True)
class Rows:
    """Records of any keys in the table's order. values: [n, columns] as `StreamDefinition.columns`, NaN missing."""

    keys: npt.NDArray[np.str_]
    t: Ints
    """[n] milliseconds since the epoch, UTC."""
    values: Floats

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: npt.NDArray[np.bool_] | Ints | slice) -> "Rows":
        return Rows(self.keys[which], self.t[which], self.values[which])

    def by_key(self) -> dict[str, "Rows"]:
        """Per key its rows in order of time, a repeated time once: the first row that has the target, or the first."""
        parts = {str(key): self.take(self.keys == key) for key in np.unique(self.keys)}
        return {key: rows.take(_each_time_once(rows)) for key, rows in parts.items()}


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
    )


def read_file(path: Path, stream: StreamDefinition) -> Rows:
    """The records in a .csv or .parquet file. Raises InvalidInput naming file, column, found and expected."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror}") from error
    return decode(body, stream, str(path))


def decode(body: bytes, stream: StreamDefinition, source: str) -> Rows:
    """The records in the bytes of a Parquet file, or else of a CSV file. Raises InvalidInput."""
    try:
        is_parquet = body[:4] == b"PAR1"
        table = pq.read_table(pa.BufferReader(body)) if is_parquet else pcsv.read_csv(io.BytesIO(body))
    except pa.ArrowException as error:
        raise InvalidInput(f"{source}: neither Parquet nor CSV: {error}") from error
    expected = [stream.time.column, *([stream.key] if stream.key else []), *stream.columns]
    missing = [name for name in expected if name not in table.column_names]
    if missing:
        raise InvalidInput(f"{source}: found no column {missing[0]!r} among {table.column_names}, expected {expected}")
    keys = table[stream.key].cast(pa.string()).to_numpy() if stream.key else np.full(table.num_rows, SINGLE_KEY)
    values = [_numbers(table[name], f"{source}: column {name!r}") for name in stream.columns]
    times = _times(table[stream.time.column], stream, f"{source}: column {stream.time.column!r}")
    return Rows(np.asarray(keys, dtype=np.str_), times, np.stack(values, axis=1))


def encode(rows: Rows, stream: StreamDefinition) -> bytes:
    """A Parquet file with the stream's own column names, which `decode` reads again."""
    columns: dict[str, pa.Array] = {stream.time.column: pa.array(rows.t, pa.timestamp("ms", tz="UTC"))}
    if stream.key:
        columns[stream.key] = pa.array(rows.keys.tolist(), pa.string())
    for index, name in enumerate(stream.columns):
        columns[name] = pa.array(rows.values[:, index], pa.float64(), from_pandas=True)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return sink.getvalue()


def _numbers(column: pa.ChunkedArray, where: str) -> Floats:
    try:
        found: Floats = column.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise InvalidInput(f"{where}: found {column.type}, expected numbers: {error}") from error
    return found


def _times(column: pa.ChunkedArray, stream: StreamDefinition, where: str) -> Ints:
    if not pa.types.is_timestamp(column.type):
        raise InvalidInput(f"{where}: found {column.type}, expected times such as 2014-01-01T01:00:00+01:00")
    if column.null_count:
        raise InvalidInput(f"{where}: found {column.null_count} empty times, expected a time in every row")
    if column.type.tz is None:
        if stream.time.zone == "required":
            raise InvalidInput(f"{where}: found times without a zone, expected one, or a zone in the stream definition")
        import pyarrow.compute as pc  # noqa: PLC0415 - 9 MB that ingest, which only writes, does without

        column = pc.assume_timezone(column, stream.time.zone, ambiguous="earliest", nonexistent="latest")
    milliseconds: Ints = column.cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64()).to_numpy()
    return milliseconds
