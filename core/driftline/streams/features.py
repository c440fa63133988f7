"""What members learn from, computed record by record: the same code trains in the cloud and serves on the edge.

Pure NumPy over many series at once. The target enters as differences to its newest value, so a level of it that was
never seen before can't break a forecast. The other columns enter as differences, as angles, and as levels measured
against their own slow averages and deviations. The calendar is an input, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints
from driftline.streams.definition import DAY_S, StreamDefinition

MEMORIES = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Smoothing factors of the moving averages: from the last few records to the last few hundred."""
SCALE_MEMORY = 0.002
DAY_MEMORY = 1 / 7
"""Of the mean over the last days: about a week."""
YEAR_DAYS = 365.25
RLS_LAGS = 5
BIAS = 0.1
DAY_TERMS = [0, 1, 3, 4]
"""Where in the calendar the time of day stands."""
GLITCH = 10.0
"""A move of the target by more usual steps is cut before anything slow learns from it: a glitch is soon forgotten, and
a new level is reached in a few records, since the usual step grows on the way."""
GLITCH_AFTER = 50
"""Records until what is usual is known."""
TINY = 1e-12
CLIP = 30.0
"""Scaled inputs are cut here: a glitch is one wild input, not the end of a filter."""


@dataclass(frozen=True)
class Inputs:
    """What the members of n records are fed with; row i belongs to record i of the round."""

    net: npt.NDArray[np.float32]
    """[n, width]: the networks' inputs in the stream's own units; they normalise inside."""
    rls: Floats
    """[n, horizons, terms]: the linear filter's inputs, scaled to about 1."""
    last: Floats
    """[n]: the target's value, NaN when it is missing: then nothing can be forecast."""
    scale: Floats
    """[n]: the usual size of one step of the target, in its units."""
    ready: npt.NDArray[np.bool_]
    """[n]: whether the networks' lags are filled."""
    daily: Floats
    """[n, horizons]: the target's value a day before the time that is forecast; NaN where that can't be said."""
    newest: Floats
    """[n, lags, columns]: the newest values themselves, the newest first, NaN where missing: for models that were made
    elsewhere."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The inputs of all rounds, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def take(self, which: npt.NDArray[Any]) -> Self:
        """Some of the rows."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True)
class Layout:
    """The inputs' sizes and meanings, given by a stream definition."""

    columns: int
    angles: Ints
    """Which columns are angles."""
    lags: int
    horizon: tuple[int, ...]
    season: int
    period: int
    """Milliseconds between two records."""

    @classmethod
    def of(cls, stream: StreamDefinition) -> Self:
        angles = np.flatnonzero(stream.angles)
        return cls(len(stream.columns), angles, stream.lags, stream.horizon, stream.season, stream.time.period * 1000)

    @property
    def net_width(self) -> int:
        seasonal = 1 + 2 * len(self.horizon) if self.season else 0
        others = len(self.other_levels) + 2 * len(self.angles)
        # As `newest` joins them: differences, averages, days before, calendar (6), other levels, angles as two each.
        return (self.lags - 1) * self.columns + len(MEMORIES) + seasonal + 6 + others

    @property
    def rls_terms(self) -> int:
        others = self.columns - 1 + len(self.other_angles)
        # As `_filter_inputs` joins them: bias, lags, averages, times of day (4), others, days before (3).
        return 1 + min(RLS_LAGS, self.lags - 1) + len(MEMORIES) + 4 + (3 if self.season else 0) + others

    @cached_property
    def other_angles(self) -> Ints:
        return self.angles[self.angles > 0]

    @cached_property
    def other_levels(self) -> Ints:
        return np.setdiff1d(np.arange(1, self.columns), self.angles)

    @cached_property
    def lag_steps(self) -> Ints:
        return np.arange(1, self.lags, dtype=np.int64)

    @cached_property
    def steps(self) -> Ints:
        """[horizons]."""
        return np.array(self.horizon, dtype=np.int64)

    def time_of_day(self, t: Ints) -> Ints:
        """Which of the `season` places of a day each time falls in. t: milliseconds since the epoch."""
        return t // self.period % self.season

    @cached_property
    def memories(self) -> Floats:
        """Smoothing factors of `History.moving`: the target's averages, then the slow statistics."""
        return np.array([*MEMORIES, *[SCALE_MEMORY] * (1 + 2 * self.columns)])


