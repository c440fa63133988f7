"""Recursive least squares with forgetting: small linear filters, one per series and horizon, for the members `rls` and
`stack`.

Haykin, Adaptive Filter Theory, chapter "recursive least squares"; innovations are cut as Huber's estimator does, so a
glitch moves a filter only a little. Pure NumPy over many series at once.
"""

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints, Over, PerHorizon, Symmetric, UpperHalf
from driftline.streams.grid import NEVER, skipped
from driftline.streams.horizon_rings import HorizonRings
from driftline_kernels import address, kernel, sizes, table

FORGETTING = 0.9998
"""Weight of the record before, against the newest; 0.999 loses at long horizons, 1 can't follow drift."""
FIRST_VARIANCE = 0.03
"""How unsure the weights are at first, one step ahead, in the inputs' scaled units: small is cautious."""
TRUSTING_VARIANCE = 0.0001
"""The same where the filter begins with a term that forecasts well already."""
TRACE_CAP = 100.0
"""Largest mean variance of a weight: without excitation, forgetting would let it grow for ever."""
CUT = 3.0
"""Innovations beyond so many deviations are cut."""
NOISE_MEMORY = 0.01
NOISE_FLOOR = 0.01
LEARN = kernel("rls_learn", "pnnnppnpp")
FOLLOW = kernel("rls_follow", "pppppnppppppppp")


@dataclass(frozen=True)
class Waiting:
    """What was forecast from, until the truth comes. A ring by tick (see `driftline.streams.grid`) is as long as the
    longest horizon and as a truth may be late take together. One row ("slot") a series."""

    tick: Annotated[Ints, Over()]
    """[slots]: of the newest record; NEVER before the first."""
    terms: Annotated[npt.NDArray[np.float32], Over(PerHorizon(), "terms")]
    """[slots, places, terms]: for the places see `HorizonRings`."""
    last: Annotated[Floats, Over("ring")]
    """[slots, ring]: the target's value then."""
    scale: Annotated[Floats, Over("ring")]
    """[slots, ring]: its usual step then."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], terms: int, patience: int = 0) -> Self:
        rings = HorizonRings.of(horizon, patience)
        return cls(
            tick=np.full(slots, NEVER, dtype=np.int64),
            terms=np.zeros((slots, rings.size, terms), dtype=np.float32),
            last=np.full((slots, rings.longest), np.nan),
            scale=np.full((slots, rings.longest), np.nan),
        )

    def rings(self, steps: Ints) -> HorizonRings:
        """steps: [horizons] that it was made for."""
        return HorizonRings.of(steps, self.last.shape[1] - int(steps[-1]))


@dataclass(frozen=True)
class Lesson:
    """What n series have to learn now. terms: [n, horizons, terms], NaN where a term was not there; target: [n,
    horizons] in usual steps, NaN where nothing is known."""

    terms: Floats
    target: Floats


def recall(waiting: Waiting, steps: Ints, slots: Ints, tick: Ints, truth: Floats) -> Lesson:
    """What was forecast `steps` periods before the tick of which the truth is, and what has come of it.

    steps: [horizons]. slots: [n], each at most once. tick: [n] of the truth, no later than that of `arrive`. truth: [n]
    in the target's units; NaN teaches nothing.
    """
    rows = slots[:, None]
    # Each horizon looks as far back as it forecast ahead: [n, horizons] places in the ring.
    then = (tick[:, None] - steps) % waiting.last.shape[1]
    # A target that has never moved has a usual step of 0: nothing can be learned in units of it.
    with np.errstate(divide="ignore", invalid="ignore"):
        target = (truth[:, None] - waiting.last[rows, then]) / waiting.scale[rows, then]
    terms = waiting.terms[rows, waiting.rings(steps).places(tick[:, None] - steps)].astype(np.float64)
    return Lesson(terms, np.where(np.isfinite(target), target, np.nan))


def arrive(waiting: Waiting, slots: Ints, tick: Ints) -> None:
    """A record of each of n series comes: between its tick and the one before nothing was forecast from."""
    rows, places = skipped(waiting.last.shape[1], waiting.tick[slots], tick)
    waiting.last[slots[rows], places] = np.nan
    waiting.tick[slots] = tick


def remember(waiting: Waiting, steps: Ints, slots: Ints, terms: Floats, last: Floats, scale: Floats) -> None:
    """Keeps what is forecast from the newest tick. steps: [horizons]; terms: [n, horizons, terms]; last, scale: [n]."""
    # What is of tick k lies at k % ring, where `recall` looks for it.
    now = waiting.tick[slots] % waiting.last.shape[1]
    waiting.terms[slots[:, None], waiting.rings(steps).places(waiting.tick[slots, None])] = terms
    waiting.last[slots, now] = last
    waiting.scale[slots, now] = scale


@dataclass(frozen=True)
class Filters:
    """The filters of every series, one row ("slot") each. They forecast in usual steps of the target."""

    weights: Annotated[Floats, Over("horizons", "terms")]
    """[slots, horizons, terms]."""
    variance: Annotated[Floats, Over("horizons", Symmetric("terms", halved=True))]
    """[slots, horizons, terms (terms + 1) / 2]: the inverse of the discounted correlation of the terms, which is
    symmetric: its upper half, row by row."""
    noise: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: moving mean square of the cut innovations."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], terms: int, *, trusted: int | None = None) -> Self:
        """trusted: the place of a term that is a forecast itself, from which the filter begins; otherwise it begins as
        persistence."""
        # Far targets are noisier, and what they teach overlaps: as much caution is a smaller variance.
        variance = FIRST_VARIANCE if trusted is None else TRUSTING_VARIANCE
        first = variance / np.array(horizon, dtype=np.float64)
        half = UpperHalf.of(terms)
        identity = np.zeros(len(half.rows))
        identity[half.diagonal] = 1.0
        weights = np.zeros((slots, len(horizon), terms))
        if trusted is not None:
            weights[:, :, trusted] = 1.0
        return cls(
            weights=weights,
            variance=np.repeat((first[:, None] * identity)[None], slots, axis=0),
            noise=np.ones((slots, len(horizon))),
        )


def learn(filters: Filters, slots: Ints, lesson: Lesson) -> None:
    """Learns from a lesson, of whose terms as many are looked at as the filters have; where one of them is NaN there
    is nothing to learn. Changes `filters` in place."""
    if LEARN is not None:
        _, horizons, terms = filters.weights.shape
        x, target = (np.ascontiguousarray(a, dtype=np.float64) for a in (lesson.terms, lesson.target))
        slots, scratch = np.ascontiguousarray(slots, dtype=np.int64), np.empty(terms)
        lessons = address(slots), address(x), x.shape[2], address(target)
        LEARN(table(filters), horizons, terms, len(slots), *lessons, address(scratch))
        return
    x = lesson.terms[:, :, : filters.weights.shape[2]]
    known = np.isfinite(lesson.target) & np.isfinite(x).all(axis=2)
    if not known.any():
        return
    x = np.where(known[..., None], x, 0.0)
    weights, variance, noise = filters.weights[slots], filters.variance[slots], filters.noise[slots]
    innovation = np.where(known, lesson.target, 0.0) - (weights * x).sum(axis=2)
    limit = CUT * np.sqrt(noise)
    cut = np.minimum(np.maximum(innovation, -limit), limit)
    # The update with forgetting f: k = P x / (f + x' P x), w += k e, P = (P - k x' P) / f.
    places = UpperHalf.of(x.shape[2])
    spread = np.matmul(np.take(variance, places.whole, axis=2), x[..., None])[..., 0]
    certainty = FORGETTING + (x * spread).sum(axis=2)
    gain = spread / certainty[..., None]
    learned = weights + gain * cut[..., None]
    # A product of the same two factors on both sides of the diagonal: symmetric to the last bit, so half is enough.
    explained = np.take(spread, places.rows, axis=2) * np.take(spread, places.columns, axis=2)
    explained /= certainty[..., None]
    shrunk = (variance - explained) / FORGETTING
    # All of P is scaled by one factor, so that it keeps its shape and stays positive definite.
    trace = np.take(shrunk, places.diagonal, axis=2).sum(axis=2)
    shrunk *= np.minimum(1.0, TRACE_CAP * x.shape[2] / trace)[..., None]
    filters.weights[slots] = np.where(known[..., None], learned, weights)
    filters.variance[slots] = np.where(known[..., None], shrunk, variance)
    moved = np.maximum(noise + NOISE_MEMORY * (cut * cut - noise), NOISE_FLOOR)
    filters.noise[slots] = np.where(known, moved, noise)


def forecast(filters: Filters, slots: Ints, terms: Floats, last: Floats, scale: Floats) -> Floats:
    """[n, horizons]: forecasts in the target's units from the first terms; NaN where the target or one of them is
    missing."""
    known = np.where(np.isnan(scale), 0.0, scale)
    steps: Floats = (filters.weights[slots] * terms[:, :, : filters.weights.shape[2]]).sum(axis=2)
    return last[:, None] + known[:, None] * steps


@dataclass(frozen=True)
class ArrivedRows:
    """n records that the filters learn and forecast from; of different series where there are no kernels."""

    slots: Ints
    """[n]."""
    tick: Ints
    """[n]: see `driftline.streams.grid`."""
    truth: Floats
    """[n]: the target's value, NaN where it teaches nothing."""
    terms: Floats
    """[n, horizons, terms]: of the filters that see the most."""
    last: Floats
    """[n]: the target's value to forecast from."""
    scale: Floats
    """[n]: its usual step."""


