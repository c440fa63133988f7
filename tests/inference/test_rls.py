"""The filter: it finds what is linear, survives glitches and silence, and is bit-equal however it is batched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.features import Inputs
from driftline_inference.rls import Filters, forecast, learn

STEPS = np.array([1])


def inputs(terms: np.ndarray, last: np.ndarray) -> Inputs:
    """What one series is forecast from, of the size of step 1."""
    nothing = np.empty((1, 0), np.float32)
    return Inputs(nothing, terms, last, np.ones(1), np.ones(1, dtype=bool), np.empty((1, 0, 0)))


def feed(x: np.ndarray, y: np.ndarray, filters: Filters | None = None) -> np.ndarray:
    """The forecasts of one series; x: [n, terms], y: [n]."""
    filters = filters or Filters.empty(1, (1,), x.shape[1])
    found = np.empty(len(y))
    slot = np.array([0])
    for n in range(len(y)):
        learn(filters, STEPS, slot, y[n : n + 1])
        part = inputs(x[n][None, None], y[n : n + 1])
        found[n] = forecast(filters, slot, part)[0, 0]
    return found


def linear(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and a target whose next difference is linear in them."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 3))
    steps = x @ np.array([0.5, -0.3, 0.2]) + 0.01 * random.normal(size=n)
    return x, np.concatenate([[0.0], np.cumsum(steps)[:-1]])


def test_it_finds_what_is_linear():
    x, y = linear(2000)
    error = feed(x, y)[1000:-1] - y[1001:]
    assert np.sqrt(np.mean(error**2)) < 0.05


def test_a_glitch_moves_it_only_a_little():
    x, y = linear(3000)
    y[2000] += 1e6
    error = feed(x, y)[2100:-1] - y[2101:]
    assert np.sqrt(np.mean(error**2)) < 0.05


def test_before_it_knows_anything_it_repeats_the_last_value():
    x, y = linear(3)
    assert feed(x, y)[0] == y[0]


def test_a_missing_target_forecasts_nothing_and_teaches_nothing():
    x, y = linear(500)
    y[100:120] = np.nan
    found = feed(x, y)
    assert np.isnan(found[100:120]).all()
    assert np.isfinite(found[120:]).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-9, 1.0, 1e9]))
@settings(max_examples=25, deadline=None)
def test_its_state_stays_finite_whatever_comes(seed: int, size: float):
    random = np.random.default_rng(seed)
    filters = Filters.empty(1, (1,), 3)
    y = size * random.standard_cauchy(300)
    y[random.random(300) < 0.1] = np.nan
    feed(random.normal(size=(300, 3)) * (random.random() < 0.5), y, filters)
    assert np.isfinite(filters.weights).all()
    assert np.isfinite(filters.variance).all()


def test_several_horizons_learn_from_their_own_past():
    steps = np.array([1, 4])
    filters = Filters.empty(1, (1, 4), 1)
    slot = np.array([0])
    found = np.empty((400, 2))
    for n in range(400):
        y = np.array([float(n)])
        learn(filters, steps, slot, y)
        part = inputs(np.ones((1, 2, 1)), y)
        found[n] = forecast(filters, slot, part)[0]
    assert found[-1] == pytest.approx([400.0, 403.0], abs=1.0)
