"""What former days and weeks say of the time that is forecast. Pure NumPy over many series at once.

A day or a week ago is the same local time: after a change of the clocks it lies an hour nearer or further. A local time
that there was twice is the later one; one that there was not is as long after the change as it should have been before.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from driftline.arrays import Floats, Ints, mean_of_known
from driftline.streams.grid import time_of
from driftline.streams.history import History
from driftline.streams.layout import DAYS, Layout


class Seasons(NamedTuple):
    """What former days and weeks say."""

    now: Floats
    """[n, seasons]: what was a day ago, and a week ago, minus now."""
    moves: Floats
    """[n, horizons, moves]: how it went on from there to the horizon: after a day ago, in the mean of the last days,
    after a week ago."""
    daily: Floats
    """[n, horizons]: see `driftline.streams.features.Inputs`."""
    weekly: Floats


class FormerSeasons(NamedTuple):
    """The target's values of former days and weeks; see `_former`."""

    days: Floats
    """[n, 1 + horizons, DAYS], or without DAYS where days are not looked back on."""
    weeks: Floats
    """[n, 1 + horizons, 1], or empty."""


class PeriodsAgo(NamedTuple):
    """How many periods before the newest records of n series the values are that `FormerSeasons` has; in one row where
    they are as many for all."""

    days: Ints
    """[n or 1, 1 + horizons, DAYS], or without DAYS where days are not looked back on."""
    weeks: Ints
    """[n or 1, 1 + horizons, 1], or empty."""


def periods_ago(layout: Layout, phase: Ints, tick: Ints) -> PeriodsAgo:
    """phase, tick: [n], of the newest records."""
    changed = _changed(layout, time_of(tick, phase, layout.period)) if layout.shift else UNCHANGED
    days, weeks = (layout.day, DAYS), (layout.week, 1)
    return PeriodsAgo(*(_ago(layout, len(tick), changed, season, count) for season, count in (days, weeks)))


def former(history: History, layout: Layout, slots: Ints, tick: Ints) -> FormerSeasons:
    """What was before the newest records of n series, whose ticks are `tick`."""
    ago = periods_ago(layout, history.phase[slots], tick)
    return FormerSeasons(*(_former(history, layout, slots, tick, season) for season in ago))


def look_back(layout: Layout, before: FormerSeasons, target: Floats) -> Seasons:
    """target: [n] the newest values."""
    n, horizons = len(target), len(layout.horizon)
    daily = weekly = np.full((n, horizons), np.nan)
    now: list[Floats] = []
    moves: list[Floats] = []
    if layout.day:
        days = before.days
        means = mean_of_known(days)
        daily = days[:, 1:, 0]
        now.append(days[:, 0, 0] - target)
        moves += [daily - days[:, :1, 0], means[:, 1:] - means[:, :1]]
    if layout.week:
        weeks = before.weeks[:, :, 0]
        weekly = weeks[:, 1:]
        now.append(weeks[:, 0] - target)
        moves.append(weekly - weeks[:, :1])
    joined = np.stack(moves, axis=2) if moves else np.empty((n, horizons, 0))
    return Seasons(np.stack(now, axis=1) if now else np.empty((n, 0)), joined, daily, weekly)


class _Changed(NamedTuple):
    """Records of which the clocks change between what is looked back on and what is forecast."""

    rows: Ints
    """[m]: which of the n they are."""
    t: Ints
    """[m]: their times on the grid."""


UNCHANGED = _Changed(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def _changed(layout: Layout, t: Ints) -> _Changed:
    """t: [n]."""
    first, last = t - layout.remembered * layout.period, t + layout.steps[-1] * layout.period
    rows = np.flatnonzero(layout.calendar.has_change(first, last))
    return _Changed(rows, t[rows]) if len(rows) else UNCHANGED


def _ago(layout: Layout, n: int, changed: _Changed, season: int, count: int) -> Ints:
    """[n or 1, 1 + horizons, count]: how many periods ago whole seasons before now were, and before each time that is
    forecast: of those that are known the newest `count`, the newest first. season: its periods, or 0."""
    if not season:
        return np.empty((1, 1 + len(layout.horizon), 0), dtype=np.int64)
    ago = _whole_seasons(layout.horizon, season, count)
    if len(changed.rows):
        ago = np.repeat(ago, n, axis=0)
        ago[changed.rows] = _in_local_time(layout, changed.t, season, count)
    return ago


def _former(history: History, layout: Layout, slots: Ints, tick: Ints, ago: Ints) -> Floats:
    """[n, 1 + horizons, count]: what was so many periods ago."""
    rows, ring = slots[:, None, None], layout.remembered
    if not ago.shape[2]:
        return np.empty((len(slots), *ago.shape[1:]))
    values = history.season[rows, (tick[:, None, None] - ago) % ring].astype(np.float64)
    # A whole ring ago was what the newest record has replaced.
    return np.where(ago == ring, history.before[rows], values)


@lru_cache(maxsize=1000)
def _whole_seasons(horizon: tuple[int, ...], season: int, count: int) -> Ints:
    """[1, 1 + horizons, count]: how many periods ago they are where no clock changes."""
    ahead = np.array([[0], *([steps] for steps in horizon)], dtype=np.int64)
    whole = np.maximum(1, -(-ahead // season))
    ago: Ints = season * (whole + np.arange(count)) - ahead
    return ago[None]


def _in_local_time(layout: Layout, t: Ints, season: int, count: int) -> Ints:
    """[m, 1 + horizons, count]: how many periods before the times `t` [m] they are in local time."""
    ahead = layout.looked_ahead[:, None]
    # One season less than whole ones may be known where the clocks go back; one more is needed where they go forward.
    fewest = np.maximum(1, -(-ahead // season) - 1)
    back = season * (fewest + np.arange(count + 2))
    then = t[:, None, None] + ahead * layout.period
    offset = layout.calendar.offset
    shift = np.rint((offset(then) - offset(then - back * layout.period)) / layout.period).astype(np.int64)
    ago = back - np.clip(shift, -layout.shift, layout.shift) - ahead
    unknown = (ago < 0).sum(axis=2, keepdims=True)
    newest: Ints = np.take_along_axis(ago, unknown + np.arange(count), axis=2)
    return newest
