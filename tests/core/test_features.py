"""The inputs that train and serve: one code, whatever the batch."""

import cProfile
import dataclasses
import pstats

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.features import Inputs, observe
from driftline.streams.history import History
from driftline.streams.layout import CLIP, Layout
from driftline.streams.neighbours import Peers

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


def test_a_day_and_a_week_ago_and_how_it_went_on():
    count = 24 * 9
    values = np.zeros((count, 3))
    values[:, 0] = np.random.default_rng(1).integers(0, 100, count)
    y, now = values[:, 0], count - 1
    last = inputs(values)[-1]
    place = 6 + 5
    day, week = now - 24, now - 7 * 24
    means = [y[[now - 24 * k + h for k in range(1, 8)]].mean() for h in range(3)]
    moves = [[y[day + h] - y[day], means[h] - means[0], y[week + h] - y[week]] for h in (1, 2)]
    expected = [y[day] - y[now], *moves[0], *moves[1]]
    np.testing.assert_allclose(last.net[0, place : place + 7], expected, rtol=1e-6, atol=1e-9)
    # Filters see how far last week was from now, too: behind the bias, two lags and five averages.
    ago = last.rls[0, 0, 8:10] * last.scale[0]
    np.testing.assert_allclose(ago, [y[day] - y[now], y[week] - y[now]], rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(last.daily[0], [y[day + 1], y[day + 2]])
    np.testing.assert_array_equal(last.weekly[0], [y[week + 1], y[week + 2]])


def test_beyond_a_day_ahead_the_newest_known_day_is_looked_back_on():
    stream = STREAM.model_copy(update={"horizon": (24, 30, 200)})
    values = np.zeros((24 * 9, 3))
    values[:, 0] = np.arange(len(values))
    last = inputs(values, Layout.of(stream))[-1]
    now = len(values) - 1
    assert last.daily[0].tolist() == [now, now + 30 - 48, now + 200 - 9 * 24]
    assert last.weekly[0].tolist() == [now + 24 - 168, now + 30 - 168, now + 200 - 2 * 168]


HOURS_MS = 3_600_000


def series(times: np.ndarray, values: np.ndarray, layout: Layout = LAYOUT) -> list[Inputs]:
    history = History.empty(1, layout)
    return [observe(history, layout, np.array([0]), times[n : n + 1], values[n : n + 1]) for n in range(len(times))]


def fields_of(inputs: Inputs) -> dict[str, np.ndarray]:
    return {field.name: getattr(inputs, field.name) for field in dataclasses.fields(inputs)}


@given(st.lists(st.integers(1, 3), min_size=10, max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_gap_is_missing_values(steps: list[int], seed: int):
    """As if a record without any value had come in each period of a gap that is no longer than the lags."""
    hours = np.cumsum(steps)
    values = np.random.default_rng(seed).normal(size=(len(hours), 3))
    every = np.arange(hours[0], hours[-1] + 1)
    filled = np.full((len(every), 3), np.nan)
    filled[hours - hours[0]] = values
    with_gaps, without = series(hours * HOURS_MS, values)[-1], series(every * HOURS_MS, filled)[-1]
    # Averages of a young series depend on how many records it had.
    for name, array in fields_of(with_gaps).items():
        if name not in {"net", "rls", "scale"}:
            np.testing.assert_array_equal(array, fields_of(without)[name], err_msg=name)
    np.testing.assert_array_equal(with_gaps.net[0, :6], without.net[0, :6])
    np.testing.assert_array_equal(with_gaps.net[0, 11:19], without.net[0, 11:19])


def test_beyond_the_lags_a_gap_leaves_nothing_to_look_back_on_but_what_was_learned():
    times = np.array([0, 1, 2, 3, 4, 9, 10, 11, 12]) * HOURS_MS
    values = np.arange(27.0).reshape(9, 3)
    ready = [bool(part.ready[0]) for part in series(times, values)]
    assert ready == [False, False, True, True, True, False, False, True, True]
    after = series(times, values)[5]
    assert np.isnan(after.newest[0, 1:]).all()
    assert after.scale[0] == series(times, values)[4].scale[0]


@given(st.integers(0, 3_599_999), st.lists(st.integers(-1_790_000, 1_790_000), min_size=8, max_size=8))
@settings(max_examples=60, deadline=None)
def test_records_off_the_grid_belong_to_their_period(phase: int, late: list[int]):
    """Wherever the grid of a sensor lies: less than half a period is no gap, and nothing comes twice."""
    layout = Layout.of(STREAM)
    history = History.empty(1, layout)
    times = phase + np.arange(1, 10) * HOURS_MS
    ticks = []
    for n, t in enumerate(times):
        # A quarter of a period is forgiven the first record, which says where the grid is.
        off = 0 if n == 0 else late[n - 1] // 2
        observe(history, layout, np.array([0]), np.array([t + off]), np.zeros((1, 3)))
        ticks.append(int(history.tick[0]))
    assert np.diff(ticks).tolist() == [1] * 8


def test_of_two_records_in_one_period_the_later_counts_as_far_as_it_has_values():
    times = np.array([0.0, 1.0, 2.0, 2.25]) * HOURS_MS
    values = np.array([[1.0, 1, 1], [2, 2, 2], [3, 3, 3], [5, np.nan, 4]])
    last = series(times.astype(np.int64), values)[-1]
    np.testing.assert_array_equal(last.newest[0], [[5, 3, 4], [2, 2, 2], [1, 1, 1]])


def test_after_a_gap_of_days_the_same_time_of_a_day_that_is_missing_is_unknown():
    hours = np.concatenate([np.arange(48), np.arange(96, 120)])
    values = np.zeros((len(hours), 3))
    values[:, 0] = hours
    parts = series(hours * HOURS_MS, values)
    assert np.isnan(parts[48].daily).all()
    # The day before yesterday is known again once a day has passed.
    assert parts[-1].daily[0].tolist() == [96, 97]


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


def test_the_neighbours_are_looked_at_once_for_a_round_of_records():
    layout = Layout.of(STREAM.model_copy(update={"group": "all"}))
    history, slots = History.empty(5, layout), np.arange(5)
    peers = Peers.of(slots, [0] * 5, [slots])
    profile = cProfile.Profile()
    profile.runcall(observe, history, layout, slots, np.zeros(5, np.int64), np.ones((5, 3)), peers)
    assert pstats.Stats(profile).get_stats_profile().func_profiles["others"].ncalls == "1"
