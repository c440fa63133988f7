"""Arrays by what they hold, and by what their axes go over."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

FINER = 6
"""Powers of ten by which what is put out is finer than what it is measured by."""

OWN_UNIT = 0.1
"""Share of a value that it is measured by at most: what is put out is as fine as a ten-millionth of itself."""

TINY = 1e-12
"""Nothing is divided by less."""


def clipped(values: Floats, lowest: Any, highest: Any) -> Floats:
    """As `np.clip`, which for the few numbers of a record takes three times as long."""
    kept: Floats = np.minimum(np.maximum(values, lowest), highest)
    return kept


def shortened(values: Floats, unit: Floats) -> Floats:
    """The values to a millionth of `unit`, or finer: as text they are half as long.

    unit: of any shape that fits, in the values' units; where it is 0 or NaN they are left as they are. It is never
    coarser than OWN_UNIT of the value.
    """
    # Of a young series one glitch makes the usual step as large as itself.
    unit = np.minimum(unit, OWN_UNIT * np.abs(values))
    known = unit > 0
    power = clipped(FINER - np.floor(np.log10(np.where(known, unit, 1.0))), -300, 300)
    # Divided by a power of ten that is a whole number, a whole number gives the nearest number to the short decimal.
    finer, coarser = 10.0 ** np.maximum(power, 0.0), 10.0 ** np.maximum(-power, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        short = np.rint(values * finer / coarser) * coarser / finer
    kept: Floats = np.where(known & np.isfinite(short), short, values)
    return kept


def mean_of_known(values: Floats) -> Floats:
    """Over the last axis, of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)
    return mean


class Symmetric(NamedTuple):
    """Two axes over the same, of a symmetric matrix. halved: the array has its upper half alone, as one axis; otherwise
    both axes, and half of it is saved."""

    axis: str
    halved: bool = False


class PerHorizon(NamedTuple):
    """An axis over the places of `driftline.streams.horizon_rings.HorizonRings`. What waits there is saved as one ring
    for all horizons: these are its two axes."""

    ring: str = "ring"
    horizons: str = "horizons"


class Over:
    """Annotates an array of a table: what its axes go over, but for the first one, which goes over slots.

    An axis is the name of what its places mean, see `driftline.worker.parts`; a number where they mean the same for
    good; `Symmetric`; or, as the first of them, `PerHorizon`.
    """

    def __init__(self, *axes: str | int | Symmetric | PerHorizon) -> None:
        self.axes = axes


class Derived:
    """Annotates an array of a table that is not saved, since it follows from the others."""


@dataclass(frozen=True)
class UpperHalf:
    """Where what is in the upper half of a symmetric matrix, row by row."""

    rows: Ints
    """[half]: of each of its numbers the row ..."""
    columns: Ints
    """[half]: ... and the column."""
    diagonal: Ints
    """[size]: the places of the diagonal's numbers in the half."""
    whole: Ints
    """[size, size]: the place in the half of each of the matrix's numbers."""

    @classmethod
    @lru_cache
    def of(cls, size: int) -> Self:
        rows, columns = np.triu_indices(size)
        whole = np.zeros((size, size), dtype=np.int64)
        whole[rows, columns] = whole[columns, rows] = np.arange(len(rows))
        return cls(rows, columns, np.diagonal(whole).copy(), whole)
