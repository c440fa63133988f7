"""Quantiles and intervals around the blend that keep their coverage while the data drift, and anomalies beyond them.

Gibbs and Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021, in the form of the controller
of Angelopoulos, Candes and Tibshirani, "Conformal PID control for time series prediction", NeurIPS 2023. A quantile of
the error is a distance in units of its usual size: every truth beyond moves the distance up, every other down, so that
in the long run as many are beyond as should be, whatever the data do. A bounded term widens all of them while there
were too many misses of late: far ahead errors overlap and misses come in swarms. Distances move by factors, which keeps
them positive and free of units. Pure NumPy over many series and horizons at once.
"""

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from driftline.arrays import TINY, Floats, Ints, Mask, Over, PerHorizon, clipped
from driftline.scoring import LEVELS
from driftline.streams.horizon_rings import HorizonRings

LEVEL = 0.9
"""Share of the truths that should fall into the interval, which lies between the outermost of LEVELS."""
SHARES = np.array([LEVELS[0], LEVELS[1], 1.0 - LEVELS[3], 1.0 - LEVELS[4]])
"""Of the truths that should be beyond a tail's distance."""
TAU = np.array(LEVELS)
FIRST = (2.0, 1.55, 1.55, 2.0)
"""First distances of the tails in usual errors: about those of a normal distribution."""
RATES = (0.002, 0.02, 0.02, 0.002)
"""How far a truth moves a tail by its own misses, one step ahead: the outer ones move together, by WIDER."""
MEDIAN_RATE = 0.03
SLOWER = -0.5
"""Tails and median move by this power of the steps ahead: misses that overlap are one."""
WIDER, NEAR = 0.01, 12
"""How far a miss of the interval widens all distances, up to so many steps ahead. Further ahead it is slower by the
same power: a swarm of misses that are one would make the interval many times too wide, for thousands of records."""
EARLIER = 0.004
"""Far ahead the interval aims at so much more than LEVEL: misses are known too late."""
FAR, MUCH_EARLIER, LEAST_AIM = 36, 0.012, 0.02
"""From so many steps ahead on it is so much more for each doubling, since widening is slow there; at least so many
misses are left."""
URGENCY, URGENT = 40.0, 0.6
"""How much wider for a share of misses of late that is too large, and the limit of it, both as logarithms."""
MISS_MEMORY = 1 / 300
USUAL_MEMORY = 0.02
"""Of the usual error in which errors are measured, one step ahead: about the last 50 records; SLOWLY further ahead."""
SLOWLY = -0.8
QUICK_MEMORY = 0.1
"""Of the first horizon's error, which shows at once when times become wild or calm."""
LIVELINESS, AGREEMENT = 0.5, 0.3
"""Powers of how lively the first horizon's errors are, and of how far the blend is from persistence, in the scale."""
STEADY = 0.5
"""The scale's share that does not depend on the second."""
FURTHEST = 10.0
"""Neither changes the scale by more."""
BOUND = 4.0
"""Distances and the widening stay within so many times e of where they began, in logarithms."""
NEAREST, FARTHEST = np.exp(-BOUND), np.exp(BOUND)
RARE = 1e-4
"""Share of the truths that may fall out of the extreme interval: those are anomalies."""
RARE_RATE = 0.2
FIRST_EXTREME = 20.0
LEAST_EXTREME = 6.0
GLITCH = 10.0
"""The usual error learns from errors up to so many times itself."""
COVERAGE_MEMORY = 0.002
"""Of the recent coverage: about the last 500 records."""
ENOUGH = 100
"""Scored records before anything is called an anomaly."""


