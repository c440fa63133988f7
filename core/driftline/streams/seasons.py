"""What former days and weeks say of the time that is forecast. Pure NumPy over many series at once."""

from typing import NamedTuple

import numpy as np

from driftline.arrays import Floats, Ints, mean_of_known
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


def look_back(history: History, layout: Layout, slots: Ints, tick: Ints, target: Floats) -> Seasons:
    n, horizons, ring = len(slots), len(layout.horizon), layout.remembered
    daily = weekly = np.full((n, horizons), np.nan)
    now: list[Floats] = []
    moves: list[Floats] = []
    rows, ahead = slots[:, None], tick[:, None] + layout.steps
    oldest = history.before[slots]
    if layout.day:
        days = history.season[rows[:, :, None], (ahead[:, :, None] - layout.days_back) % ring].astype(np.float64)
        former = history.season[rows, (tick[:, None] - layout.day * np.arange(1, DAYS)) % ring].astype(np.float64)
        former = np.concatenate([former, oldest[:, None]], axis=1)
        daily = days[:, :, 0]
        now.append(former[:, 0] - target)
        moves += [daily - former[:, :1], mean_of_known(days) - mean_of_known(former)[:, None]]
    if layout.week:
        weekly = history.season[rows, (ahead - layout.weeks_back) % ring].astype(np.float64)
        now.append(oldest - target)
        moves.append(weekly - oldest[:, None])
    joined = np.stack(moves, axis=2) if moves else np.empty((n, horizons, 0))
    return Seasons(np.stack(now, axis=1) if now else np.empty((n, 0)), joined, daily, weekly)
