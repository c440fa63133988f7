"""How a training from scratch is laid out, by the number of rows that it learns from. Pure."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.streams.model_sections import TrainingOptions

STEPS_BY_ROOT = 6.0
"""Steps of training for each row's square root: 10,000 rows need 30 passes over them, where 200,000 need 7."""
STEPS = (200, 4000)
"""At least and at most, unless the definition says how many."""
LOOKS = 20
"""So often a training looks at the hold-out."""
AT_ONCE = 8
"""Steps between two returns from TensorFlow."""
NARROW = (64, 32)
"""Units of each layer for a history that wider ones would learn by heart: shorter than ..."""
NARROW_BELOW = 2500
"""... so many rows."""
USUAL = (128, 64)
"""For all others: 256 and 128 units were no better on any number of rows that was tried."""


@dataclass(frozen=True)
class Schedule:
    """units: of each layer; batch: rows of a step; stride: steps between two of all `looks` at the hold-out."""

    units: tuple[int, ...]
    batch: int
    stride: int
    looks: int

    @classmethod
    def of(cls, settings: TrainingOptions, rows: int) -> Self:
        """rows: that are learned from."""
        batch = min(settings.batch_size, rows)
        steps = _steps(settings, rows, batch)
        # Whole executions: Keras runs no part of one.
        stride = AT_ONCE * max(1, round(steps / LOOKS / AT_ONCE))
        return cls(units_of(settings, rows), batch, stride, max(1, round(steps / stride)))

    @property
    def steps(self) -> int:
        """Of the whole training, unless it stops before."""
        return self.stride * self.looks


def units_of(settings: TrainingOptions, rows: int) -> tuple[int, ...]:
    """The definition's, or those that fit the number of rows."""
    if settings.units is not None:
        return settings.units
    return NARROW if rows < NARROW_BELOW else USUAL


def units_again(settings: TrainingOptions, first: int) -> tuple[int, ...]:
    """The definition's, or those of a network that was trained before and has `first` units in its first layer."""
    if settings.units is not None:
        return settings.units
    return NARROW if first == NARROW[0] else USUAL


def _steps(settings: TrainingOptions, rows: int, batch: int) -> int:
    if settings.epochs is not None:
        return max(1, rows // batch) * settings.epochs
    if settings.steps is not None:
        return settings.steps
    return int(np.clip(STEPS_BY_ROOT * np.sqrt(rows), *STEPS))
