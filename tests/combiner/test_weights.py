"""The strategies: known values, and weights that stay weights whatever comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from driftline_combiner.weights import Grams, blend, fit_window, normalised, online_learn, online_weights, rate

NUMBERS = st.floats(-1e9, 1e9) | st.just(float("nan"))
ERRORS = hnp.arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 5)), elements=NUMBERS)


def remembered(errors: np.ndarray, memory: float = 0.0) -> Grams:
    """Of errors, [n, records, members], what a memory holds of them."""
    n, _, members = errors.shape
    grams = Grams(np.zeros((n, members, members)), np.zeros((n, members, members)))
    for error in np.swapaxes(errors, 0, 1):
        grams = grams.learned(error, memory)
    return grams


def fitted(errors: np.ndarray) -> np.ndarray:
    """Weights where window and long memory have seen the same."""
    return fit_window(remembered(errors), remembered(errors))


def closed_form(first: np.ndarray, second: np.ndarray) -> float:
    """The second member's weight, from their errors; arXiv 2205.04622's problem for two."""
    difference = second - first
    return float(np.clip((-first * difference).sum() / (difference**2).sum(), 0, 1))


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3), st.floats(0.1, 10))
@settings(max_examples=100, deadline=None)
def test_two_members_get_the_closed_form(seed: int, bias: float, size: float):
    random = np.random.default_rng(seed)
    errors = random.normal(size=(1, 200, 2)) * np.array([1.0, size]) + np.array([0.0, bias])
    assert fitted(errors)[0, 1] == pytest.approx(closed_form(errors[0, :, 0], errors[0, :, 1]), abs=5e-3)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_no_other_weights_on_the_simplex_are_better(seed: int, members: int):
    random = np.random.default_rng(seed)
    errors = random.normal(size=(100, members)) @ random.normal(size=(members, members)) + random.normal(size=members)
    found = fitted(errors[None])[0]
    others = random.dirichlet(np.ones(members), 200)
    gram = errors.T @ errors
    ridge = 1e-3 * np.diag(gram).min() * np.eye(members)

    def cost(weights: np.ndarray) -> float:
        return float(weights @ (gram + ridge) @ weights)

    assert cost(found) <= min(cost(other) for other in others) * (1 + 1e-9)


@given(ERRORS)
@settings(max_examples=150, deadline=None)
def test_fitted_weights_are_weights_whatever_comes(errors: np.ndarray):
    weights = fitted(errors)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    total = weights.sum(axis=1)
    assert (np.isclose(total, 1) | (total == 0)).all()


def test_a_short_window_is_shrunk_towards_the_long_memory():
    random = np.random.default_rng(3)
    usually, lately = random.normal(size=(1, 8000, 2)), random.normal(size=(1, 250, 2))
    usually[..., 0] *= 0.5
    lately[..., 1] *= 0.5
    long = remembered(np.concatenate([usually, lately], axis=1), 0.0002)
    alone, shrunk = fitted(lately)[0], fit_window(remembered(lately), long)[0]
    assert alone[1] > 0.7
    assert shrunk[1] < 0.35
    assert fit_window(remembered(lately), remembered(lately))[0] == pytest.approx(alone)


def test_who_sat_out_keeps_what_was_known_of_it():
    before = remembered(np.ones((1, 10, 2)), 0.1)
    after = before.learned(np.array([[np.nan, 2.0]]), 0.1)
    assert after.products[0, 0] == pytest.approx(before.products[0, 0])
    assert after.products[0, 1, 1] == pytest.approx(0.9 * before.products[0, 1, 1] + 4.0)


def test_a_member_that_was_mostly_absent_gets_nothing():
    errors = np.random.default_rng(0).normal(size=(1, 100, 3))
    errors[0, 10:, 2] = np.nan
    assert fitted(errors)[0, 2] == 0


def test_a_member_that_is_wildly_wrong_spoils_no_weights():
    errors = np.ones((1, 13, 4))
    errors[0, 0, 0] = np.nan
    errors[0, 10] = [4.6e8, 1, 1.07e7, 1]
    assert fitted(errors)[0] == pytest.approx([0, 0.5, 0, 0.5], abs=1e-4)
    assert fitted(np.array([[[1.0, 8.13196483e-162]]]))[0].tolist() == [0, 1]


def test_who_is_absent_has_no_weight_and_the_others_share_it():
    weights = normalised(np.array([0.5, 0.25, 0.25]), np.array([False, True, True]))
    assert weights.tolist() == [0, 0.5, 0.5]
    assert normalised(np.zeros(2), np.array([True, True])).tolist() == [0.5, 0.5]
    assert normalised(np.ones(2), np.array([False, False])).tolist() == [0, 0]


@given(hnp.arrays(np.float64, 4, elements=NUMBERS), hnp.arrays(np.float64, 4, elements=st.floats(0, 1)))
def test_a_blend_lies_between_the_members_that_are_present(forecasts: np.ndarray, raw: np.ndarray):
    present = np.isfinite(forecasts)
    found = blend(normalised(raw, present), forecasts, present)
    if present.any():
        margin = 1e-6 * max(1.0, np.abs(forecasts[present]).max())
        assert forecasts[present].min() - margin <= found <= forecasts[present].max() + margin
    else:
        assert np.isnan(found)


def run_online(errors: np.ndarray) -> np.ndarray:
    """Squared errors of ML-Poly over the members' errors, [records, members]."""
    members = errors.shape[1]
    regret, second, bound = np.zeros(members), np.zeros(members), np.zeros(1)
    found = np.empty(len(errors))
    for n, error in enumerate(errors):
        present, trust = np.ones(members, dtype=bool), np.ones(1)
        weights = online_weights(regret, rate(second, bound), present, prior=np.zeros(members), trust=trust)
        mine = float(weights @ error)
        found[n] = mine**2
        gradient, distance = np.array([mine]), mine - error
        regret, second, bound = online_learn(regret, second, bound, gradient=gradient, distance=distance)
    return found


