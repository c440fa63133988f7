"""The member `rls`: recursive least squares with forgetting, one small linear filter per series and horizon.

Haykin, Adaptive Filter Theory, chapter "recursive least squares"; innovations are cut as Huber's estimator does, so a
glitch moves the filter only a little. Pure NumPy over many series at once.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.features import Floats, Inputs, Ints

FORGETTING = 0.9998
"""Weight of the record before, against the newest; 0.999 loses at long horizons, 1 can't follow drift."""
FIRST_VARIANCE = 0.01
"""How unsure the weights are at first, in the inputs' scaled units: small is cautious."""
TRACE_CAP = 100.0
"""Largest mean variance of a weight: without excitation, forgetting would let it grow for ever."""
CUT = 3.0
"""Innovations beyond so many deviations are cut."""
NOISE_MEMORY = 0.01
NOISE_FLOOR = 0.01


@dataclass(frozen=True)
class Filters:
    """The filters of every series, one row ("slot") each. Targets are in steps of `Inputs.scale`."""

    count: Ints
    """[slots]: records seen."""
    weights: Floats
    """[slots, horizons, terms]."""
    variance: Floats
    """[slots, horizons, terms, terms]: the inverse of the discounted correlation of the inputs."""
    noise: Floats
    """[slots, horizons]: moving mean square of the cut innovations."""
    inputs: Floats
    """[slots, longest horizon, horizons, terms]: what was forecast from, until the truth comes; a ring."""
    last: Floats
    """[slots, longest horizon]: the target's value then."""
    scale: Floats
    """[slots, longest horizon]: its usual step then."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], terms: int) -> Self:
        horizons, longest = len(horizon), max(horizon)
        return cls(
            count=np.zeros(slots, dtype=np.int64),
            weights=np.zeros((slots, horizons, terms)),
            variance=np.tile(FIRST_VARIANCE * np.eye(terms), (slots, horizons, 1, 1)),
            noise=np.ones((slots, horizons)),
            inputs=np.zeros((slots, longest, horizons, terms)),
            last=np.full((slots, longest), np.nan),
            scale=np.full((slots, longest), np.nan),
        )


def learn(filters: Filters, steps: Ints, slots: Ints, truth: Floats) -> None:
    """Learns from the truth of what was forecast `steps` records ago. Changes `filters` in place.

    steps: [horizons]. slots: [n], each at most once. truth: [n] in the target's units; NaN teaches nothing.
    """
    then = (filters.count[slots][:, None] - steps) % filters.last.shape[1]
    rows = slots[:, None]
    x = filters.inputs[rows, then, np.arange(len(steps))]
    with np.errstate(divide="ignore", invalid="ignore"):
        target = (truth[:, None] - filters.last[rows, then]) / filters.scale[rows, then]
    known = np.isfinite(target)
    if not known.any():
        return
    weights, variance, noise = filters.weights[slots], filters.variance[slots], filters.noise[slots]
    innovation = np.where(known, target, 0.0) - (weights * x).sum(axis=2)
    limit = CUT * np.sqrt(noise)
    cut = np.minimum(np.maximum(innovation, -limit), limit)
    spread = np.matmul(variance, x[..., None])[..., 0]
    gain = spread / (FORGETTING + (x * spread).sum(axis=2))[..., None]
    learned = weights + gain * cut[..., None]
    shrunk = (variance - gain[..., None] * spread[..., None, :]) / FORGETTING
    trace = np.trace(shrunk, axis1=2, axis2=3)
    shrunk *= np.minimum(1.0, TRACE_CAP * x.shape[2] / trace)[..., None, None]
    filters.weights[slots] = np.where(known[..., None], learned, weights)
    filters.variance[slots] = np.where(known[..., None, None], shrunk, variance)
    moved = np.maximum(noise + NOISE_MEMORY * (cut * cut - noise), NOISE_FLOOR)
    filters.noise[slots] = np.where(known, moved, noise)


def forecast(filters: Filters, slots: Ints, inputs: Inputs) -> Floats:
    """[n, horizons]: the forecasts in the target's units; NaN where the target is missing. Remembers what they used."""
    now = filters.count[slots] % filters.last.shape[1]
    filters.inputs[slots, now] = inputs.rls
    filters.last[slots, now] = inputs.last
    filters.scale[slots, now] = inputs.scale
    filters.count[slots] += 1
    scale = np.where(np.isnan(inputs.scale), 0.0, inputs.scale)
    steps: Floats = (filters.weights[slots] * inputs.rls).sum(axis=2)
    return inputs.last[:, None] + scale[:, None] * steps
