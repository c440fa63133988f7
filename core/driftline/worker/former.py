"""How release 0.1.0 kept the state of a series, as far as all steps kept it alike. Pure.

Its rings went by the number of a record, today's go by tick (see `driftline.streams.grid`). It did not keep when the
records of a ring came, so they are taken to lie one period apart.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import Ints
from driftline.streams.definition import DAY_S, LONGEST_SEASON, StreamDefinition
from driftline.worker.late_truths import NOTHING

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


@dataclass(frozen=True)
class FormerTruths:
    """Late truths as they were; see `driftline.worker.late_truths.LateTruths`."""

    count: Ints
    """[slots]: records seen."""
    t: Ints
    """[slots, patience]: times of those that lack their truth, otherwise NOTHING; a ring by number."""

    @classmethod
    def empty(cls, slots: int, patience: int) -> Self:
        return cls(np.zeros(slots, dtype=np.int64), np.full((slots, patience), NOTHING, dtype=np.int64))
