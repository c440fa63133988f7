"""A sample of what was learned from before, kept with the weights: who learns the newest must not forget the rest.

Pure.
"""

from dataclasses import dataclass

import numpy as np

from driftline.arrays import Ints
from driftline_trainer.datasets.dataset import Batch, Dataset
from driftline_trainer.fitting.scaling import Scaling

RENEWED = 0.1
"""Share of the sample that a fine-tuning replaces by newest rows."""


@dataclass(frozen=True)
class Replay:
    """As the network sees it: inputs [n, features], targets [n, horizons]."""

    inputs: Batch
    targets: Batch

    @classmethod
    def of(cls, data: Dataset, scaling: Scaling, which: Ints) -> "Replay":
        """The rows `which` of the data."""
        return cls(scaling.inputs(data.inputs[which]), scaling.targets(data.targets[which]))

    def renewed(self, newest: "Replay", random: np.random.Generator) -> "Replay":
        """With some of the newest rows in places of its own."""
        n = min(len(newest.inputs), max(1, int(RENEWED * len(self.inputs))), len(self.inputs))
        places, rows = random.permutation(len(self.inputs))[:n], random.permutation(len(newest.inputs))[:n]
        inputs, targets = self.inputs.copy(), self.targets.copy()
        inputs[places], targets[places] = newest.inputs[rows], newest.targets[rows]
        return Replay(inputs, targets)
