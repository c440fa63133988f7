"""How raw inputs and targets become what a network sees. Pure."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.arrays import Ints
from driftline_trainer.datasets.dataset import Batch, Dataset

INPUT_CLIP = 6.0
TARGET_CLIP = 8.0
LEAST_DEVIATION = 1e-6
MOMENTS_AT_ONCE = 65_536
"""Rows whose sums are formed at once."""


@dataclass(frozen=True)
class Scaling:
    """mean, deviation: [features]; target: [horizons]."""

    mean: Batch
    deviation: Batch
    target: Batch

    @classmethod
    def of(cls, learned: Dataset, unseen: Ints) -> Self:
        """unseen: inputs that the network gets as 0, whatever they are."""
        mean, deviation = _moments(learned.inputs)
        deviation = np.maximum(deviation, LEAST_DEVIATION)
        deviation[unseen] = np.inf
        return cls(mean, deviation, np.maximum(_moments(learned.targets)[1], LEAST_DEVIATION))

    def inputs(self, raw: Batch) -> Batch:
        scaled: Batch = np.clip((raw - self.mean) / self.deviation, -INPUT_CLIP, INPUT_CLIP)
        return scaled

    def targets(self, raw: Batch) -> Batch:
        scaled: Batch = np.clip(raw / self.target, -TARGET_CLIP, TARGET_CLIP)
        return scaled


def _moments(rows: Batch) -> tuple[Batch, Batch]:
    """Mean and deviation of each column, without a copy of all rows."""
    parts = [rows[start : start + MOMENTS_AT_ONCE] for start in range(0, len(rows), MOMENTS_AT_ONCE)]
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
    square = sum(((part - mean) ** 2).sum(axis=0) for part in parts) / len(rows)
    return mean.astype(np.float32), np.sqrt(square).astype(np.float32)
