"""Unpacks a file that comes from outside, within bounds of memory and processor time; runs in a child of its own."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from driftline.errors import InvalidInput
from driftline.store.object_names import folder_of
from driftline.streams.bounds import TableBounds
from driftline.streams.definition import StreamDefinition
from driftline.streams.file_content import FileContent
from driftline.streams.rows import FutureRows, Rows
from driftline.streams.tables import decode_futures, examine
from driftline_trainer.limits import for_seconds

T = TypeVar("T", FileContent, FutureRows)

SHOWN = 300
"""Characters of an error that are repeated."""
LARGEST = 1e30
"""No sensor measures more; ingest's door takes no larger number either."""


@dataclass(frozen=True)
class Packed:
    """A file as it lies in the store. `folder`: of the series whose rows it may hold alone; None for any."""

    body: bytes
    stream: StreamDefinition
    source: str
    folder: str | None = None


@dataclass(frozen=True)
class Means:
    """What unpacking a file may take. memory: bytes beyond what the child has before it. seconds: of a processor."""

    bounds: TableBounds
    memory: int
    seconds: int


def prove() -> None:
    """Unpacks the smallest of files, so that no file is blamed for limits that leave no room. Raises MemoryError."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1.0]}), sink)
    pq.ParquetFile(pa.BufferReader(sink.getvalue())).read(use_threads=False)


def unpack(packed: Packed, means: Means) -> FileContent:
    """The rows, all of them such as can be learned from, and what was left out. Raises InvalidInput."""
    return _unpacked(_usable, packed.stream.columns, packed, means)


def _usable(body: bytes, stream: StreamDefinition, source: str, bounds: TableBounds, *, mapped: bool) -> FileContent:
    content = examine(body, stream, source, bounds, mapped=mapped)
    return replace(content, rows=content.records(stream))


def unpack_futures(packed: Packed, means: Means) -> FutureRows:
    """The same of a file of futures."""
    return _unpacked(decode_futures, tuple(packed.stream.futures), packed, means)


def _unpacked(
    decoding: Callable[..., T],
    columns: tuple[str, ...],
    packed: Packed,
    means: Means,
) -> T:
    """columns: the names of its values."""
    with guarded(packed, means):
        # What lies under a series' name was written by an edge, which has mapped it already.
        read = decoding(packed.body, packed.stream, packed.source, means.bounds, mapped=packed.folder is not None)
        check(read.rows if isinstance(read, FileContent) else read, columns, packed)
    return read


@contextmanager
def guarded(packed: Packed, means: Means) -> Iterator[None]:
    """Whatever a file does that is unpacked meanwhile becomes InvalidInput, or the end of the child."""
    for_seconds(means.seconds)
    try:
        yield
    except InvalidInput:
        raise
    except MemoryError as error:
        raise InvalidInput(too_much(packed.source, means)) from error
    except Exception as error:
        # The edge of the child. Whatever else a reader raises for a file from outside must not stop the other files;
        # the error goes back as text, and the parent sets the file aside and logs it.
        reason = f"{type(error).__name__}: {str(error)[:SHOWN]}"
        raise InvalidInput(f"{packed.source}: found what Arrow can't read: {reason}") from error


def too_much(source: str, means: Means) -> str:
    """What is said of a file that does not keep what its footer promised."""
    expected = f"{means.memory} bytes of memory and {means.seconds} s of a processor"
    return f"{source}: found a file that takes more to be unpacked, expected at most {expected}"


def check(rows: Rows | FutureRows, columns: tuple[str, ...], packed: Packed) -> None:
    """Raises InvalidInput for rows that nobody could learn from."""
    if not len(rows):
        raise InvalidInput(f"{packed.source}: found no rows, expected some")
    wild = np.argwhere(np.abs(rows.values) > LARGEST)
    if len(wild):
        row, column = wild[0]
        where = f"{packed.source}: column {columns[column]!r}"
        problem = f"found {rows.values[row, column]} in row {row + 1}"
        raise InvalidInput(f"{where}: {problem}, expected numbers between -{LARGEST:g} and {LARGEST:g}")
    if packed.folder is not None:
        _check_key(rows, packed, packed.folder)


def _check_key(rows: Rows | FutureRows, packed: Packed, folder: str) -> None:
    """Raises InvalidInput unless all rows are of the series that the folder is named after."""
    keys = np.unique(rows.keys).tolist()
    # Folders were once quoted a little differently.
    strangers = [key for key in keys if folder not in {folder_of(key), quote(key, safe="")}]
    if strangers:
        raise InvalidInput(f"{packed.source}: found key {strangers[0]!r}, expected that of folder {folder!r} alone")
    if len(keys) > 1:
        raise InvalidInput(f"{packed.source}: found keys {keys}, expected one")
