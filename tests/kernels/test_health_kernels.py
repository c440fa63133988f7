"""What is usual of a column is learned and judged in C as with NumPy, also of what no door lets in."""

from collections.abc import Callable

import numpy as np
import pytest

from driftline_inference.plausibility import JUDGE, LearnedFrom, Usual, judge
from driftline_inference.sensor_health import SensorHealth, assess
from tests.kernels.forecasting_cases import assert_alike, numpy_alone

pytestmark = pytest.mark.skipif(JUDGE is None, reason="no library of kernels for this machine")
COUNT = 2500
TRAINED = LearnedFrom(np.array([0.0, np.nan, 5.0]), np.array([1.0, np.nan, 0.0]), np.array([3.0, np.nan, 1.0]))


def garbage(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Slots, each many times, and [COUNT, 3] values: noise, one that stays, one that leaps; then other units, nothing,
    and what is no number."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(COUNT, 3))
    values[:, 1] = np.arange(COUNT) // 200
    values[:, 2] += np.repeat([0.0, 500.0, 0.0, -500.0, 0.0], COUNT // 5)
    values[COUNT * 3 // 4 :, 0] *= 1e5
    chance = random.random(values.shape)
    values[chance < (0.1, 0.001, 0.1)] = np.nan
    # Where those begin hardly anything is unusual any more.
    late = np.arange(COUNT)[:, None] > COUNT * 7 // 8
    values[late & (chance > 0.99)] = np.inf
    values[late & (chance > 0.97) & (chance < 0.98)] = -1e300
    return (random.random(COUNT) < 0.1).astype(np.int64), values


def one_by_one(take: Callable[[int], tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    with numpy_alone(), np.errstate(all="ignore"):
        rows = [take(n) for n in range(COUNT)]
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


@pytest.mark.parametrize("trained", [None, TRAINED], ids=["new", "trained"])
def test_values_are_judged_alike(trained: LearnedFrom | None):
    slots, values = garbage(1)
    usual, other = Usual.empty(2, 3), Usual.empty(2, 3)
    found = judge(usual, slots, values, trained)
    expected = one_by_one(lambda n: tuple(judge(other, slots[n : n + 1], values[n : n + 1], trained)))
    assert_alike({"": usual.kept}, {"": other.kept})
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    assert len(found.alerting)


def test_conditions_are_assessed_alike():
    slots, values = garbage(2)
    t = np.cumsum(np.random.default_rng(3).choice([1, 1, 1, 1, 200], COUNT)) * 1000
    health, other = SensorHealth.empty(2, 3, 1000), SensorHealth.empty(2, 3, 1000)
    found = assess(health, slots, t, values)
    expected = one_by_one(
        lambda n: tuple(vars(assess(other, slots[n : n + 1], t[n : n + 1], values[n : n + 1])).values())
    )
    for (name, mine), theirs in zip(arrays_of(found).items(), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, err_msg=name)
    assert_alike(arrays_of(health), arrays_of(other))
    assert (found.shift > 0).any()
    assert (found.jumped != 0).any()
    assert (found.run > 0).any()
    assert (found.gap > 0).any()


def arrays_of(table: object) -> dict[str, np.ndarray]:
    return {name: array for name, array in vars(table).items() if isinstance(array, np.ndarray)}


@pytest.mark.parametrize(
    "kept",
    [np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x.astype(np.float32)],
    ids=["by column", "in between", "short"],
)
def test_numbers_are_read_however_they_are_kept(kept: Callable[[np.ndarray], np.ndarray]):
    slots, values = garbage(4)
    values = values[:50].astype(np.float32).astype(np.float64)
    usual, other = Usual.empty(2, 3), Usual.empty(2, 3)
    judge(usual, slots[:50].astype(np.int32), kept(values))
    judge(other, slots[:50], values)
    np.testing.assert_array_equal(usual.kept, other.kept)
