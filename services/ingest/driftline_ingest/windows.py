"""How records and blends are packed and written as Parquet."""

from __future__ import annotations  # array[float] is a type for checkers only

import io
from array import array
from collections.abc import Mapping, Sequence
from math import nan

import numpy as np

from driftline.arrays import Floats
from driftline.members import MEMBERS
from driftline.messages import Blend, Record
from driftline.scoring import STRATEGIES
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import FutureRows, Rows
from driftline_ingest.packing import Columns


def _number(value: float | None) -> float:
    return nan if value is None else value


def _table(rows: Sequence[array[float]], width: int) -> Floats:
    """[n, width]: rows from before their source got a stream more end earlier, and lack its columns."""
    data = np.full((len(rows), width), nan)
    for row, values in zip(data, rows, strict=True):
        row[: len(values)] = values
    return data


class FutureWindows:
    """Futures: tables of what was known ahead, with the times of issue."""

    def __init__(self, streams: Mapping[str, StreamDefinition]) -> None:
        self._streams = streams

    def issued(self, message: Record) -> int | None:
        return message.issued

    def pack(self, message: Record) -> array[float]:
        columns = self._streams[message.stream].futures
        return array("d", [message.issued or 0, message.t, *(_number(message.values.get(name)) for name in columns)])

    def encode(self, stream: str, key: str, rows: Sequence[array[float]]) -> bytes:
        from driftline.streams import tables  # noqa: PLC0415 - as below

        definition = self._streams[stream]
        data = _table(rows, 2 + len(definition.futures))
        times = data[:, :2].astype(np.int64)
        futures = FutureRows(np.full(len(data), key), times[:, 0], times[:, 1], data[:, 2:])
        return tables.encode_futures(futures, definition)


class RecordWindows:
    """Training windows: tables with the stream's own columns, as every history file."""

    kind = "windows"

    def __init__(self, streams: Mapping[str, StreamDefinition]) -> None:
        self._streams = streams
        self.futures = FutureWindows(streams)

    def size(self, stream: str) -> int:
        return self._streams[stream].window

    def period(self, stream: str) -> int:
        return self._streams[stream].time.period * 1000

    def longest_silence(self, stream: str) -> int:
        return self._streams[stream].longest_silence

    def ahead(self, stream: str) -> int:
        return self._streams[stream].time.tolerance

    def patience(self, stream: str) -> int:
        return self._streams[stream].patience

    def truths(self, stream: str) -> Columns:
        return self._streams[stream].awaited_columns

    def lacks(self, message: Record) -> Columns:
        return tuple(name for name in self.truths(message.stream) if message.values.get(name) is None)

    def pack(self, message: Record) -> array[float]:
        columns = self._streams[message.stream].columns
        return array("d", [message.t, *(_number(message.values.get(name)) for name in columns)])

    def group(self, message: Record) -> str:
        return message.group if self._streams[message.stream].group_columns else ""

    def encode(self, stream: str, key: str, rows: Sequence[array[float]], group: str = "") -> bytes:
        from driftline.streams import tables  # noqa: PLC0415 - pyarrow is large, and not needed before the first window

        definition = self._streams[stream]
        data = _table(rows, 1 + len(definition.columns))
        t = data[:, 0].astype(np.int64)
        keys, groups = np.full(len(t), key), np.full(len(t), group)
        return tables.encode(Rows(keys, t, data[:, 1:], groups), definition)


class BlendWindows:
    """Results: what was forecast, by whom, with which weight, next to the truth as far as the window knows it.

    Columns: t, grid_t, observed, and for each horizon h: truth_h, blend_h, <strategy>_h, <member>_h, weight_<member>_h,
    lower_h, upper_h.
    """

    kind = "results"
    futures = None

    def __init__(self, streams: Mapping[str, StreamDefinition]) -> None:
        self._streams = streams

    def size(self, stream: str) -> int:
        return self._streams[stream].window

    def period(self, stream: str) -> int:
        return self._streams[stream].time.period * 1000

    def longest_silence(self, stream: str) -> int:
        return self._streams[stream].longest_silence

    def ahead(self, stream: str) -> int:
        return self._streams[stream].time.tolerance

    def patience(self, stream: str) -> int:
        return self._streams[stream].patience

    def truths(self, stream: str) -> Columns:  # noqa: ARG002
        return ()

    def lacks(self, message: Blend) -> Columns:  # noqa: ARG002
        """No blend comes again with more in it."""
        return ()

    def pack(self, message: Blend) -> array[float]:
        absent = [None] * len(message.horizon)
        grid_t = message.t if message.grid_t is None else message.grid_t
        values = [message.t, message.observed, grid_t, *message.value]
        for names, by_name in (
            (STRATEGIES, message.strategies),
            (MEMBERS, message.members),
            (MEMBERS, message.weights),
        ):
            for name in names:
                values += by_name.get(name, absent)
        values += message.lower or absent
        values += message.upper or absent
        return array("d", [nan if value is None else value for value in values])

    def group(self, message: Blend) -> str:  # noqa: ARG002
        """Results are of one series each, whoever its neighbours were."""
        return ""

    def encode(self, stream: str, key: str, rows: Sequence[array[float]], group: str = "") -> bytes:  # noqa: ARG002
        import pyarrow as pa  # noqa: PLC0415 - as above
        import pyarrow.parquet as pq  # noqa: PLC0415

        data = np.array(rows)
        observed, grid_t = data[:, 1], data[:, 2].astype(np.int64)
        columns = {"t": pa.array(data[:, 0].astype(np.int64), pa.timestamp("ms", tz="UTC")), "key": [key] * len(data)}
        columns["grid_t"] = pa.array(grid_t, pa.timestamp("ms", tz="UTC"))
        columns["observed"] = pa.array(observed, from_pandas=True)
        horizon, period = self._streams[stream].horizon, 1000 * self._streams[stream].time.period
        truths = dict(zip(grid_t.tolist(), observed.tolist(), strict=True))
        for h in horizon:
            of_window = [truths.get(t + h * period, np.nan) for t in grid_t.tolist()]
            columns[f"truth_{h}"] = pa.array(of_window, from_pandas=True)
        names = ["blend", *STRATEGIES, *MEMBERS, *(f"weight_{name}" for name in MEMBERS), "lower", "upper"]
        labels = [f"{name}_{h}" for name in names for h in horizon]
        for column, label in enumerate(labels, 3):
            columns[label] = pa.array(data[:, column], from_pandas=True)
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink, compression="zstd")
        return sink.getvalue()
