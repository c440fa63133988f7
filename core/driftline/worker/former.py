"""How release 0.1.0 kept the state of a series, as far as all steps kept it alike. Pure.

Its rings went by the number of a record, today's go by tick (see `driftline.streams.grid`). It did not keep when the
records of a ring came, so they are taken to lie one period apart.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import DAY_S
from driftline.streams.season_lengths import LONGEST_SEASON
from driftline.worker.parts import Axes, Parts, read

Dims = tuple[str | int, ...]
"""Names of axes, and numbers of places."""

INPUTS = 3
"""See `driftline.streams.definition.INPUTS`."""


def former_fingerprint(stream: StreamDefinition) -> str:
    """What that release would call the definition: it knew neither calendar nor group."""
    shape = [INPUTS, stream.time.period, stream.columns, stream.angles, stream.lags, stream.horizon]
    return hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:16]


def former_season(stream: StreamDefinition) -> int:
    """Records in a day, or 0 where that release did not look back on it."""
    steps, rest = divmod(DAY_S, stream.time.period)
    return steps if rest == 0 and max(stream.horizon) < steps <= LONGEST_SEASON else 0


def by_tick(ring: npt.NDArray[Any], count: int, tick: int) -> npt.NDArray[Any]:
    """The same ring with its newest record, the last of `count`, at the place of `tick`. ring: [places, ...]."""
    # Record k, counted from 0, was at place k modulo the length.
    return np.roll(ring, tick - (count - 1), axis=0)


def former_rows(data: bytes, over: Mapping[str, Dims | None], axes: Axes, parts: Parts) -> dict[str, npt.NDArray[Any]]:
    """What that release saved one after the other, by the names of today's parts, symmetric matrices with both sides.

    over: in its order, what an array went over where that was not what the part of the name goes over today. axes: of
    that release. Raises UnreadableState when the size is another.
    """
    shapes = {name: _shape(parts, name, dims, axes) for name, dims in over.items()}
    rows = read(data, {name: (_dtype(parts, name), shape) for name, shape in shapes.items()})
    return {name: row if over[name] is not None else parts[name].whole(row, axes) for name, row in rows.items()}


def _shape(parts: Parts, name: str, dims: Dims | None, axes: Axes) -> tuple[int, ...]:
    if dims is None:
        return parts[name].shape(axes)
    return tuple(dim if isinstance(dim, int) else len(axes[dim]) for dim in dims)


def _dtype(parts: Parts, name: str) -> np.dtype[Any]:
    return parts[name].dtype if name in parts else np.dtype(np.float64)