@dataclass(frozen=True)
class History:
    """What is remembered of every series, one row ("slot") each."""

    count: Ints
    """[slots]: records seen."""
    recent: Floats
    """[slots, lags, columns]: the newest values, a ring; NaN is missing."""
    day: Floats
    """[slots, season, 2]: by time of day the target's newest value, and its mean over the last days; NaN at first."""
    steady: Floats
    """[slots]: the target's newest value, wild moves cut; NaN before the first."""
    before: Floats
    """[slots, 2]: what `day` held for the newest record's time before it came."""
    moving: Floats
    """[slots, memories + 1 + 2 columns]: moving averages of the target, then slow ones of the target's squared steps,
    of every column, and of every column's squared deviation."""

    @classmethod
    def empty(cls, slots: int, layout: Layout) -> Self:
        return cls(
            count=np.zeros(slots, dtype=np.int64),
            recent=np.full((slots, layout.lags, layout.columns), np.nan),
            day=np.full((slots, layout.season, 2), np.nan),
            steady=np.full(slots, np.nan),
            before=np.full((slots, 2), np.nan),
            moving=np.full((slots, len(layout.memories)), np.nan),
        )


def observe(history: History, layout: Layout, slots: Ints, t: Ints, values: Floats) -> Inputs:
    """Takes in one record of each of n different series and gives the inputs for forecasting from it.

    slots: [n] rows of `history`, each at most once. t: [n] milliseconds since the epoch. values: [n, columns] in the
    stream's units, NaN where missing. `history` is changed in place.
    """
    # In this order: the day must remember the target with wild moves cut, which `_remember` computes.
    _remember(history, layout, slots, history.count[slots], values)
    if layout.season:
        steady = np.where(np.isnan(values[:, :1]), np.nan, history.steady[slots, None])
        _remember_day(history, slots, layout.time_of_day(t), steady)
    return newest(history, layout, slots, t)


def complete(history: History, layout: Layout, slots: Ints, number: Ints, values: Floats) -> None:
    """Fills in what was missing in former records, as far as they are looked back on; averages go on without it.

    number: [n] how many records came before it. values: [n, columns]. `history` is changed in place.
    """
    # A record older than the ring has given its place to a newer one.
    position = number % layout.lags
    known = history.recent[slots, position]
    kept = number >= history.count[slots] - layout.lags
    history.recent[slots, position] = np.where(kept[:, None] & np.isnan(known), values, known)


def newest(history: History, layout: Layout, slots: Ints, t: Ints) -> Inputs:
    """The inputs for forecasting from the records that were taken in last, whose times are `t`."""
    position = history.count[slots] - 1
    moving = history.moving[slots]
    values = history.recent[slots, position % layout.lags]
    target = values[:, 0]
    # Record k lies at k % lags. In a young series the places further back were never written and are NaN.
    lagged = history.recent[slots[:, None], (position[:, None] - layout.lag_steps) % layout.lags]
    recent = np.concatenate([values[:, None, :], lagged], axis=1)
    differences = lagged - values[:, None, :]
    if len(layout.angles):
        # The shorter way round, in [-180, 180).
        differences[:, :, layout.angles] = (differences[:, :, layout.angles] + 180.0) % 360.0 - 180.0
    averages = moving[:, : len(MEMORIES)] - target[:, None]
    seasonal, daily = _seasonal(history, layout, slots, t, target)
    clock = calendar(t)
    levels = _levels(layout, values, moving)
    turned = circle(values[:, layout.angles])
    net = np.concatenate([differences.reshape(len(slots), -1), averages, seasonal, clock, levels, turned], axis=1)
    # Networks take no NaN: a missing input says "no difference".
    net[np.isnan(net)] = 0.0
    scale = np.sqrt(moving[:, len(MEMORIES)])
    ready = (position + 1 >= layout.lags) & np.isfinite(target)
    others = np.concatenate([levels, circle(values[:, layout.other_angles])], axis=1)
    rls = _filter_inputs(layout, differences[:, :RLS_LAGS, 0], averages, seasonal, clock, others, scale)
    return Inputs(net.astype(np.float32), rls, target, scale, ready, daily, recent)


def _remember(history: History, layout: Layout, slots: Ints, position: Ints, values: Floats) -> None:
    """Writes the record into the rings and moves the averages."""
    # `position` is the number of the new record, so the newest one before it lies one place back.
    former = history.recent[slots, (position - 1) % layout.lags, 0]
    history.recent[slots, position % layout.lags] = values
    history.count[slots] = position + 1
    # A copy, as all indexing by arrays: it keeps what was known before this record.
    old = history.moving[slots]
    first = len(MEMORIES)
    news = np.empty_like(old)
    steady, step = _follow(history.steady[slots], former, values[:, 0], old[:, first], position)
    history.steady[slots] = np.where(np.isnan(steady), history.steady[slots], steady)
    news[:, :first] = steady[:, None]
    news[:, first] = step**2
    news[:, first + 1 : first + 1 + layout.columns] = values
    # Measured from the mean before this record; with the new mean a jump would look smaller than it is.
    news[:, first + 1 + layout.columns :] = (values - old[:, first + 1 : first + 1 + layout.columns]) ** 2
    # A young series follows its first records quickly, then settles into its slow memories.
    memory = np.maximum(layout.memories, 1.0 / (position[:, None] + 1.0))
    # NaN in `old`: the first value of a statistic. NaN in `news`: a missing value, which leaves it as it is.
    started = np.where(np.isnan(old), news, old)
    moved = started + memory * (news - started)
    history.moving[slots] = np.where(np.isnan(news), old, moved)


