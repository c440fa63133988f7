"""What members learn from, computed record by record: the same code trains in the cloud and serves on the edge.

Pure NumPy over many series at once. Lags look back in time, on the grid of `driftline.streams.grid`: a period without a
record is one of missing values. The target enters as differences to its newest value, so a level of it that was
never seen before can't break a forecast. The other columns enter as differences, as angles, and as levels measured
against their own slow averages and deviations. The calendar is an input, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Annotated, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints, Mask, Over, clipped
from driftline.streams.calendar import WEEKDAY, YEAR, LocalCalendar
from driftline.streams.definition import StreamDefinition
from driftline.streams.grid import NEVER, UNKNOWN, phase_of, skipped, tick_of
from driftline.streams.neighbours import OFFSET_MEMORIES, Peers, moves_within, others

MEMORIES = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Smoothing factors of the moving averages: from the last few records to the last few hundred."""
SCALE_MEMORY = 0.002
DAYS = 7
"""That are remembered period by period."""
NET_SEASONS = 1
"""Of how many seasons, the shortest first, a network sees how far what was then is from now: after a step the long ones
are wrong for long, and a network does not learn that. Filters do."""
RLS_LAGS = 5
BIAS = 0.1
GLITCH = 10.0
"""A move of the target by more usual steps is cut before anything slow learns from it: a glitch is soon forgotten, and
a new level is reached in a few records, since the usual step grows on the way."""
GLITCH_AFTER = 50
"""Records until what is usual is known."""
FILTER_HOURS = slice(0, 4)
"""Which of the calendar's terms the filters get: two harmonics of the local hour."""
FILTER_NEIGHBOURS = 4
"""Of what the neighbours say the filters get so much: their deviation from the usual offset, and the last two moves."""
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
    """[n, horizons]: the target's value a day before the time that is forecast, or so many whole days as the horizon
    needs; NaN where it is not known."""
    weekly: Floats
    """[n, horizons]: the same of a week."""
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
    day: int
    """Periods in a day, or 0 where it is not looked back on."""
    week: int
    """The same of a week."""
    period: int
    """Milliseconds from one record to the next."""
    calendar: LocalCalendar
    grouped: bool = False
    """Whether series see their neighbours."""
    futures: int = 0
    """Columns that are known ahead."""
    future_angles: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Which of them are angles."""

    @classmethod
    def of(cls, stream: StreamDefinition) -> Self:
        return cls(
            columns=len(stream.columns),
            angles=np.flatnonzero(stream.angles),
            lags=stream.lags,
            horizon=stream.horizon,
            day=stream.season,
            week=stream.week,
            period=stream.time.period * 1000,
            calendar=LocalCalendar.of(stream),
            grouped=stream.group is not None,
            futures=len(stream.futures),
            future_angles=np.flatnonzero(stream.future_angles),
        )

    @property
    def net_width(self) -> int:
        # As `newest` joins them: differences, averages, seasons, calendar, levels, angles as two each, neighbours,
        # futures.
        columns = len(self.other_levels) + 2 * len(self.angles) + self.neighbour_width
        lagged = (self.lags - 1) * self.columns
        futures = len(self.horizon) * (self.futures + len(self.future_levels) + 2 * len(self.future_angles))
        return lagged + len(MEMORIES) + self._seasonal_width + self._clock_width + columns + futures

    @property
    def rls_terms(self) -> int:
        # As `_filter_inputs` joins them: bias, lags, averages, seasons, neighbours, other columns, time of day, how
        # seasons went on, futures.
        columns = self.columns - 1 + len(self.other_angles) + (FILTER_NEIGHBOURS if self.grouped else 0)
        seasonal = self.seasons + self.seasonal_moves
        hours = FILTER_HOURS.stop - FILTER_HOURS.start
        futures = len(self.future_levels) + 2 * len(self.future_angles)
        return 1 + min(RLS_LAGS, self.lags - 1) + len(MEMORIES) + columns + hours + seasonal + futures

    @property
    def seasons(self) -> int:
        """How many are looked back on."""
        return bool(self.day) + bool(self.week)

    @property
    def seasonal_moves(self) -> int:
        """What the seasons say for one horizon: see `_Seasonal`."""
        return 2 * bool(self.day) + bool(self.week)

    @property
    def _seasonal_width(self) -> int:
        return min(self.seasons, NET_SEASONS) + self.seasonal_moves * len(self.horizon)

    @property
    def week_inputs(self) -> Ints:
        """Which of a network's inputs speak of the week: the weekday, holidays, and how last week went on."""
        steps = np.arange(len(self.horizon))[:, None]
        holiday = self.calendar.width - YEAR.stop
        weekdays = self._clock_start + steps * YEAR.start + np.arange(YEAR.start)[WEEKDAY]
        holidays = self._clock_start + len(self.horizon) * YEAR.start + steps * holiday + np.arange(holiday)
        # The last of the moves, see `_seasonal`.
        moves = self._clock_start + (steps - len(self.horizon) + 1) * self.seasonal_moves - 1
        return np.concatenate([weekdays.ravel(), holidays.ravel(), moves[: bool(self.week) * len(steps)].ravel()])

    @property
    def year_inputs(self) -> Ints:
        """Which of a network's inputs say what day of the year it is."""
        years = YEAR.stop - YEAR.start
        return self._clock_start + self._clock_width - years + np.arange(years)

    @property
    def _clock_start(self) -> int:
        return (self.lags - 1) * self.columns + len(MEMORIES) + self._seasonal_width

    @property
    def neighbour_width(self) -> int:
        return 2 + len(OFFSET_MEMORIES) + len(moves_within(self.lags)) if self.grouped else 0

    @property
    def _clock_width(self) -> int:
        year = YEAR.stop - YEAR.start
        return (self.calendar.width - year) * len(self.horizon) + year

    @property
    def remembered(self) -> int:
        """Periods of which the target's values are kept, to look back on seasons."""
        return max(DAYS * self.day, self.week)

    @cached_property
    def other_angles(self) -> Ints:
        return self.angles[self.angles > 0]

    @cached_property
    def other_levels(self) -> Ints:
        return np.setdiff1d(np.arange(1, self.columns), self.angles)

    @cached_property
    def future_levels(self) -> Ints:
        return np.setdiff1d(np.arange(self.futures), self.future_angles)

    @cached_property
    def looked_ahead(self) -> Ints:
        """[1 + horizons]: periods from a record to the times whose futures are looked at: its own, and those that are
        forecast."""
        return np.concatenate([[0], self.steps])

    @cached_property
    def lag_steps(self) -> Ints:
        return np.arange(1, self.lags, dtype=np.int64)

    @cached_property
    def steps(self) -> Ints:
        """[horizons]."""
        return np.array(self.horizon, dtype=np.int64)

    @cached_property
    def days_back(self) -> Ints:
        """[horizons, DAYS]: periods from the time that is forecast back to the same time of former days, the newest
        that is known first."""
        whole = -(-self.steps // self.day)
        return self.day * (whole[:, None] + np.arange(DAYS))

    @cached_property
    def weeks_back(self) -> Ints:
        """[horizons]: periods from the time that is forecast back to the newest known one of the same time and
        weekday."""
        return self.week * -(-self.steps // self.week)

    @cached_property
    def memories(self) -> Floats:
        """Smoothing factors of `History.moving`: the target's averages, then the slow statistics."""
        return np.array([*MEMORIES, *[SCALE_MEMORY] * (1 + 2 * self.columns)])


@dataclass(frozen=True)
class History:
    """What is remembered of every series, one row ("slot") each."""

    count: Annotated[Ints, Over()]
    """[slots]: records seen."""
    tick: Annotated[Ints, Over()]
    """[slots]: of the newest record; NEVER before the first."""
    start: Annotated[Ints, Over()]
    """[slots]: the tick at which `recent` began: a gap beyond the lags leaves nothing to look back on."""
    phase: Annotated[Ints, Over()]
    """[slots]: of the series' grid, milliseconds; UNKNOWN before the first record, which gives it."""
    recent: Annotated[Floats, Over("lags", "columns")]
    """[slots, lags, columns]: the newest values, a ring by tick; NaN is missing."""
    season: Annotated[npt.NDArray[np.float32], Over("remembered")]
    """[slots, remembered]: the target's values of the last week, wild moves cut, a ring by tick; NaN is missing."""
    steady: Annotated[Floats, Over()]
    """[slots]: the target's newest value, wild moves cut; NaN before the first."""
    before: Annotated[Floats, Over()]
    """[slots]: what `season` held in the newest record's place before it came."""
    offset: Annotated[Floats, Over("offsets")]
    """[slots, offset memories]: moving averages of the neighbours' difference to the target."""
    moving: Annotated[Floats, Over("moving")]
    """[slots, memories + 1 + 2 columns]: moving averages of the target, then slow ones of the target's squared steps,
    of every column, and of every column's squared deviation."""
    usual: Annotated[Floats, Over("usual", "futures")]
    """[slots, 2 + horizons, futures]: slow moving averages of every future, of its squared deviation, and of its
    squared move until each horizon."""

    @classmethod
    def empty(cls, slots: int, layout: Layout) -> Self:
        return cls(
            count=np.zeros(slots, dtype=np.int64),
            tick=np.full(slots, NEVER, dtype=np.int64),
            start=np.full(slots, NEVER, dtype=np.int64),
            phase=np.full(slots, UNKNOWN, dtype=np.int64),
            recent=np.full((slots, layout.lags, layout.columns), np.nan),
            season=np.full((slots, layout.remembered), np.nan, dtype=np.float32),
            steady=np.full(slots, np.nan),
            before=np.full(slots, np.nan),
            offset=np.full((slots, len(OFFSET_MEMORIES) if layout.grouped else 0), np.nan),
            moving=np.full((slots, len(layout.memories)), np.nan),
            usual=np.full((slots, 2 + len(layout.horizon), layout.futures), np.nan),
        )


def observe(
    history: History,
    layout: Layout,
    slots: Ints,
    t: Ints,
    values: Floats,
    peers: Peers | None = None,
    ahead: npt.NDArray[np.float32] | None = None,
) -> Inputs:
    """Takes in one record of each of n different series and gives the inputs for forecasting from it.

    slots: [n] rows of `history`, each at most once. t: [n] milliseconds since the epoch, for each series at least the
    time of its record before. values: [n, columns] in the stream's units, NaN where missing. peers: the groups of the n
    series, where the layout says so; those of one group have the same tick. ahead: [n, 1 + horizons, futures] what
    was known by then of the times that `Layout.looked_ahead` says, where the layout has futures; NaN where nothing. A
    second record of a tick takes the place of the first, as far as it has values. `history` is changed in place.
    """
    # In this order: the season must remember the target with wild moves cut, which `_remember` computes.
    before = history.tick[slots]
    tick = _arrive(history, layout, slots, t)
    again = tick == before
    position = tick % layout.lags
    values = np.where(again[:, None] & np.isnan(values), history.recent[slots, position], values)
    _remember(history, layout, slots, tick, values, again)
    if layout.remembered:
        steady = np.where(np.isnan(values[:, 0]), np.nan, history.steady[slots])
        _remember_season(history, layout, slots, tick, steady, again)
    if peers is not None:
        difference = others(history.recent, history.tick, tick, values[:, 0], peers).difference
        _remember_offset(history, slots, difference, again)
    if ahead is not None:
        _remember_usual(history, slots, ahead.astype(np.float64), again)
    return newest(history, layout, slots, t, peers, ahead)


def complete(history: History, layout: Layout, slots: Ints, tick: Ints, values: Floats) -> None:
    """Fills in what was missing in former records, as far as they are looked back on; averages go on without it.

    tick: [n] of these records. values: [n, columns]. `history` is changed in place.
    """
    # A record older than a ring has given its place to a newer one.
    age = history.tick[slots] - tick
    known = history.recent[slots, tick % layout.lags]
    missing = (age < layout.lags)[:, None] & np.isnan(known)
    history.recent[slots, tick % layout.lags] = np.where(missing, values, known)
    if layout.remembered:
        position = tick % layout.remembered
        kept = history.season[slots, position]
        history.season[slots, position] = np.where((age < layout.remembered) & np.isnan(kept), values[:, 0], kept)


def newest(
    history: History,
    layout: Layout,
    slots: Ints,
    t: Ints,
    peers: Peers | None = None,
    ahead: npt.NDArray[np.float32] | None = None,
) -> Inputs:
    """The inputs for forecasting from the records that were taken in last, whose times are `t`; see `observe`."""
    tick = history.tick[slots]
    moving = history.moving[slots]
    values = history.recent[slots, tick % layout.lags]
    target = values[:, 0]
    # What was at tick k lies at k % lags. In a young series, and in a gap, these places are NaN.
    lagged = history.recent[slots[:, None], (tick[:, None] - layout.lag_steps) % layout.lags]
    recent = np.concatenate([values[:, None, :], lagged], axis=1)
    differences = lagged - values[:, None, :]
    if len(layout.angles):
        # The shorter way round, in [-180, 180).
        differences[:, :, layout.angles] = (differences[:, :, layout.angles] + 180.0) % 360.0 - 180.0
    averages = moving[:, : len(MEMORIES)] - target[:, None]
    seasonal = _seasonal(history, layout, slots, tick, target)
    clock = layout.calendar.terms(t[:, None] + layout.steps * layout.period)
    levels = _levels(layout, values, moving)
    turned = circle(values[:, layout.angles])
    around = _neighbours(history, layout, slots, tick, target, peers)
    to_come = _to_come(history, layout, slots, ahead)
    anchors = seasonal.now[:, :NET_SEASONS]
    parts = [differences, averages, anchors, seasonal.moves, *_clock(clock), levels, turned, around, *to_come.net]
    net = np.concatenate([part.reshape(len(slots), -1) for part in parts], axis=1)
    # Networks take no NaN: a missing input says "no difference".
    net[np.isnan(net)] = 0.0
    scale = np.sqrt(moving[:, len(MEMORIES)])
    ready = (tick - history.start[slots] + 1 >= layout.lags) & np.isfinite(target)
    columns = np.concatenate([levels, circle(values[:, layout.other_angles])], axis=1)
    shared = [differences[:, :RLS_LAGS, 0], averages, seasonal.now, around[:, 1 : 1 + FILTER_NEIGHBOURS]]
    rls = _filter_inputs(shared, columns, clock[:, :, FILTER_HOURS], seasonal.moves, to_come.filters, scale)
    return Inputs(net.astype(np.float32), rls, target, scale, ready, seasonal.daily, seasonal.weekly, recent)


def on_grid(history: History, layout: Layout, slots: Ints, t: Ints) -> tuple[Ints, Ints]:
    """[n] each: the phases of the grids of n series, which a first record gives, and the ticks of the times `t`."""
    phase = history.phase[slots]
    phase = np.where(phase == UNKNOWN, phase_of(t, layout.period), phase)
    return phase, tick_of(t, phase, layout.period)


def _arrive(history: History, layout: Layout, slots: Ints, t: Ints) -> Ints:
    """[n]: the ticks of the times `t`, which become the newest; what lies between is missing."""
    before = history.tick[slots]
    phase, tick = on_grid(history, layout, slots, t)
    for ring, size in ((history.recent, layout.lags), (history.season, layout.remembered)):
        rows, places = skipped(size, before, tick)
        ring[slots[rows], places] = np.nan
    # Also at the first record: NEVER is further away than any lag.
    left_behind = tick - before > layout.lags
    history.start[slots] = np.where(left_behind, tick, history.start[slots])
    history.phase[slots] = phase
    history.tick[slots] = tick
    return tick


def _remember(history: History, layout: Layout, slots: Ints, tick: Ints, values: Floats, again: Mask) -> None:
    """Writes the record into the ring and moves the averages; those have learned from a tick that comes `again`."""
    count = history.count[slots]
    former = history.recent[slots, (tick - 1) % layout.lags, 0]
    history.recent[slots, tick % layout.lags] = values
    history.count[slots] = count + ~again
    # A copy, as all indexing by arrays: it keeps what was known before this record.
    old = history.moving[slots]
    first = len(MEMORIES)
    news = np.empty_like(old)
    steady, step = _follow(history.steady[slots], former, values[:, 0], old[:, first], count)
    history.steady[slots] = np.where(np.isnan(steady), history.steady[slots], steady)
    news[:, :first] = steady[:, None]
    news[:, first] = step**2
    news[:, first + 1 : first + 1 + layout.columns] = values
    # Measured from the mean before this record; with the new mean a jump would look smaller than it is.
    news[:, first + 1 + layout.columns :] = (values - old[:, first + 1 : first + 1 + layout.columns]) ** 2
    # A young series follows its first records quickly, then settles into its slow memories.
    memory = np.maximum(layout.memories, 1.0 / (count[:, None] + 1.0))
    # NaN in `old`: the first value of a statistic. NaN in `news`: a missing value, which leaves it as it is.
    started = np.where(np.isnan(old), news, old)
    moved = started + memory * (news - started)
    history.moving[slots] = np.where(np.isnan(news) | again[:, None], old, moved)


def _follow(before: Floats, former: Floats, target: Floats, square: Floats, count: Ints) -> tuple[Floats, Floats]:
    """The target with wild moves cut, and its step; NaN where it, or what was before it, is missing. All [n].

    before: what was followed so far; former: the value one period before, as it was; square: the usual squared step.
    """
    # After a gap the target is followed from where it is: the step over the gap is unknown, not zero.
    known = np.isfinite(former) & np.isfinite(before)
    limit = np.where((count >= GLITCH_AFTER) & (square > 0), GLITCH * np.sqrt(square), np.inf)
    step = np.where(known, clipped(target - before, -limit, limit), np.nan)
    return np.where(known, before + step, target), step


def _remember_season(history: History, layout: Layout, slots: Ints, tick: Ints, target: Floats, again: Mask) -> None:
    """target: [n]."""
    position = tick % layout.remembered
    # Kept, since the next line overwrites it, and `_seasonal` needs what was a whole ring ago.
    history.before[slots] = np.where(again, history.before[slots], history.season[slots, position])
    history.season[slots, position] = target


def _remember_offset(history: History, slots: Ints, difference: Floats, again: Mask) -> None:
    """difference: [n], NaN where it is not known."""
    old = history.offset[slots]
    started = np.where(np.isnan(old), difference[:, None], old)
    # A young series follows its first records quickly.
    memory = np.maximum(np.array(OFFSET_MEMORIES), 1.0 / np.maximum(history.count[slots], 1)[:, None])
    moved = started + memory * (difference[:, None] - started)
    history.offset[slots] = np.where(np.isnan(difference)[:, None] | again[:, None], old, moved)


def _neighbours(
    history: History, layout: Layout, slots: Ints, tick: Ints, target: Floats, peers: Peers | None
) -> Floats:
    """[n, width]: the others' difference to the target, its deviation from what is usual, their moves, their spread."""
    if peers is None:
        return np.full((len(slots), layout.neighbour_width), np.nan)
    around = others(history.recent, history.tick, tick, target, peers)
    deviation = around.difference[:, None] - history.offset[slots]
    return np.concatenate([around.difference[:, None], deviation, around.moves, around.spread[:, None]], axis=1)


def _remember_usual(history: History, slots: Ints, ahead: Floats, again: Mask) -> None:
    """ahead: see `observe`. All that is known of it counts, so that a step to come is not measured by none before."""
    old = history.usual[slots]
    mean = _mean(np.moveaxis(ahead, 1, 2))
    base = np.where(np.isnan(old[:, 0]), mean, old[:, 0])
    square = _mean(np.moveaxis((ahead - base[:, None]) ** 2, 1, 2))
    news = np.concatenate([mean[:, None], square[:, None], (ahead[:, 1:] - ahead[:, :1]) ** 2], axis=1)
    # A young series follows its first records quickly.
    memory = np.maximum(SCALE_MEMORY, 1.0 / np.maximum(history.count[slots], 1))[:, None, None]
    started = np.where(np.isnan(old), news, old)
    moved = started + memory * (news - started)
    history.usual[slots] = np.where(np.isnan(news) | again[:, None, None], old, moved)


class _ToCome(NamedTuple):
    """What the futures say of each horizon."""

    net: list[Floats]
    """[n, horizons, futures] how far each moves until then, [n, horizons, levels] where it is in what is usual of it,
    in its own deviations, and [n, horizons, 2 angles]."""
    filters: Floats
    """[n, horizons, levels + 2 angles]: the moves of levels measured by their usual ones until that horizon, and angles
    as sine and cosine."""


def _to_come(history: History, layout: Layout, slots: Ints, ahead: npt.NDArray[np.float32] | None) -> _ToCome:
    n, horizons, levels, angles = len(slots), len(layout.horizon), layout.future_levels, layout.future_angles
    if not layout.futures:
        return _ToCome([], np.empty((n, horizons, 0)))
    if ahead is None:
        ahead = np.full((n, 1 + horizons, layout.futures), np.nan, dtype=np.float32)
    then = ahead[:, 1:].astype(np.float64)
    moves = then - ahead[:, :1]
    moves[:, :, angles] = (moves[:, :, angles] + 180.0) % 360.0 - 180.0
    usual = history.usual[slots][:, :, levels]
    spread = np.sqrt(np.maximum(usual[:, 1:2], TINY))
    level = clipped((then[:, :, levels] - usual[:, :1]) / spread, -CLIP, CLIP)
    # A level that wanders far moves little in a step: by its deviation it would be lost to the filters' prior.
    scaled = moves[:, :, levels] / np.sqrt(np.maximum(usual[:, 2:], TINY))
    radians = np.deg2rad(then[:, :, angles])
    turned = np.concatenate([np.sin(radians), np.cos(radians)], axis=2)
    return _ToCome([moves, level, turned], np.concatenate([scaled, turned], axis=2))


class _Seasonal(NamedTuple):
    """What former days and weeks say."""

    now: Floats
    """[n, seasons]: what was a day ago, and a week ago, minus now."""
    moves: Floats
    """[n, horizons, moves]: how it went on from there to the horizon: after a day ago, in the mean of the last days,
    after a week ago."""
    daily: Floats
    """[n, horizons]: see `Inputs`."""
    weekly: Floats


def _seasonal(history: History, layout: Layout, slots: Ints, tick: Ints, target: Floats) -> _Seasonal:
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
        moves += [daily - former[:, :1], _mean(days) - _mean(former)[:, None]]
    if layout.week:
        weekly = history.season[rows, (ahead - layout.weeks_back) % ring].astype(np.float64)
        now.append(oldest - target)
        moves.append(weekly - oldest[:, None])
    joined = np.stack(moves, axis=2) if moves else np.empty((n, horizons, 0))
    return _Seasonal(np.stack(now, axis=1) if now else np.empty((n, 0)), joined, daily, weekly)


def _mean(values: Floats) -> Floats:
    """Over the last axis, of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1)
    return mean


def _clock(terms: Floats) -> list[Floats]:
    """The calendar of the times that are forecast, as a network gets it: the day of the year once, for it hardly moves.
    terms: [n, horizons, width]."""
    return [terms[:, :, : YEAR.start], terms[:, :, YEAR.stop :], terms[:, 0, YEAR]]


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
    return clipped(levels, -CLIP, CLIP)


def _filter_inputs(
    shared: Sequence[Floats], others: Floats, hour: Floats, moves: Floats, to_come: Floats, scale: Floats
) -> Floats:
    """[n, horizons, terms], scaled by the usual step of the target so that units don't matter.

    shared: [n, terms] each in the target's units; others: [n, terms]; hour: [n, horizons, terms]; moves: [n, horizons,
    terms] in the target's units; to_come: [n, horizons, terms].
    """
    n, horizons = hour.shape[:2]
    unit = np.maximum(scale, TINY)[:, None]
    alike = np.concatenate([np.full((n, 1), BIAS), *(part / unit for part in shared), others], axis=1)
    own = [np.repeat(alike[:, None, :], horizons, axis=1), hour, moves / unit[:, :, None], to_come]
    terms = np.concatenate(own, axis=2)
    # Missing inputs say nothing (zero), wild ones are cut.
    terms[np.isnan(terms)] = 0.0
    return clipped(terms, -CLIP, CLIP)
