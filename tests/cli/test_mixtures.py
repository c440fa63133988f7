"""The best weights in hindsight, against brute force."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline_cli.mixtures import best_mixture, best_with_one_shift

pytestmark = pytest.mark.unit


def errors(seed: int, n: int, members: int) -> np.ndarray:
    """Correlated, biased, of different sizes."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((n, members)) @ random.standard_normal((members, members))
    return mixed + random.standard_normal(members)


def grid(members: int, steps: int) -> np.ndarray:
    """[points, members]: all convex weights in whole steps."""
    corners = product(range(steps + 1), repeat=members - 1)
    return np.array([[*corner, steps - sum(corner)] for corner in corners if sum(corner) <= steps]) / steps


@given(seed=st.integers(0, 10_000), members=st.integers(1, 4))
def test_no_point_of_a_grid_is_better_than_the_best_mixture(seed: int, members: int):
    wrong = errors(seed, 50, members)
    best = best_mixture(wrong)
    tried = np.sqrt(np.mean((wrong @ grid(members, 20).T) ** 2, axis=0))
    assert best.weights.sum() == pytest.approx(1)
    assert (best.weights >= 0).all()
    assert best.rmse == pytest.approx(np.sqrt(np.mean((wrong @ best.weights) ** 2)))
    assert best.rmse <= tried.min() * (1 + 1e-6)
    # The grid comes within a step of it.
    assert tried.min() <= best.rmse + 0.05 * np.abs(wrong).max() * members


def test_two_members_have_the_closed_form():
    wrong = errors(3, 200, 2)
    difference = wrong[:, 0] - wrong[:, 1]
    share = np.clip(-(wrong[:, 1] * difference).sum() / (difference**2).sum(), 0, 1)
    assert best_mixture(wrong).weights == pytest.approx([share, 1 - share], abs=1e-6)


def test_members_that_forecast_the_same_are_no_problem():
    wrong = errors(5, 100, 2)
    twice = best_mixture(np.column_stack([wrong, wrong]))
    assert twice.rmse == pytest.approx(best_mixture(wrong).rmse, rel=1e-6)


def test_a_member_that_is_never_wrong_has_all_the_weight():
    wrong = np.column_stack([errors(1, 100, 1)[:, 0], np.zeros(100)])
    best = best_mixture(wrong)
    assert best.rmse == pytest.approx(0, abs=1e-6)
    assert best.weights[1] == pytest.approx(1, abs=1e-6)


def test_a_planted_shift_is_found():
    random = np.random.default_rng(7)
    n, change = 1280, 800
    wrong = random.standard_normal((n, 3)) * np.where(np.arange(n)[:, None] < change, [0.1, 2, 2], [2, 2, 0.1])
    shifted = best_with_one_shift(wrong)
    assert abs(shifted.split - change) <= n // 64
    assert (shifted.before[0], shifted.after[2]) > (0.9, 0.9)
    assert shifted.rmse < 0.3 * best_mixture(wrong).rmse
    parts = wrong[: shifted.split] @ shifted.before, wrong[shifted.split :] @ shifted.after
    assert shifted.rmse == pytest.approx(np.sqrt(np.mean(np.concatenate(parts) ** 2)))


@given(seed=st.integers(0, 10_000), n=st.integers(1, 200))
def test_one_shift_is_never_worse_than_none(seed: int, n: int):
    wrong = errors(seed, n, 3)
    # Of a few records a mixture may be without any error; the root of a rounded square is not quite 0.
    assert best_with_one_shift(wrong).rmse <= best_mixture(wrong).rmse * (1 + 1e-6) + 1e-7
