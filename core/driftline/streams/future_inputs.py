"""The inputs that known futures give, for each time that is forecast. Pure NumPy over many series at once."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.arrays import TINY, Floats, clipped
from driftline.streams.layout import CLIP, Layout


class FutureInputs(NamedTuple):
    """What the futures say of each horizon."""

    net: list[Floats]
    """[n, horizons, futures] how far each moves until then, [n, horizons, levels] where it is in what is usual of it,
    in its own deviations, and [n, horizons, 2 angles]."""
    filters: Floats
    """[n, horizons, levels + 2 angles]: the moves of levels measured by their usual ones until that horizon, and angles
    as sine and cosine."""


def future_inputs(layout: Layout, usual: Floats, ahead: npt.NDArray[np.float32]) -> FutureInputs:
    """usual: [n, 2 + horizons, futures], see `History`. ahead: [n, 1 + horizons, futures], see
    `driftline.streams.features.observe`."""
    levels, angles = layout.future_levels, layout.future_angles
    if not layout.futures:
        return FutureInputs([], np.empty((len(ahead), len(layout.horizon), 0)))
    then = ahead[:, 1:].astype(np.float64)
    moves = then - ahead[:, :1]
    moves[:, :, angles] = (moves[:, :, angles] + 180.0) % 360.0 - 180.0
    usual = usual[:, :, levels]
    spread = np.sqrt(np.maximum(usual[:, 1:2], TINY))
    level = clipped((then[:, :, levels] - usual[:, :1]) / spread, -CLIP, CLIP)
    # A level that wanders far moves little in a step: by its deviation it would be lost to the filters' prior.
    scaled = moves[:, :, levels] / np.sqrt(np.maximum(usual[:, 2:], TINY))
    radians = np.deg2rad(then[:, :, angles])
    turned = np.concatenate([np.sin(radians), np.cos(radians)], axis=2)
    return FutureInputs([moves, level, turned], np.concatenate([scaled, turned], axis=2))
