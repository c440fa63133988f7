"""Quantiles: they cover what they say, whatever comes, and what is far outside of them is reported."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.scoring import LEVELS
from driftline.streams.horizon_rings import HorizonRings
from driftline_combiner.intervals import Intervals, Pace, judge, widths

SLOT = np.array([0])
ALIKE = np.ones((1, 1))
"""How far the forecast is from persistence: always the same."""


def run(errors: np.ndarray, horizon: int = 1) -> tuple[np.ndarray, np.ndarray, Intervals]:
    """Of errors (truth minus forecast), [records], at one horizon: the quantiles that each truth met, [records,
    levels], NaN where there were none; which truths were anomalies; and what was learned."""
    intervals, pace = Intervals.empty(1, (horizon,)), Pace.of(HorizonRings.of((horizon,), 0))
    quantiles, anomalies = [], []
    for n, error in enumerate(errors):
        count = np.array([n])
        quantiles.append(intervals.widths[0, (n - horizon) % horizon, :-1].copy())
        judged = judge(intervals, pace, SLOT, count, np.array([[-error]]))
        anomalies.append(bool(judged.anomalous[0, 0]))
        widths(intervals, pace, SLOT, count, ALIKE)
    return np.array(quantiles), np.array(anomalies), intervals


def hits(errors: np.ndarray, horizon: int) -> np.ndarray:
    """Which truths fell into the interval, of those that met one."""
    quantiles, _, _ = run(errors, horizon)
    known = np.isfinite(quantiles[:, 0])
    inside: np.ndarray = ((quantiles[:, 0] <= errors) & (errors <= quantiles[:, -1]))[known]
    return inside


def least(inside: np.ndarray) -> float:
    """Coverage of the worst 500 truths in a row, behind the first 500."""
    return float(np.convolve(inside, np.ones(500) / 500, "valid")[500:].min())


@pytest.mark.parametrize("horizon", [1, 6, 36])
@pytest.mark.parametrize("kind", ["calm", "wilder", "by turns", "heavy"])
def test_nine_of_ten_truths_fall_into_their_interval(kind: str, horizon: int):
    random = np.random.default_rng(4)
    errors = random.standard_t(3, 10_000) if kind == "heavy" else random.normal(size=10_000)
    if kind == "wilder":
        errors[5_000:] *= 10
    if kind == "by turns":
        errors *= np.where(np.arange(10_000) // 700 % 2, 5.0, 1.0)
    inside = hits(errors, horizon)
    assert 0.89 < inside.mean() < 0.91
    assert least(inside) > 0.82


def score(lower: np.ndarray | float, upper: np.ndarray | float, errors: np.ndarray) -> float:
    """The mean interval score (Winkler) of 90 % intervals: their width, and 20 times how far truths are beyond."""
    beyond = np.maximum(lower - errors, 0.0) + np.maximum(errors - upper, 0.0)
    return float(np.mean(upper - lower + 20 * beyond))


@pytest.mark.parametrize("seed", range(3))
def test_far_ahead_a_swarm_of_misses_makes_no_interval_many_times_too_wide(seed: int):
    random, horizon = np.random.default_rng(seed), 144
    lively = np.repeat(np.exp(0.5 * random.normal(size=40)), 200)
    errors = np.convolve(random.normal(size=8_000) * lively, np.ones(horizon), "valid")[:7_800]
    quantiles, _, _ = run(errors, horizon)
    given, errors = quantiles[1_000:], errors[1_000:]
    best = np.quantile(errors, [0.05, 0.95])
    assert score(given[:, 0], given[:, -1], errors) < 3 * score(best[0], best[1], errors)
    assert np.mean((given[:, 0] <= errors) & (errors <= given[:, -1])) > 0.87


@pytest.mark.parametrize("horizon", [6, 36])
def test_errors_that_overlap_are_covered_in_every_stretch(horizon: int):
    random = np.random.default_rng(6)
    lively = np.repeat(np.exp(0.5 * random.normal(size=50)), 200)
    steps = random.normal(size=10_000) * lively
    errors = np.convolve(steps, np.ones(horizon), "valid")
    inside = hits(errors, horizon)
    assert 0.89 < inside.mean() < 0.91
    assert least(inside) > 0.8


def test_every_quantile_has_its_share_below_where_errors_are_skewed():
    errors = np.random.default_rng(7).exponential(size=20_000) - 0.5
    quantiles, _, _ = run(errors)
    below = (errors[2_000:, None] <= quantiles[2_000:]).mean(axis=0)
    assert below == pytest.approx(LEVELS, abs=0.03)


def test_the_pinball_loss_is_that_of_the_quantiles_that_were_given():
    errors = np.random.default_rng(8).normal(size=300)
    quantiles, _, intervals = run(errors)
    over = errors[:, None] - quantiles
    tau = np.array(LEVELS)
    losses = np.where(over >= 0, tau * over, (tau - 1) * over).mean(axis=1)
    assert intervals.pinball[0, 0] == pytest.approx(np.nansum(losses))
    assert np.nanmin(losses) < intervals.loss[0, 0] < np.nanmax(losses)


def test_what_is_far_outside_is_an_anomaly_and_the_rest_is_not():
    random = np.random.default_rng(5)
    errors = random.normal(size=5_000)
    errors[[2_000, 4_000]] = 1e9
    _, anomalies, _ = run(errors)
    assert np.flatnonzero(anomalies).tolist() == [2_000, 4_000]


def test_a_series_that_never_errs_keeps_what_it_began_from():
    _, _, intervals = run(np.zeros(1_000))
    blank = Intervals.empty(1, (1,))
    assert intervals.tails.tolist() == blank.tails.tolist()
    assert intervals.wider.tolist() == blank.wider.tolist()


@given(st.lists(st.floats(-1e12, 1e12) | st.just(float("nan")), min_size=1, max_size=80), st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None)
def test_quantiles_are_finite_and_rise_with_their_level(errors: list[float], horizon: int):
    quantiles, _, _ = run(np.array(errors), horizon)
    known = quantiles[np.isfinite(quantiles).any(axis=1)]
    assert np.isfinite(known).all()
    assert (np.diff(known, axis=1) >= 0).all()
    assert (known[:, 0] <= 0).all()
    assert (known[:, -1] >= 0).all()