def follow(
    waiting: Waiting, plain: Filters, stack: Filters, steps: Ints, arrived: ArrivedRows
) -> tuple[Floats, Floats]:
    """[n, horizons] forecasts of both filters, which have learned from the records' truths before. steps: [horizons].
    All tables are changed in place."""
    if FOLLOW is not None:
        return _follow_in_sequence(waiting, plain, stack, steps, arrived)
    slots, terms, last, scale = arrived.slots, arrived.terms, arrived.last, arrived.scale
    arrive(waiting, slots, arrived.tick)
    lesson = recall(waiting, steps, slots, arrived.tick, arrived.truth)
    for filters in (plain, stack):
        learn(filters, slots, lesson)
    alone, over_models = (forecast(filters, slots, terms, last, scale) for filters in (plain, stack))
    remember(waiting, steps, slots, terms, last, scale)
    return alone, over_models


def _follow_in_sequence(
    waiting: Waiting, plain: Filters, stack: Filters, steps: Ints, arrived: ArrivedRows
) -> tuple[Floats, Floats]:
    """In C, one record after the other: a series may have several."""
    assert FOLLOW is not None  # noqa: S101
    n, horizons, terms = arrived.terms.shape
    alone, over_models, scratch = np.empty((n, horizons)), np.empty((n, horizons)), np.empty(2 * terms)
    measures = sizes(waiting.last.shape[1], horizons, plain.weights.shape[2], terms)
    integers = [np.ascontiguousarray(array, dtype=np.int64) for array in (arrived.slots, arrived.tick)]
    floats = [
        np.ascontiguousarray(a, dtype=np.float64) for a in (arrived.truth, arrived.terms, arrived.last, arrived.scale)
    ]
    arrays = [address(array) for array in (*integers, *floats, alone, over_models, scratch)]
    FOLLOW(table(waiting), table(plain), table(stack), measures, address(steps), n, *arrays)
    return alone, over_models
