"""Drift detectors: quick where it matters, silent where nothing happens, restored to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.model_sections import Drift
from driftline_combiner.drift import GRACE, INSENSITIVITY, DriftDetector, PageHinkley

BOTH = pytest.mark.parametrize("detector", ["adwin", "page-hinkley"])


def noise(seed: int, count: int, mean: float = 0.15) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(mean, 0.05, count), 0, 1)


def alarms(detector: DriftDetector, values: np.ndarray) -> list[int]:
    return [n for n, value in enumerate(values.tolist()) if detector.update(value) is not None]


def test_page_hinkley_finds_what_rivers_own_finds():
    from river import drift  # noqa: PLC0415 - two seconds of SciPy that every worker would pay to list the tests

    theirs, ours = drift.PageHinkley(min_instances=GRACE, delta=INSENSITIVITY, threshold=3, mode="up"), PageHinkley(3)
    values = np.concatenate([noise(seed, 300, mean) for seed, mean in enumerate((0.1, 0.4, 0.2, 0.8, 0.1, 0.9))])
    found = []
    for value in values.tolist():
        theirs.update(value)  # type: ignore[no-untyped-call]
        found.append(theirs.drift_detected)
        assert ours.update(value) == theirs.drift_detected
    assert sum(found) > 2


@BOTH
def test_a_rise_is_told_once_and_soon(detector: str):
    values = np.concatenate([noise(1, 1000), noise(2, 200, 0.9)])
    (found,) = alarms(DriftDetector(Drift(detector=detector), 0.6), values)
    assert 1000 <= found < 1050


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_told_of_what_stays_as_it_was_or_rises_a_little(detector: str, seed: int):
    values = np.concatenate([noise(seed, 3000), noise(seed + 100, 2000, 0.35)])
    assert alarms(DriftDetector(Drift(detector=detector), 0.6), values) == []


def test_who_cries_wolf_is_asked_for_more():
    up, down = noise(3, 60, 0.75), noise(4, 400, 0.05)
    found = alarms(DriftDetector(Drift(), 0.6), np.concatenate([down, up] * 12))
    assert 1 <= len(found) <= 3


def test_what_changed_is_said_in_numbers():
    detector = DriftDetector(Drift(), 0.6)
    changes = [detector.update(value) for value in np.concatenate([noise(1, 1000), noise(2, 50, 0.95)]).tolist()]
    (change,) = [found for found in changes if found is not None]
    assert change.before == pytest.approx(0.15, abs=0.02)
    assert change.after > 0.65


@BOTH
@given(cut=st.integers(0, 300), jump=st.integers(50, 250))
@settings(max_examples=15, deadline=None)
def test_restored_it_goes_on_bit_by_bit(detector: str, cut: int, jump: int):
    values = np.concatenate([noise(1, jump), noise(2, 300 - jump, 0.9)]).tolist()
    whole, first, second = (DriftDetector(Drift(detector=detector), 0.6) for _ in range(3))
    expected = [whole.update(value) for value in values]
    found = [first.update(value) for value in values[:cut]]
    second.load(first.dump())
    assert found + [second.update(value) for value in values[cut:]] == expected
    assert second.dump() == whole.dump()


def test_nan_says_nothing():
    detector = DriftDetector(Drift(), 0.6)
    before = detector.dump()
    assert detector.update(float("nan")) is None
    assert detector.dump() == before
