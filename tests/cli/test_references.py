"""What the blend is compared with looks back by time, and is right on series that are known."""

import numpy as np
import pytest

from driftline.scoring import rmse
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.references import LAST_WEEK, YESTERDAY, SeriesOnGrid, back, forecasts, naive, slots_of, timelines
from tests.generated import definition, generated

pytestmark = pytest.mark.unit
HOUR_MS = 3_600_000
WEEK = 168


def rows(values: np.ndarray, keys: str | np.ndarray = "all", t: np.ndarray | None = None) -> Rows:
    times = HOUR_MS * np.arange(len(values)) if t is None else t
    names = np.full(len(values), keys) if isinstance(keys, str) else keys
    return Rows(names, times, np.column_stack([values, np.zeros(len(values))]))


def errors(stream: StreamDefinition, series: SeriesOnGrid, name: str, index: int) -> np.ndarray:
    forecast = naive(stream)[name](series, series.slots, index)
    return forecast - series.target(series.slots + stream.horizon[index])


@pytest.mark.parametrize("steps", [1, 24, 100, WEEK, WEEK + 1, 400])
def test_last_week_is_right_on_a_weekly_series_however_far_ahead(steps: int):
    stream = definition(horizon=(steps,))
    weekly = np.tile(np.random.default_rng(0).random(WEEK), 6)
    wrong = errors(stream, timelines(rows(weekly), stream)["all"], LAST_WEEK, 0)
    known = wrong[np.isfinite(wrong)]
    # Neither the first weeks, which have nothing to look back on, nor the end, whose truth has not come.
    assert len(known) == len(weekly) - max(steps, back(steps, WEEK))
    assert np.all(known == 0)


def test_yesterday_repeats_the_same_time_of_the_day_before():
    stream = definition(horizon=(1, 30))
    series = timelines(rows(np.arange(200.0)), stream)["all"]
    assert naive(stream)[YESTERDAY](series, np.array([100]), 0) == [77.0]
    assert naive(stream)[YESTERDAY](series, np.array([100]), 1) == [82.0]


def test_lags_look_back_on_times_where_records_are_missing():
    stream = definition()
    kept = np.delete(np.arange(200), [77, *range(120, 150)])
    series = timelines(rows(kept.astype(float), t=HOUR_MS * kept), stream)["all"]
    yesterday = naive(stream)[YESTERDAY](series, np.array([100, 101, 150, 180]), 0)
    np.testing.assert_array_equal(yesterday, [np.nan, 78.0, np.nan, 157.0])


def test_records_off_the_grid_belong_to_the_nearest_slot_and_the_later_counts():
    stream = definition()
    t = HOUR_MS * np.array([1, 2, 3]) + np.array([-60_000, 60_000, -HOUR_MS + 120_000])
    assert slots_of(t, stream).tolist() == [1, 2, 2]
    series = SeriesOnGrid.of(rows(np.array([1.0, 2.0, 3.0]), t=t), stream)
    assert (series.slots.tolist(), series.target(np.array([1, 2, 3])).tolist()[:2]) == ([1, 2], [1.0, 3.0])


def test_a_period_that_fits_into_no_day_has_no_yesterday():
    stream = definition(period="7min")
    t = 420_000 * np.arange(500)
    series = timelines(rows(np.arange(500.0), t=t), stream)["all"]
    assert np.isnan(naive(stream)[YESTERDAY](series, series.slots, 0)).all()
    # A week is 1,440 of them.
    assert back(1, WEEK) == WEEK


def test_each_key_has_a_past_of_its_own():
    stream = definition()
    both = rows(np.arange(100.0), np.array(["a", "b"] * 50), t=HOUR_MS * (np.arange(100) // 2))
    row = forecasts(naive(stream)[YESTERDAY], timelines(both, stream), np.array(["b", "a"]), np.array([40, 41]), 0)
    assert row.tolist() == [2 * 17 + 1, 2 * 18]


def test_in_an_outage_nothing_is_forecast_from_what_never_came():
    stream = definition()
    whole, gap = generated(40), generated(40, outage=(20, 4))
    assert len(whole) - len(gap) == 4 * 24
    errors_of = {
        name: errors(stream, timelines(part, stream)["all"], LAST_WEEK, 0)
        for name, part in {"whole": whole, "gap": gap}.items()
    }
    # Of the outage no record, of the one before it no truth, and in the week after it nothing to repeat.
    assert np.isfinite(errors_of["whole"]).sum() - np.isfinite(errors_of["gap"]).sum() == 2 * 4 * 24 + 1
    last_week = errors_of["whole"][np.isfinite(errors_of["whole"])]
    assert rmse(last_week, 0.0) < 0.3
