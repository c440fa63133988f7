"""A network that was fitted, with all that a fine-tuning goes on from."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from driftline_trainer.datasets.dataset import Batch
from driftline_trainer.fitting.replay import Replay
from driftline_trainer.fitting.scaling import Scaling
from driftline_trainer.fitting.weights_file import pack

PARITY_ROWS = 512


@dataclass(frozen=True)
class FittedNetwork:
    """network: of Keras; its outputs are those of several networks, to be averaged."""

    network: Any
    scaling: Scaling
    replay: Replay

    @property
    def weights(self) -> bytes:
        """weights.npz."""
        return pack(self.network.get_weights(), self.scaling, self.replay)

    def predict(self, inputs: Batch) -> Batch:
        """[n, horizons], in the target's own units. inputs: [n, features], raw."""
        by_network = np.asarray(self.network(self.scaling.inputs(inputs), training=False))
        predicted: Batch = by_network.mean(axis=1) * self.scaling.target
        return predicted

    def parity(self, forecast: Batch, inputs: Batch) -> float:
        """The largest difference of the export, run in the edge's own runtime, to Keras, relative to the target's
        scale."""
        part = slice(-PARITY_ROWS, None)
        return float(np.abs(forecast[part] - self.predict(inputs[part])).max() / self.scaling.target.max())
