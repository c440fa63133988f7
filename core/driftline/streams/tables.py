"""Tables of records: CSV, JSON, Parquet and line protocol with the columns that a stream definition names, in and out.

History files, archived windows and replayed files are all such tables. It and what it reads columns with are the only
importers of pyarrow, except for the archive of results and the command's survey of files that no definition describes;
they need the extra `tables`.
"""

import io
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from driftline.errors import InvalidInput
from driftline.streams.bounds import NONE, TableBounds
from driftline.streams.definition import ISSUED, StreamDefinition
from driftline.streams.file_content import FileContent, cut
from driftline.streams.json_files import is_json
from driftline.streams.reading.csv_text import MalformedCsv
from driftline.streams.rows import FutureRows, Rows
from driftline.streams.table_file import LINES_SUFFIX, TableFile

MARK, MAPPED = b"driftline.columns", b"mapped"
"""In a Parquet file's metadata: its columns are the definition's own, whatever devices send."""


def read_file(path: Path, stream: StreamDefinition) -> Rows:
    """The records in a file, on the stream's grid where it has one. Raises InvalidInput naming file, column, found and
    expected."""
    return examine_file(path, stream).records(stream)


def examine_file(path: Path, stream: StreamDefinition, now: float = 0.0) -> "FileContent":
    """What a file holds, and what of it can't be used. now: seconds since 1970, where rows that are ahead of it are
    refused, as at ingest's doors. Raises InvalidInput for a file that can't be read at all."""
    try:
        body = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path}: can't be read: {error.strerror}") from error
    return examine(body, stream, str(path), now=now)


def decode(
    body: bytes, stream: StreamDefinition, source: str, bounds: TableBounds = NONE, *, mapped: bool = False
) -> Rows:
    """The records in the bytes of a Parquet, JSON or CSV file, on the stream's grid where it has one; rows that can't
    be used are left out.

    bounds: held against what the file says of itself before it is unpacked. mapped: whether the file has the
    definition's own columns, as what `encode` wrote has. Raises InvalidInput, also when no row can be used, and
    MemoryError.
    """
    return examine(body, stream, source, bounds, mapped=mapped).records(stream)


def examine(
    body: bytes,
    stream: StreamDefinition,
    source: str,
    bounds: TableBounds = NONE,
    *,
    mapped: bool = False,
    now: float = 0.0,
) -> FileContent:
    """The same, with the rows that can't be used. now: as in `examine_file`."""
    return _opened(body, stream, source, bounds, mapped=mapped, dated=False, now=now)


def decode_futures(
    body: bytes, stream: StreamDefinition, source: str, bounds: TableBounds = NONE, *, mapped: bool = False
) -> FutureRows:
    """The same of a table of futures: its columns are `issued`, those of time and key, and the stream's futures."""
    names = list(stream.futures)
    of_futures = stream.model_copy(
        update={"target": names[0], "features": dict.fromkeys(names[1:], "level"), "group": None}
    )
    content = _opened(body, of_futures, source, bounds, mapped=mapped, dated=True)
    rows = content.rows_or_refusal()
    return FutureRows(rows.keys, content.issued, rows.t, rows.values)


def _opened(
    body: bytes,
    stream: StreamDefinition,
    source: str,
    bounds: TableBounds,
    *,
    mapped: bool,
    dated: bool,
    now: float = 0.0,
) -> FileContent:
    try:
        if body[:4] == b"PAR1":
            mapped = mapped or is_mapped(body)
            file = TableFile(body, stream.mapped if mapped else stream, source, bounds, dated, mapped, now)
            return replace(file.of_parquet(), on_grid=mapped)
        file = TableFile(body, stream.mapped if mapped else stream, source, bounds, dated, mapped, now)
        return replace(_of_text(file), on_grid=mapped)
    except MemoryError:
        raise
    except MalformedCsv as error:
        raise InvalidInput(f"{source}: {cut(str(error))}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        # Of a broken page the decompressor says what the system would say of a disk.
        raise InvalidInput(f"{source}: neither Parquet nor CSV: {cut(str(error))}") from error


def _of_text(file: TableFile) -> FileContent:
    if file.source.endswith(LINES_SUFFIX):
        return file.of_lines()
    return file.of_json() if is_json(file.body) else file.of_csv()


def is_mapped(body: bytes) -> bool:
    """Whether a Parquet file says that it has the definition's own columns. Raises what Arrow raises."""
    metadata = pq.ParquetFile(pa.BufferReader(body)).schema_arrow.metadata or {}
    return metadata.get(MARK) == MAPPED


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
    pq.write_table(pa.table(columns, metadata={MARK: MAPPED}), sink, compression="zstd")
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
    pq.write_table(pa.table(columns, metadata={MARK: MAPPED}), sink, compression="zstd")
    return sink.getvalue()
