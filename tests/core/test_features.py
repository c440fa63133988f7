"""The inputs that train and serve: one code, whatever the batch."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.definition import StreamDefinition, parse
from driftline.streams.features import CLIP, History, Layout, observe

STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\ntarget: y\nfeatures: {x: level, w: angle}\nlags: 3\nhorizon: [1, 2]\n",
    "a",
)
LAYOUT = Layout.of(STREAM)


def inputs(values: np.ndarray, layout: Layout = LAYOUT):
    """The inputs of one series, record by record."""
    history = History.empty(1, layout)
    hours = np.arange(len(values)) * 3_600_000
    return [observe(history, layout, np.array([0]), hours[n : n + 1], values[n : n + 1]) for n in range(len(values))]


def test_the_width_is_what_the_layout_says(temperature: StreamDefinition):
    layout = Layout.of(temperature)
    found = inputs(np.zeros((1, 7)), layout)[0]
    assert found.net.shape == (1, layout.net_width)
    assert found.rls.shape == (1, 1, layout.rls_terms)


def test_lag_differences_come_first_and_angles_wrap():
    found = inputs(np.array([[1.0, 10.0, 350.0], [2.0, 20.0, 10.0], [4.0, 40.0, 20.0]]))[-1]
    np.testing.assert_allclose(found.net[0, :6], [2 - 4, 20 - 40, 10 - 20, 1 - 4, 10 - 40, -30])


def test_a_network_is_ready_when_its_lags_are_filled_and_the_target_is_there():
    found = inputs(np.array([[1.0, 1, 1], [2.0, 1, 1], [3.0, 1, 1], [np.nan, 1, 1], [5.0, 1, 1]]))
    assert [bool(part.ready[0]) for part in found] == [False, False, True, False, True]


def test_yesterday_at_the_same_time_and_how_it_went_on():
    values = np.zeros((30, 3))
    values[:, 0] = np.arange(30) ** 2
    found = inputs(values)[-1]
    place = 6 + 5
    yesterday = 29 - 24
    expected = [yesterday**2 - 29**2, 6**2 - 5**2, 7**2 - 5**2]
    np.testing.assert_allclose(found.net[0, place : place + 3], expected)


NUMBERS = st.floats(-1e12, 1e12) | st.just(float("nan"))


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_inputs_are_finite_whatever_comes(rows: list[tuple[float, float, float]]):
    for found in inputs(np.array(rows)):
        assert np.isfinite(found.net).all()
        assert (np.abs(found.rls) <= CLIP).all()


@given(st.integers(0, 2**32 - 1), st.floats(-1e6, 1e6))
@settings(max_examples=30, deadline=None)
def test_a_level_that_was_never_seen_changes_no_input(seed: int, shift: float):
    values = np.random.default_rng(seed).normal(size=(30, 3))
    moved = values + np.array([shift, shift, 0.0])
    np.testing.assert_allclose(inputs(values)[-1].net, inputs(moved)[-1].net, atol=1e-5 * max(1.0, abs(shift)))


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
@settings(max_examples=30, deadline=None)
def test_units_change_no_input_of_the_filter(seed: int, unit: float):
    values = np.random.default_rng(seed).normal(size=(40, 3))
    found, scaled = inputs(values)[-1], inputs(values * np.array([unit, 1.0, 1.0]))[-1]
    np.testing.assert_allclose(found.rls, scaled.rls, rtol=1e-6, atol=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_many_series_at_once_are_the_same_as_each_alone(seed: int):
    values = np.random.default_rng(seed).normal(size=(20, 5, 3))
    together = History.empty(5, LAYOUT)
    for n in range(20):
        t = np.full(5, n * 3_600_000)
        found = observe(together, LAYOUT, np.arange(5), t, values[n])
    for series in range(5):
        alone = inputs(values[:, series])[-1]
        np.testing.assert_array_equal(found.net[series], alone.net[0])
        np.testing.assert_array_equal(found.rls[series], alone.rls[0])
