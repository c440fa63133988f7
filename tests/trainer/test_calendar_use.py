"""A network sees the weekday where the week repeats itself, and the day of the year where it has seen all of them."""

import numpy as np
import pytest

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.layout import Layout
from driftline.streams.rows import Rows
from driftline_trainer.datasets.building import build
from driftline_trainer.datasets.dataset import Dataset
from driftline_trainer.fitting.calendar_use import has_weekly_course, unseen_inputs
from driftline_trainer.hold_out import split

HOUR_MS = 3_600_000
TEXT = "name: a\ntime: {column: when, period: 1h}\ntarget: y\nlags: 3\nhorizon: [1, 6]\n"
STREAM = parse(TEXT, "a")


def history(days: int, weekend: float, stream: StreamDefinition = STREAM) -> tuple[Dataset, Dataset]:
    """A walk with a daily course, lower by `weekend` on two days of the week."""
    random = np.random.default_rng(7)
    hours = np.arange(24 * days)
    day = np.sin(2 * np.pi * hours / 24)
    wandering = np.zeros(len(hours))
    for n in range(1, len(hours)):
        wandering[n] = 0.95 * wandering[n - 1] + 0.3 * random.normal()
    y = day + wandering - weekend * np.isin(hours // 24 % 7, (5, 6))
    return split(build(Rows(np.full(len(y), "all"), hours * HOUR_MS, y[:, None]), stream), stream)


@pytest.mark.parametrize("days", [70, 400])
def test_weekends_that_differ_are_seen_and_others_not(days: int):
    assert has_weekly_course(*history(days, 3.0), STREAM)
    assert not has_weekly_course(*history(days, 0.0), STREAM)


def test_what_is_not_seen_is_the_calendar_and_nothing_else():
    layout = Layout.of(STREAM)
    weeks, years = set(layout.week_inputs.tolist()), set(layout.year_inputs.tolist())
    assert (len(weeks), len(years), weeks & years) == (2 * (7 + 1), 2, set())
    assert set(unseen_inputs(*history(70, 0.0), STREAM)) == weeks | years
    assert set(unseen_inputs(*history(70, 3.0), STREAM)) == years
    assert set(unseen_inputs(*history(400, 0.0), STREAM)) == weeks
    assert set(unseen_inputs(*history(400, 3.0), STREAM)) == set()


def test_weekdays_and_holidays_are_where_the_layout_says():
    """1 at one weekday of each horizon, and 0 or 1 at the holidays."""
    stream = parse(f"{TEXT}calendar: {{zone: Europe/Paris, holidays: FR}}\n", "a")
    learned, _ = history(30, 1.0, stream)
    columns = learned.inputs[:, Layout.of(stream).week_inputs]
    assert set(np.unique(columns[:, :-2])) == {0.0, 1.0}
    weekdays = columns[:, :14].reshape(-1, 2, 7)
    assert (weekdays.sum(axis=2) == 1).all()
    # New Year is the first day of this history.
    assert columns[:, 14:-2].max() == 1
    # How last week went on, one and six hours ahead: six moves of an hour are one of six hours.
    moves, week = columns[:, -2:], 7 * 24
    steps = np.lib.stride_tricks.sliding_window_view(moves[week:, 0], 6).sum(axis=1)
    np.testing.assert_allclose(steps, moves[week : week + len(steps), 1], atol=1e-3)
    assert moves[week:].std() > 0
    years = learned.inputs[:, Layout.of(stream).year_inputs]
    np.testing.assert_allclose((years**2).sum(axis=1), 1.0, rtol=1e-5)
