"""Prediction intervals around the blend that keep their coverage while the data drift, and anomalies outside of them.

Gibbs and Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021, in the form of the quantile
tracker of Angelopoulos, Candes and Tibshirani, "Conformal PID control for time series prediction", NeurIPS 2023: the
half width is a quantile of the error in units of its usual size, moved up by every miss and down by every hit, so that
in the long run the misses are as many as they should be, whatever the data do. Here it moves by factors, which keeps it
positive and free of units. Pure NumPy over many series and horizons at once.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.streams.grid import skipped

LEVEL = 0.9
"""Share of the truths that should fall into the interval."""
RATE = 0.05
"""How far a miss moves the quantile, one step ahead; further ahead misses come in swarms, and it moves less."""
USUAL_MEMORY = 0.02
"""Of the usual error in which errors are measured: about the last 50 records."""
FIRST = 2.0
"""First half width in usual errors: about that of a normal distribution."""
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

    usual: Floats
    """[slots, horizons]: moving mean absolute error of what was published; NaN before the first."""
    quantile: Floats
    """[slots, horizons]: half width of the interval in usual errors."""
    extreme: Floats
    """[slots, horizons]: the same of the extreme interval."""
    widths: Floats
    """[slots, ring, horizons, 2]: half widths of both, until the truth comes; a ring by tick (see
    `driftline.streams.grid`); NaN for none."""
    scored: Floats
    """[slots, horizons]: truths that met an interval."""
    covered: Floats
    """[slots, horizons]: those of them that fell into it."""
    recent: Floats
    """[slots, horizons]: moving share of them."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], patience: int = 0) -> Self:
        shape = (slots, len(horizon))
        return cls(
            usual=np.full(shape, np.nan),
            quantile=np.full(shape, FIRST),
            extreme=np.full(shape, FIRST_EXTREME),
            widths=np.full((slots, max(horizon) + patience, len(horizon), 2), np.nan),
            scored=np.zeros(shape),
            covered=np.zeros(shape),
            recent=np.full(shape, LEVEL),
        )


@dataclass(frozen=True)
class Anomalies:
    """[n, horizons] each: whether an error was outside the extreme interval, and how many usual errors it was."""

    anomalous: Mask
    size: Floats


def arrive(intervals: Intervals, slots: Ints, before: Ints, tick: Ints) -> None:
    """A forecast of each of n series comes: between its tick and the one `before` there was no interval."""
    rows, places = skipped(intervals.widths.shape[1], before, tick)
    intervals.widths[slots[rows], places] = np.nan


def judge(intervals: Intervals, steps: Ints, slots: Ints, tick: Ints, error: Floats) -> Anomalies:
    """Compares the published errors of n series with the intervals that were given, and learns from them.

    steps: [horizons]. slots: [n], each at most once. tick: [n] of the truths. error: [n, horizons], NaN where nothing
    is known. Changes `intervals` in place.
    """
    then = (tick[:, None] - steps) % intervals.widths.shape[1]
    widths = intervals.widths[slots[:, None], then, np.arange(len(steps))]
    size = np.abs(error)
    known = np.isfinite(size) & np.isfinite(widths[..., 0])
    missed = size > widths[..., 0]
    quantile = intervals.quantile[slots]
    moved = quantile * np.exp(rates(steps) * (missed - (1.0 - LEVEL)))
    intervals.quantile[slots] = np.where(known, moved, quantile)
    _tally(intervals, slots, known, missed)
    beyond = known & (size > widths[..., 1])
    extreme = intervals.extreme[slots]
    further = np.maximum(extreme * np.exp(RARE_RATE * (beyond - RARE)), LEAST_EXTREME)
    intervals.extreme[slots] = np.where(known, further, extreme)
    usual = intervals.usual[slots]
    anomalous = beyond & (intervals.scored[slots] >= ENOUGH)
    _learn_usual(intervals, slots, size)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return Anomalies(anomalous, size / usual)


def rates(steps: Ints) -> Floats:
    """[horizons]: how far one miss moves the quantile."""
    slower: Floats = RATE * steps.astype(np.float64) ** (-1 / 6)
    return slower


def _tally(intervals: Intervals, slots: Ints, known: Mask, missed: Mask) -> None:
    hit = known & ~missed
    intervals.scored[slots] += known
    intervals.covered[slots] += hit
    recent = intervals.recent[slots]
    intervals.recent[slots] = np.where(known, recent + COVERAGE_MEMORY * (hit - recent), recent)


def _learn_usual(intervals: Intervals, slots: Ints, size: Floats) -> None:
    """A young series follows its first errors quickly."""
    usual = intervals.usual[slots]
    memory = np.maximum(USUAL_MEMORY, 1.0 / (intervals.scored[slots] + 2.0))
    mild = np.where(usual > 0, np.minimum(size, GLITCH * usual), size)
    moved = np.where(np.isnan(usual), mild, usual + memory * (mild - usual))
    intervals.usual[slots] = np.where(np.isfinite(size), moved, usual)


def widths(intervals: Intervals, slots: Ints, tick: Ints) -> Floats:
    """[n, horizons]: half widths of the intervals around what is published now, remembered until its truth comes; NaN
    before there was any error. tick: [n] of now."""
    usual = intervals.usual[slots]
    both = np.stack([intervals.quantile[slots] * usual, intervals.extreme[slots] * usual], axis=2)
    intervals.widths[slots, tick % intervals.widths.shape[1]] = both
    return both[..., 0]
