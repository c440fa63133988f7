"""Rows of a file on the grid of their stream, as if they had come one after the other. Pure."""

from dataclasses import replace
from math import isnan

import numpy as np

from driftline.messages import Observation, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.gridded.rule import GridRule
from driftline.streams.gridded.stream import StreamGrid
from driftline.streams.rows import Rows, rows_of


def gridded(rows: Rows, stream: StreamDefinition) -> Rows:
    """The records that rows become which were observed at any time: those that they would be if they came in the order
    of their times. A period that nothing comes after may still be open, and is left out. stream: one with a grid."""
    grid = StreamGrid(GridRule.of(stream))
    order = np.argsort(rows.t, kind="stable")
    parts = zip(
        rows.keys[order].tolist(), rows.t[order].tolist(), rows.values[order].tolist(), rows.groups[order], strict=True
    )
    records: list[Record] = []
    for offset, (key, t, values, group) in enumerate(parts):
        known = {name: None if isnan(value) else value for name, value in zip(stream.columns, values, strict=True)}
        records += grid.observe(Observation(stream.name, key, t, known, 0.0, str(group)), offset)[0]
    return replace(rows_of(records, stream), futures=rows.futures)
