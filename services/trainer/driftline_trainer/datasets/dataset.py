"""Rows that a network learns from. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftline.arrays import Ints

Batch = npt.NDArray[np.float32]
REORDERED = 8
"""Columns that are brought into order of time at once."""


@dataclass(frozen=True)
class Dataset:
    """Rows in order of time. inputs: [n, features]; targets: [n, horizons] differences to the last value; t: [n] ms."""

    inputs: Batch
    targets: Batch
    t: Ints
    sampled_from: int | None = None
    """Rows that there were, where these are a sample of them."""

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: slice | Ints) -> "Dataset":
        return Dataset(self.inputs[which], self.targets[which], self.t[which], self.sampled_from)


class CollectedRows:
    """Rows as they come, in arrays that were made as long as they can get: no row lies in memory twice."""

    def __init__(self, inputs: Batch, targets: Batch, t: Ints) -> None:
        self._inputs, self._targets, self._t = inputs, targets, t
        self._count = 0

    @classmethod
    def of(cls, rows: int, width: int, horizons: int) -> "CollectedRows":
        """With room for so many rows."""
        return cls(
            np.empty((rows, width), np.float32), np.empty((rows, horizons), np.float32), np.empty(rows, np.int64)
        )

    def add(self, rows: Dataset) -> None:
        end = self._count + len(rows)
        self._inputs[self._count : end] = rows.inputs
        self._targets[self._count : end] = rows.targets
        self._t[self._count : end] = rows.t
        self._count = end

    def in_order(self, *, sampled_from: int | None) -> Dataset:
        """All of them in order of time."""
        order = np.argsort(self._t[: self._count], kind="stable")
        inputs = self._inputs[: self._count]
        for column in range(0, inputs.shape[1], REORDERED):
            # A copy of some columns after the other, and never one of all.
            some = inputs[:, column : column + REORDERED]
            some[:] = some[order]
        return Dataset(inputs, self._targets[order], self._t[order], sampled_from)
