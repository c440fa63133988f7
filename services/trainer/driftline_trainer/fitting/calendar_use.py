"""Which of the calendar a network may learn from, by its history. Pure.

With the weekday among its inputs a network recognises single days of a history, and learns them by heart: on the
outdoor temperature of a wind farm it lost a fifth of its skill. So it gets the weekday, and how last week went on, only
where the mean course of a week forecasts new data better than that of a day. The day of the year says nothing about new
days before a history has all of them.
"""

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.streams.calendar import HOUR, WEEKDAY, WEEKDAYS, LocalCalendar
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import DAY_S
from driftline.streams.layout import Layout
from driftline_trainer.datasets.dataset import Dataset

HOURS = 24
YEAR_MS = 330 * DAY_S * 1000
"""A history of so much has seen all seasons."""
GAIN = 0.03
"""Least share of the squared error that the week must take away."""
SHRINKAGE = 50.0
"""Rows that count for the day's course in each hour of the week."""


def unseen_inputs(learned: Dataset, held: Dataset, stream: StreamDefinition) -> Ints:
    """The places of the inputs that a network of this history must not see."""
    layout = Layout.of(stream)
    unseen = [np.empty(0, dtype=np.int64)]
    if not has_weekly_course(learned, held, stream):
        unseen.append(layout.week_inputs)
    if learned.t[-1] - learned.t[0] < YEAR_MS:
        unseen.append(layout.year_inputs)
    return np.concatenate(unseen)


def has_weekly_course(learned: Dataset, held: Dataset, stream: StreamDefinition) -> bool:
    """Whether the mean course of the week, learned from `learned`, is better on `held` than that of the day."""
    calendar, targets = LocalCalendar.of(stream), learned.targets.astype(np.float64)
    weekday, hour = _places(learned.t, calendar)
    day = _means(hour, HOURS, targets, np.zeros((HOURS, targets.shape[1])), 0.0)
    week = _means(weekday * HOURS + hour, WEEKDAYS * HOURS, targets, np.tile(day, (WEEKDAYS, 1)), SHRINKAGE)
    weekday, hour = _places(held.t, calendar)
    by_day, by_week = (_error(held, means) for means in (day[hour], week[weekday * HOURS + hour]))
    return bool(by_week < (1.0 - GAIN) * by_day)


def _places(t: Ints, calendar: LocalCalendar) -> tuple[Ints, Ints]:
    """[n] each: the weekday and the hour of the day, local."""
    terms = calendar.terms(t)
    turn = np.arctan2(terms[:, HOUR.start], terms[:, HOUR.start + 1]) / (2 * np.pi) % 1.0
    # Rounding must not put a whole hour into the one before.
    return terms[:, WEEKDAY].argmax(axis=1), np.floor(turn * HOURS + 1e-6).astype(np.int64) % HOURS


def _means(places: Ints, count: int, targets: Floats, prior: Floats, weight: float) -> Floats:
    """[count, horizons]: of the targets in each place, shrunk towards the prior, which weighs as so many rows."""
    rows = np.bincount(places, minlength=count)[:, None]
    sums = np.stack([np.bincount(places, column, minlength=count) for column in targets.T], axis=1)
    means: Floats = (sums + weight * prior) / np.maximum(rows + weight, 1.0)
    return means


def _error(held: Dataset, forecast: Floats) -> float:
    """Mean square over all horizons, in each one's own size."""
    size = np.maximum((held.targets.astype(np.float64) ** 2).mean(axis=0), 1e-12)
    return float((((held.targets - forecast) ** 2).mean(axis=0) / size).mean())
