"""The gradient boosting model that the blend is compared with."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from driftline.scoring import rmse
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.references import LAST_WEEK, naive, timelines
from tests.generated import definition, generated

try:
    from driftline_cli import boosting
except OSError as missing:
    pytest.skip(f"{missing}: Debian's package libgomp1 has it", allow_module_level=True)

pytestmark = pytest.mark.unit
HOUR_MS = 3_600_000


def scored(stream: StreamDefinition, rows: Rows, split: int, index: int = 0) -> dict[str, float]:
    """RMSE of boosting, last week and persistence on the rows after the split."""
    series, history = timelines(rows, stream)["all"], rows.take(slice(0, split))
    later = series.slots[series.slots > timelines(history, stream)["all"].slots[-1]]
    truth = series.target(later + stream.horizon[index])
    forecast = {
        "boosting": boosting.fit(stream, history)(series, later, index),
        "persistence": series.target(later),
        "last week": naive(stream)[LAST_WEEK](series, later, index),
    }
    both = np.isfinite(truth) & np.all([np.isfinite(row) for row in forecast.values()], axis=0)
    return {name: rmse(row[both], truth[both]) for name, row in forecast.items()}


def test_it_is_far_better_than_persistence_on_a_sine():
    stream = definition(horizon=(6,))
    t = HOUR_MS * np.arange(2500)
    noise = 0.05 * np.random.default_rng(0).standard_normal(len(t))
    sine = np.sin(2 * np.pi * np.arange(len(t)) / 24) + noise
    rows = Rows(np.full(len(t), "all"), t, np.column_stack([sine, np.zeros(len(t))]))
    errors = scored(stream, rows, 2000)
    assert errors["boosting"] < 0.1
    assert errors["persistence"] > 0.9


def test_it_learns_the_week_and_the_temperature():
    stream = definition(horizon=(24,))
    errors = scored(stream, generated(120, outage=(40, 5)), 2000)
    assert errors["boosting"] < 0.8 * min(errors["persistence"], errors["last week"])


def test_a_rare_glitch_of_the_sensor_is_not_all_that_it_learns():
    stream, rows = definition(horizon=(24,)), generated(300)
    rows.values[[1000, 3000, 5000], 0] = -273.0
    errors = scored(stream, rows, 6600)
    assert errors["boosting"] < 0.8 * min(errors["persistence"], errors["last week"])


def test_the_same_history_gives_the_same_model():
    stream, rows = definition(), generated(40)
    series = timelines(rows, stream)["all"]
    first, second = (boosting.fit(stream, rows)(series, series.slots, 0) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_nothing_is_forecast_from_a_record_without_the_target():
    stream, rows = definition(), generated(40)
    series = timelines(rows, stream)["all"]
    series.values[-1, 0] = np.nan
    forecast = boosting.fit(stream, rows)(series, series.slots[-2:], 0)
    assert np.isfinite(forecast).tolist() == [True, False]


def test_a_history_too_short_for_the_horizon_gives_no_model():
    stream, rows = definition(horizon=(1000,)), generated(20)
    series = timelines(rows, stream)["all"]
    assert np.isnan(boosting.fit(stream, rows)(series, series.slots, 0)).all()


def test_its_inputs_hold_nothing_that_comes_later():
    stream, rows = definition(horizon=(30,)), generated(40)
    known = timelines(rows.take(slice(0, 800)), stream)["all"]
    newest, whole = known.slots[-1:], timelines(rows, stream)["all"]
    np.testing.assert_array_equal(
        boosting.inputs(stream, whole, newest, 30), boosting.inputs(stream, known, newest, 30)
    )


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), [1.5, 6, 87]),
        (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), [3.5, 6, 87]),
        (datetime(2026, 10, 25, 0, 0, tzinfo=UTC), [2, 6, 297]),
        (datetime(2026, 10, 25, 1, 0, tzinfo=UTC), [2, 6, 297]),
        (datetime(2025, 12, 31, 23, 15, tzinfo=UTC), [0.25, 3, 0]),
        (datetime(1969, 12, 31, 12, 0, tzinfo=UTC), [13, 2, 364]),
    ],
)
def test_the_calendar_is_local_through_both_changes_of_the_clock(moment: datetime, expected: list[float]):
    seconds = np.array([int(moment.timestamp())])
    assert boosting.calendar(seconds, ZoneInfo("Europe/Berlin"))[0].tolist() == expected