def begun(present: list[bool], trust: float) -> list[float]:
    """Regret speaks for the first of three members, the prior for the other two alike."""
    regret, prior = np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0])
    there = np.array(present)
    return online_weights(regret, np.ones(3), there, prior=prior, trust=np.array([trust])).tolist()


def test_online_goes_from_the_prior_to_what_was_learned():
    everyone = [True, True, True]
    assert begun(everyone, 0.0) == [0.0, 0.5, 0.5]
    assert begun(everyone, 0.5) == [0.5, 0.25, 0.25]
    assert begun(everyone, 1.0) == [1.0, 0.0, 0.0]


def test_a_prior_is_believed_as_far_as_one_of_its_members_is_there():
    assert begun([True, False, True], 0.0) == [0.0, 0.0, 1.0]
    assert begun([True, False, False], 0.0) == [1.0, 0.0, 0.0]


def test_online_comes_close_to_the_best_member():
    errors = np.random.default_rng(1).normal(size=(5000, 3)) * np.array([1.0, 3.0, 5.0])
    errors[:, 1:] += 2.0
    assert run_online(errors).mean() < 1.02 * (errors**2).mean(axis=0).min()


def test_online_beats_every_member_where_their_errors_cancel():
    random = np.random.default_rng(2)
    shared = random.normal(size=5000)
    errors = np.stack([shared, -shared], axis=1) + 0.1 * random.normal(size=(5000, 2))
    assert run_online(errors)[500:].mean() < 0.1 * (errors**2).mean(axis=0).min()


def test_online_changes_sides_when_the_best_member_does():
    random = np.random.default_rng(3)
    size = np.where(np.arange(4000)[:, None] < 2000, [1.0, 4.0], [4.0, 1.0])
    errors = random.normal(size=(4000, 2)) * size
    assert run_online(errors)[3000:].mean() < 2.0
