"""A model that is watched: it keeps what it is fed with, and repeats the last value."""

import numpy as np

from driftline.streams.features import Inputs


class WatchingModel:
    """See `driftline_inference.serving.Model`."""

    version = "v1"

    def __init__(self, horizons: int) -> None:
        self.inputs: list[Inputs] = []
        self._horizons = horizons

    @property
    def skills(self) -> list[float]:
        return []

    def forecast(self, inputs: Inputs) -> np.ndarray:
        self.inputs.append(inputs)
        return np.repeat(inputs.last[:, None], self._horizons, axis=1)
