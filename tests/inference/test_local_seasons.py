"""The members `seasonal` and `weekly` are as good after a change of summer time as on other days."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from driftline.arrays import Floats
from driftline.messages import Forecast, Record
from driftline.streams.definition_files import parse
from driftline_inference.step import ForecastStep

ZONE = ZoneInfo("Europe/Paris")
HOUR = timedelta(hours=1)
CHANGES = (date(2026, 3, 29), date(2026, 10, 25))
STREAM = parse(
    "name: a\ntime: {column: t, period: 1h, zone: Europe/Paris}\ntarget: y\nhorizon: [1, 24]\nlags: 2\n", "a.yaml"
)


def course(time: datetime) -> float:
    """A strong one, from six to eight in local time."""
    hour = time.astimezone(ZONE).hour + 0.5
    return 100.0 * max(0.0, float(np.sin(np.pi * (hour - 6) / 14))) if 6 < hour < 20 else 0.0


def errors_by_day(change: date, member: str) -> dict[date, Floats]:
    """[horizons] RMSE of each local day in the weeks around a change."""
    begin = datetime(change.year, change.month, change.day, tzinfo=UTC) - timedelta(days=20)
    times = [begin + n * HOUR for n in range(40 * 24)]
    random = np.random.default_rng(4)
    values = {time: course(time) + 2.0 * float(random.normal()) for time in times}
    records = [Record("a", "k", round(t.timestamp() * 1000), {"y": value}, 0.0) for t, value in values.items()]
    caused = ForecastStep(STREAM, dict).work(records)
    forecasts = [message for emissions in caused for _, message in emissions if isinstance(message, Forecast)]
    squares: dict[date, list[list[float]]] = {}
    for time, forecast in zip(times, forecasts, strict=True):
        for step, steps in enumerate(STREAM.horizon):
            then = time + steps * HOUR
            if then in values and member in forecast.members:
                by_step = squares.setdefault(then.astimezone(ZONE).date(), [[] for _ in STREAM.horizon])
                by_step[step].append((forecast.members[member][step] - values[then]) ** 2)
    whole = {day: by_step for day, by_step in squares.items() if min(map(len, by_step)) >= 23}
    return {day: np.sqrt([np.mean(squared) for squared in by_step]) for day, by_step in whole.items()}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("member", "days"), [("seasonal", 2), ("weekly", 8)])
def test_days_after_a_change_are_as_good_as_others(member: str, days: int, change: date):
    errors = errors_by_day(change, member)
    after = [change + timedelta(days=n) for n in range(days)]
    others = [error for day, error in errors.items() if day not in after and np.isfinite(error).all()]
    assert len(others) >= 18
    for day in after:
        assert (errors[day] <= np.max(others, axis=0)).all(), day