@dataclass(frozen=True)
class Intervals:
    """One row ("slot") a series."""

    usual: Annotated[Floats, Over("horizons", "errors")]
    """[slots, horizons, 3]: moving mean absolute errors of what was published: the usual one, the first horizon's with
    the same memory and the first horizon's with a short one; NaN before the first."""
    spread: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: moving mean distance of the blend from persistence."""
    tails: Annotated[Floats, Over("horizons", 4)]
    """[slots, horizons, 4]: distances of the outer quantiles from the median, the lowest first, in units."""
    median: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: the median of truth minus forecast in units."""
    wider: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: logarithm of the factor of all distances."""
    excess: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: moving share of misses beyond those that should be."""
    extreme: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: half width of the extreme interval in usual errors."""
    widths: Annotated[Floats, Over(PerHorizon(), "widths")]
    """[slots, places, levels + 1]: the quantiles of truth minus forecast, and the half width of the extreme interval,
    until the truth comes; for the places see `HorizonRings`; NaN for none."""
    scored: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: truths that met an interval."""
    covered: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: those of them that fell into it."""
    recent: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: moving share of them."""
    pinball: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: sum over the truths of the mean pinball loss of all levels."""
    loss: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: moving mean of it; NaN before the first."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], patience: int = 0) -> Self:
        shape = (slots, len(horizon))
        return cls(
            usual=np.full((*shape, 3), np.nan),
            spread=np.full(shape, np.nan),
            tails=np.broadcast_to(np.array(FIRST), (*shape, len(FIRST))).copy(),
            median=np.zeros(shape),
            wider=np.zeros(shape),
            excess=np.zeros(shape),
            extreme=np.full(shape, FIRST_EXTREME),
            widths=np.full((slots, HorizonRings.of(horizon, patience).size, len(LEVELS) + 1), np.nan),
            scored=np.zeros(shape),
            covered=np.zeros(shape),
            recent=np.full(shape, LEVEL),
            pinball=np.zeros(shape),
            loss=np.full(shape, np.nan),
        )


@dataclass(frozen=True)
class Pace:
    """How fast everything moves at each horizon: the same for all records, so it is worked out once."""

    rings: HorizonRings
    """Where intervals wait for their truths."""
    aim: Floats
    """[horizons]: share of misses that is aimed at."""
    rates: Floats
    """[horizons, 4]: of the tails."""
    median: Floats
    """[horizons]: of the median."""
    wider: Floats
    """[horizons]: of the widening."""
    usual: Floats
    """[horizons]: memory of the usual error."""

    @property
    def steps(self) -> Ints:
        """[horizons]: periods ahead."""
        return self.rings.steps

    @classmethod
    def of(cls, rings: HorizonRings) -> Self:
        far = rings.steps.astype(np.float64)
        slower, slowly = np.power(far, SLOWER), np.power(far, SLOWLY)
        doublings = np.log2(np.maximum(far / FAR, 1.0))
        return cls(
            rings=rings,
            aim=np.maximum(1.0 - LEVEL - EARLIER * (1.0 - 1.0 / far) - doublings * MUCH_EARLIER, LEAST_AIM),
            rates=np.array(RATES) * slower[:, None],
            median=MEDIAN_RATE * slower,
            wider=WIDER * np.power(np.maximum(far / NEAR, 1.0), SLOWER),
            usual=USUAL_MEMORY * slowly,
        )


@dataclass(frozen=True)
class Anomalies:
    """[n, horizons] each: whether an error was outside the extreme interval, and how many usual errors it was."""

    anomalous: Mask
    size: Floats


def arrive(intervals: Intervals, rings: HorizonRings, slots: Ints, before: Ints, tick: Ints) -> None:
    """A forecast of each of n series comes: between its tick and the one `before` there was no interval."""
    rows, places = rings.skipped(before, tick)
    intervals.widths[slots[rows], places] = np.nan


def judge(intervals: Intervals, pace: Pace, slots: Ints, tick: Ints, error: Floats) -> Anomalies:
    """Compares the published errors of n series with the quantiles that were given, and learns from them.

    slots: [n], each at most once. tick: [n] of the truths. error: [n, horizons], NaN where nothing
    is known. Changes `intervals` in place.
    """
    widths = intervals.widths[slots[:, None], pace.rings.places(tick[:, None] - pace.steps)]
    size = np.abs(error)
    known = np.isfinite(size) & np.isfinite(widths[..., 0])
    missed = _learn_quantiles(intervals, pace, slots, known, widths[..., :-1] + error[..., None])
    _tally(intervals, slots, known, missed)
    beyond = known & (size > widths[..., -1])
    extreme = intervals.extreme[slots]
    further = np.maximum(extreme * np.exp(RARE_RATE * (beyond - RARE)), LEAST_EXTREME)
    intervals.extreme[slots] = np.where(known, further, extreme)
    usual = intervals.usual[slots, :, 0]
    anomalous = beyond & (intervals.scored[slots] >= ENOUGH)
    _learn_usual(intervals, pace, slots, size)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return Anomalies(anomalous, size / usual)


def _learn_quantiles(intervals: Intervals, pace: Pace, slots: Ints, known: Mask, above: Floats) -> Mask:
    """above: [n, horizons, levels], how far each quantile was above the truth. Returns which intervals missed it."""
    below, over = above > 0, above < 0
    missed: Mask = below[..., 0] | over[..., -1]
    # Where errors and interval are nothing at all, there is nothing to learn.
    learning = known & (above != 0).any(axis=-1)
    share = np.where(learning, missed - pace.aim, 0.0)
    wider = intervals.wider[slots] + pace.wider * share
    intervals.wider[slots] = np.minimum(np.maximum(wider, -BOUND), BOUND)
    excess = intervals.excess[slots]
    intervals.excess[slots] = np.where(learning, excess + MISS_MEMORY * (share - excess), excess)
    beyond = np.concatenate([below[..., :2], over[..., -2:]], axis=-1)
    moved = intervals.tails[slots] * np.exp(np.where(learning[..., None], pace.rates * (beyond - SHARES), 0.0))
    intervals.tails[slots] = np.minimum(np.maximum(moved, NEAREST), FARTHEST)
    moves = pace.median * (0.5 * over[..., 2] - 0.5 * below[..., 2])
    median = intervals.median[slots] + np.where(learning, moves, 0.0)
    intervals.median[slots] = np.minimum(np.maximum(median, -FIRST[0]), FIRST[0])
    _score(intervals, slots, known, above)
    return missed


def _score(intervals: Intervals, slots: Ints, known: Mask, above: Floats) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        loss = np.maximum((1.0 - TAU) * above, -TAU * above).mean(axis=-1)
    intervals.pinball[slots] += np.where(known, loss, 0.0)
    before = intervals.loss[slots]
    moved = np.where(np.isnan(before), loss, before + COVERAGE_MEMORY * (loss - before))
    intervals.loss[slots] = np.where(known, moved, before)


def _tally(intervals: Intervals, slots: Ints, known: Mask, missed: Mask) -> None:
    hit = known & ~missed
    intervals.scored[slots] += known
    intervals.covered[slots] += hit
    recent = intervals.recent[slots]
    intervals.recent[slots] = np.where(known, recent + COVERAGE_MEMORY * (hit - recent), recent)


def _learn_usual(intervals: Intervals, pace: Pace, slots: Ints, size: Floats) -> None:
    """A young series follows its first errors quickly."""
    scored = intervals.scored[slots]
    young = 1.0 / (scored + 2.0)
    sizes, memories = np.empty((2, *scored.shape, 3))
    sizes[..., 0], sizes[..., 1:] = size, size[:, :1, None]
    memories[..., 0] = np.maximum(pace.usual, young)
    memories[..., 1] = np.maximum(pace.usual, young[:, :1])
    memories[..., 2] = np.maximum(QUICK_MEMORY, young[:, :1])
    intervals.usual[slots] = _followed(intervals.usual[slots], sizes, memories)


def _followed(mean: Floats, size: Floats, memory: Floats) -> Floats:
    """The moving mean with one more size; NaN of it changes nothing."""
    mild = np.where(mean > 0, np.minimum(size, GLITCH * mean), size)
    moved = np.where(np.isnan(mean), mild, mean + memory * (mild - mean))
    return np.where(np.isfinite(size), moved, mean)


def widths(
    intervals: Intervals,
    pace: Pace,
    slots: Ints,
    tick: Ints,
    spread: Floats,
    possible: tuple[Floats, Floats] | None = None,
) -> Floats:
    """[n, horizons, levels]: quantiles of truth minus forecast for what is published now, remembered until its truth
    comes; NaN before there was any error. tick: [n] of now. spread: [n, horizons] how far the
    forecast is from persistence. possible: least and greatest truth minus forecast, [n, horizons] each, where the
    stream has a range.

    Quantiles are brought into the range before they are remembered, so that coverage and loss are those of what is
    published. That leaves coverage right: a truth that is possible lies beyond a quantile that is brought in if and
    only if it lay beyond it before, but for a quantile that was beyond the whole range.
    """
    around = _quantiles(intervals, slots, _scale(intervals, pace, slots, spread))
    if possible is not None:
        around = clipped(around, possible[0][..., None], possible[1][..., None])
    extreme = intervals.extreme[slots] * intervals.usual[slots, :, 0]
    now = pace.rings.places(tick[:, None])
    intervals.widths[slots[:, None], now] = np.concatenate([around, extreme[..., None]], axis=2)
    return around


def _scale(intervals: Intervals, pace: Pace, slots: Ints, spread: Floats) -> Floats:
    """[n, horizons]: size of the errors that are to be expected now; learns what spread is usual."""
    scored = intervals.scored[slots]
    slow = np.maximum(pace.usual, 1.0 / (scored + 2.0))
    usual = intervals.spread[slots] = _followed(intervals.spread[slots], spread, slow)
    errors = intervals.usual[slots]
    lively = _ratio(errors[..., 2], errors[..., 1])
    apart = (_ratio(spread, usual) + STEADY) / (1.0 + STEADY)
    # The first errors far ahead overlap: what is usual is not known well yet.
    young = 1.0 + (pace.steps - 1) / (scored + pace.steps)
    scale: Floats = young * errors[..., 0] * lively**LIVELINESS * apart**AGREEMENT
    return scale


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Within FURTHEST; 1 where it is not known."""
    known = (whole > TINY) & np.isfinite(part)
    ratio = np.where(known, part, 1.0) / np.where(known, whole, 1.0)
    return np.minimum(np.maximum(ratio, 1 / FURTHEST), FURTHEST)


def _quantiles(intervals: Intervals, slots: Ints, scale: Floats) -> Floats:
    """[n, horizons, levels]: monotone in the level."""
    urgent = np.minimum(URGENCY * intervals.excess[slots], URGENT)
    outer = intervals.tails[slots] * np.exp(intervals.wider[slots] + urgent)[..., None]
    inner = np.minimum(outer[..., 1:3], outer[..., ::3])
    median = np.minimum(np.maximum(intervals.median[slots], -inner[..., 0]), inner[..., 1])
    distances = [-outer[..., 0], -inner[..., 0], np.zeros_like(median), inner[..., 1], outer[..., 3]]
    quantiles: Floats = scale[..., None] * (median[..., None] + np.stack(distances, axis=-1))
    return quantiles
