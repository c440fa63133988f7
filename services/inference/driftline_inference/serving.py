"""The models that serve, as the step of a stream sees them. Pure."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from driftline.arrays import Floats
from driftline.streams.features import Inputs


class Model(Protocol):
    """A model version that serves."""

    @property
    def version(self) -> str: ...

    @property
    def skills(self) -> list[float]:
        """On its hold-out, one a horizon; nothing where they were not reported."""

    def forecast(self, inputs: Inputs) -> Floats:
        """[n, horizons] in the target's units; NaN where the model can't forecast: there it sits out."""


Serving = Mapping[tuple[str, str], Model]
"""The models that serve now, by (stream, member). Replaced as a whole by a swap, never changed."""


def models_of(stream: str, serving: Serving) -> dict[str, Model]:
    """A stream's, by member."""
    return {member: model for (name, member), model in serving.items() if name == stream}


def finite_forecasts(model: Model, inputs: Inputs) -> Floats:
    """[n, horizons]; NaN where a model can't forecast, and where it gives nonsense."""
    forecasts = model.forecast(inputs)
    return np.where(np.isfinite(forecasts), forecasts, np.nan)
