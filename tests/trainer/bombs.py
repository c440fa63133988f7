"""Files that are small and say or unpack to something absurd."""

import io
import struct
from collections.abc import Iterator
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from driftline.streams.definition import StreamDefinition

T0 = 1_420_070_400_000
"""The first of January 2015, in milliseconds."""


def table(stream: StreamDefinition, rows: int, **columns: object) -> pa.Table:
    """A usable table of one key, R80711, with some columns replaced."""
    data: dict[str, object] = {
        stream.time.column: pa.array(T0 + 600_000 * np.arange(rows), pa.timestamp("ms", tz="UTC")),
        stream.key: pa.array(["R80711"] * rows, pa.string()),
    } | {name: pa.array(np.linspace(0, 9, rows)) for name in stream.columns}
    return pa.table(data | columns)


def parquet(made: pa.Table, **options: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(made, sink, **({"compression": "zstd"} | options))
    return sink.getvalue()


def of_billions(stream: StreamDefinition, groups: int = 60, rows: int = 2_000_000) -> bytes:
    """The same values in every row: a few bytes for millions of rows, over and over."""
    one = pa.array([T0], pa.timestamp("ms", tz="UTC")).take(pa.array(np.zeros(rows, np.int32)))
    key = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["R80711"])
    same = table(stream, rows, **{stream.time.column: one, stream.key: key})
    same = pa.table(
        {name: pa.nulls(rows, pa.float64()) if name in stream.columns else same[name] for name in same.column_names}
    )
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, same.schema, compression="zstd") as writer:
        for _ in range(groups):
            writer.write_table(same, row_group_size=rows)
    return sink.getvalue()


def with_a_key_of(stream: StreamDefinition, length: int, rows: int = 1000) -> bytes:
    key = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["k" * length]))
    return parquet(table(stream, rows, **{stream.key: key}))


def of_one_long_text(stream: StreamDefinition, length: int, rows: int) -> bytes:
    """A text where numbers are, once in the file and once in each row in memory."""
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["9" * length]))
    # Without Arrow's own schema a reader makes plain text of it.
    return parquet(table(stream, rows, **{stream.target: text}), store_schema=False)


def with_a_lying_footer(body: bytes, said: int, truth: int) -> bytes:
    """Says of the rows and values that there are others than there are, in a footer of the same length."""
    length = struct.unpack("<I", body[-8:-4])[0]
    footer = body[-8 - length : -8]
    return body[: -8 - length] + footer.replace(_zigzag(truth), _zigzag(said)) + body[-8:]


def _zigzag(number: int) -> bytes:
    """As Thrift's compact protocol writes an integer."""

    def septets(left: int) -> Iterator[int]:
        while left > 127:
            yield left & 127 | 128
            left >>= 7
        yield left

    return bytes(chain(septets(number * 2)))


def broken_in_the_middle(body: bytes) -> bytes:
    middle = len(body) // 3
    return body[:middle] + bytes(200) + body[middle + 200 :]
