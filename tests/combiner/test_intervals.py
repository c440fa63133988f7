"""Intervals: they cover what they say, whatever comes, and what is far outside of them is told."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline_combiner.intervals import Intervals, judge, rates, widths

SLOT = np.array([0])


def run(errors: np.ndarray, horizon: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Of errors, [records], at one horizon: which truths fell into their interval, and which were anomalies. The first
    have neither."""
    intervals, steps = Intervals.empty(1, (horizon,)), np.array([horizon])
    hits, anomalies = [], []
    for n, error in enumerate(errors):
        count = np.array([n])
        ring = intervals.widths[0, (n - horizon) % horizon, 0, 0]
        found = judge(intervals, steps, SLOT, count, np.array([[error]]))
        if n >= horizon and np.isfinite(error) and np.isfinite(ring):
            hits.append(abs(error) <= ring)
        anomalies.append(bool(found.anomalous[0, 0]))
        widths(intervals, SLOT, count)
    return np.array(hits), np.array(anomalies)


@pytest.mark.parametrize("horizon", [1, 6, 36])
@pytest.mark.parametrize("kind", ["calm", "wilder", "by turns", "heavy"])
def test_nine_of_ten_truths_fall_into_their_interval(kind: str, horizon: int):
    random = np.random.default_rng(4)
    errors = random.standard_t(3, 10_000) if kind == "heavy" else random.normal(size=10_000)
    if kind == "wilder":
        errors[5_000:] *= 10
    if kind == "by turns":
        errors *= np.where(np.arange(10_000) // 700 % 2, 5.0, 1.0)
    hits, _ = run(errors, horizon)
    rolling = np.convolve(hits, np.ones(500) / 500, "valid")[500:]
    assert 0.89 < hits.mean() < 0.91
    assert rolling.min() > (0.82 if horizon < 36 else 0.74)


def test_what_is_far_outside_is_an_anomaly_and_the_rest_is_not():
    random = np.random.default_rng(5)
    errors = random.normal(size=5_000)
    errors[[2_000, 4_000]] = 1e9
    _, anomalies = run(errors)
    assert np.flatnonzero(anomalies).tolist() == [2_000, 4_000]


@given(st.lists(st.floats(-1e12, 1e12) | st.just(float("nan")), min_size=1, max_size=80), st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None)
def test_a_width_is_never_negative_and_never_infinite(errors: list[float], horizon: int):
    intervals, steps = Intervals.empty(1, (horizon,)), np.array([horizon])
    for n, error in enumerate(errors):
        judge(intervals, steps, SLOT, np.array([n]), np.array([[error]]))
        half = widths(intervals, SLOT, np.array([n]))[0, 0]
        assert np.isnan(half) or 0 <= half < np.inf


def test_far_horizons_move_more_slowly():
    moves = rates(np.array([1, 6, 36]))
    assert (np.diff(moves) < 0).all()
