"""The filter: it finds what is linear, survives glitches and silence, and is bit-equal however it is batched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.grid import NEVER
from driftline_inference.rls import Filters, Waiting, arrive, forecast, learn, recall, remember

STEPS = np.array([1])


def next_tick(waiting: Waiting) -> np.ndarray:
    """Of the only series, whose record comes in time."""
    tick = np.array([0]) if waiting.tick[0] == NEVER else waiting.tick + 1
    arrive(waiting, np.array([0]), tick)
    return tick


def step(
    filters: Filters, waiting: Waiting, terms: np.ndarray, last: np.ndarray, steps: np.ndarray = STEPS
) -> np.ndarray:
    """One record of one series, whose usual step is 1: learned from, forecast from, remembered."""
    slot, one = np.array([0]), np.ones(1)
    tick = next_tick(waiting)
    learn(filters, slot, recall(waiting, steps, slot, tick, last))
    found = forecast(filters, slot, terms, last, one)
    remember(waiting, steps, slot, terms, last, one)
    return found[0]


def feed(x: np.ndarray, y: np.ndarray, filters: Filters | None = None) -> np.ndarray:
    """The forecasts of one series; x: [n, terms], y: [n]."""
    filters = filters or Filters.empty(1, (1,), x.shape[1])
    waiting = Waiting.empty(1, (1,), x.shape[1])
    return np.array([step(filters, waiting, x[n][None, None], y[n : n + 1])[0] for n in range(len(y))])


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
    filters, waiting = Filters.empty(1, (1, 4), 1), Waiting.empty(1, (1, 4), 1)
    found = [step(filters, waiting, np.ones((1, 2, 1)), np.array([float(n)]), steps) for n in range(2000)]
    assert found[-1] == pytest.approx([2000.0, 2003.0], abs=1.0)


def test_a_filter_looks_at_as_many_terms_as_it_has():
    """The filters of `rls` and `stack` share what waits for its truth."""
    x, y = linear(500)
    plain, wide = Filters.empty(1, (1,), 3), Filters.empty(1, (1,), 4)
    waiting, slot, one = Waiting.empty(1, (1,), 4), np.array([0]), np.ones(1)
    terms = np.concatenate([x, np.ones((500, 1))], axis=1)
    found = []
    for n in range(500):
        lesson = recall(waiting, STEPS, slot, next_tick(waiting), y[n : n + 1])
        for filters in (plain, wide):
            learn(filters, slot, lesson)
        found.append(forecast(plain, slot, terms[n][None, None], y[n : n + 1], one)[0, 0])
        remember(waiting, STEPS, slot, terms[n][None, None], y[n : n + 1], one)
    np.testing.assert_allclose(found, feed(x, y), atol=1e-6)