def _follow(before: Floats, former: Floats, target: Floats, square: Floats, position: Ints) -> tuple[Floats, Floats]:
    """The target with wild moves cut, and its step; NaN where it, or what was before it, is missing. All [n].

    before: what was followed so far; former: the record before, as it was; square: the usual squared step.
    """
    # After a gap the target is followed from where it is: the step over the gap is unknown, not zero.
    known = np.isfinite(former) & np.isfinite(before)
    limit = np.where((position >= GLITCH_AFTER) & (square > 0), GLITCH * np.sqrt(square), np.inf)
    step = np.where(known, np.clip(target - before, -limit, limit), np.nan)
    return np.where(known, before + step, target), step


def _remember_day(history: History, slots: Ints, places: Ints, target: Floats) -> None:
    """target: [n, 1]. A value that is missing leaves the day before's."""
    known = history.day[slots, places]
    mean = known[:, 1:]
    news = np.concatenate([target, np.where(np.isnan(mean), target, mean + DAY_MEMORY * (target - mean))], axis=1)
    # Kept, since the next line overwrites it, and `_seasonal` needs what the day before had at this time of day.
    history.before[slots] = known
    history.day[slots, places] = np.where(np.isnan(target), known, news)


def _seasonal(history: History, layout: Layout, slots: Ints, t: Ints, target: Floats) -> tuple[Floats, Floats]:
    """What the days before say, in two arrays.

    [n, 1 + 2 horizons]: the day before minus now, how it went on from there to each horizon, how days do in the mean;
    [n, horizons]: the value of the day before at the time that is forecast.
    """
    if not layout.season:
        return np.empty((len(slots), 0)), np.full((len(slots), len(layout.horizon)), np.nan)
    # Places ahead of now were last written a day ago; beyond a day ahead it is the newest value at that time.
    places = (layout.time_of_day(t)[:, None] + layout.steps) % layout.season
    ahead: Floats = history.day[slots[:, None], places]
    before = history.before[slots]
    moves = ahead - before[:, None, :]
    return np.concatenate([before[:, :1] - target[:, None], moves[:, :, 0], moves[:, :, 1]], axis=1), ahead[:, :, 0]


def calendar(t: Ints) -> Floats:
    """[n, 6]: time of day (two harmonics) and day of year (one), as sines and cosines. `t` in milliseconds, UTC."""
    days = t / (DAY_S * 1000.0)
    day = 2 * np.pi * (days % 1.0)
    year = 2 * np.pi * (days % YEAR_DAYS) / YEAR_DAYS
    phases = np.stack([day, 2 * day, year], axis=1)
    return np.concatenate([np.sin(phases), np.cos(phases)], axis=1)


def circle(degrees: Floats) -> Floats:
    """[n, 2 k]: angles as sine and cosine."""
    radians = np.deg2rad(degrees)
    return np.concatenate([np.sin(radians), np.cos(radians)], axis=1)


def _levels(layout: Layout, values: Floats, moving: Floats) -> Floats:
    """[n, others]: where the other columns are in what they have been of late, in their own deviations: a level that
    moves for good is soon usual again."""
    others = layout.other_levels
    level = moving[:, len(MEMORIES) + 1 + others]
    spread = np.sqrt(np.maximum(moving[:, len(MEMORIES) + 1 + layout.columns + others], TINY))
    levels: Floats = (values[:, others] - level) / spread
    return np.clip(levels, -CLIP, CLIP)


def _filter_inputs(
    layout: Layout, lagged: Floats, averages: Floats, seasonal: Floats, clock: Floats, others: Floats, scale: Floats
) -> Floats:
    """[n, horizons, terms], scaled by the usual step of the target so that units don't matter."""
    n, horizons = len(lagged), len(layout.horizon)
    unit = np.maximum(scale, TINY)[:, None]
    bias = np.full((n, 1), BIAS)
    shared = [bias, lagged / unit, averages / unit, clock[:, DAY_TERMS], others]
    terms = np.repeat(np.concatenate(shared, axis=1)[:, None, :], horizons, axis=1)
    if layout.season:
        # `seasonal` is one term for all horizons, then one move a horizon, then one mean move a horizon.
        daily = np.empty((n, horizons, 3))
        daily[:, :, 0] = seasonal[:, :1] / unit
        daily[:, :, 1] = seasonal[:, 1 : 1 + horizons] / unit
        daily[:, :, 2] = seasonal[:, 1 + horizons :] / unit
        terms = np.concatenate([terms, daily], axis=2)
    # Missing inputs say nothing (zero), wild ones are cut.
    terms[np.isnan(terms)] = 0.0
    clipped: Floats = np.clip(terms, -CLIP, CLIP)
    return clipped
