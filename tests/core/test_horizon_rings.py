"""What was forecast is there when its truth comes, as late as it may, and nothing else is taken for it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.grid import NEVER
from driftline.streams.horizon_rings import HorizonRings

HORIZONS = st.lists(st.integers(1, 9), min_size=1, max_size=4, unique=True).map(sorted)
PATIENCE = st.integers(1, 5)
GAPS = st.lists(st.integers(1, 15), min_size=1, max_size=20)


def kept(rings: HorizonRings, gaps: list[int]) -> tuple[np.ndarray, int, set[int]]:
    """By place the tick that lies there, NaN where none does; the newest tick; and all that came."""
    row, before, came = np.full(rings.size, np.nan), NEVER, set()
    for tick in np.cumsum(gaps).tolist():
        _, places = rings.skipped(np.array([before]), np.array([tick]))
        row[places] = np.nan
        row[rings.places(np.array([[tick]]))[0]] = tick
        came.add(tick)
        before = tick
    return row, before, came


@given(HORIZONS, PATIENCE, GAPS)
def test_each_truth_that_may_come_finds_what_was_forecast_of_it(steps: list[int], patience: int, gaps: list[int]):
    rings = HorizonRings.of(steps, patience)
    row, newest, came = kept(rings, gaps)
    for truth in range(newest - patience + 1, newest + 1):
        found = row[rings.places(np.array([[truth]]) - rings.steps)[0]]
        expected = [truth - step if truth - step in came else np.nan for step in steps]
        np.testing.assert_array_equal(found, expected)


@given(HORIZONS, PATIENCE, GAPS)
def test_as_one_ring_for_all_horizons_it_says_the_same(steps: list[int], patience: int, gaps: list[int]):
    rings = HorizonRings.of(steps, patience)
    row, newest, _ = kept(rings, gaps)
    places, held = rings.by_tick(newest)
    assert held.sum(axis=0).tolist() == rings.lengths.tolist()
    ticks = newest - (newest - np.arange(rings.longest)) % rings.longest
    one = np.where(held, row[places], np.nan)
    assert ((one == ticks[:, None]) | np.isnan(one)).all()
    again = np.full(rings.size, np.nan)
    again[places[held]] = one[held]
    np.testing.assert_array_equal(again, row)


def test_of_a_stream_with_near_and_far_horizons_little_more_than_half_is_kept():
    rings = HorizonRings.of((1, 6, 36), 12)
    assert rings.size == 13 + 18 + 48 < 0.6 * 3 * rings.longest
