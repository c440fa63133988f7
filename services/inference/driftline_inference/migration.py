"""Takes up what release 0.1.0 saved of a series, so that nothing is learned twice. Pure.

Carried over: the newest values, averages and what is usual of every column, the last day, the filters with all that
they have learned, what was forecast and waits for its truth, the health of sensors, truths that may still come. Days
before the last one were kept as a mean alone, from which no day can be had back: they fill up again within a week, as
the week before does, and until then the mean of days is that of those that are known. What a filter has learned of a
term that there was not begins as in a new filter.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.members import MODELS
from driftline.streams.calendar import HOUR
from driftline.streams.definition import DAY_S, StreamDefinition
from driftline.streams.features import FILTER_NEIGHBOURS, MEMORIES, RLS_LAGS, History, Layout
from driftline.streams.grid import phase_of, tick_of
from driftline.worker import slots as tables
from driftline.worker.former import FormerTruths, by_tick, former_fingerprint, former_season
from driftline_inference import rls
from driftline_inference.rls import Filters, Places, Waiting
from driftline_inference.sensor_health import SensorHealth
from driftline_inference.state import ForecastTables, SavedForecastState

FORMER_STATE = 3
DAY_MS = DAY_S * 1000
HOUR_TERMS = 4
"""Sines of both harmonics of the time of day, then their cosines."""
DAILY_TERMS = 3
"""The day before minus now, how it went on from there, how days do in the mean."""


@dataclass(frozen=True)
class FormerHistory:
    """See `driftline.streams.features.History`."""

    count: Ints
    """[slots]: records seen."""
    recent: Floats
    """[slots, lags, columns]: the newest values, a ring by number."""
    day: Floats
    """[slots, season, 2]: by time of day in UTC the target's newest value, and its mean over the last days."""
    steady: Floats
    """[slots]."""
    before: Floats
    """[slots, 2]: what `day` held for the newest record's time before it came."""
    moving: Floats
    """[slots, memories + 1 + 2 columns]."""

    @classmethod
    def empty(cls, slots: int, layout: Layout, season: int) -> Self:
        return cls(
            count=np.zeros(slots, dtype=np.int64),
            recent=np.full((slots, layout.lags, layout.columns), np.nan),
            day=np.full((slots, season, 2), np.nan),
            steady=np.full(slots, np.nan),
            before=np.full((slots, 2), np.nan),
            moving=np.full((slots, len(layout.memories)), np.nan),
        )


class FormerForecastTables(NamedTuple):
    """The tables of that release, in the order in which they were saved."""

    history: FormerHistory
    waiting: Waiting
    """Its ticks are counts of records, and its rings go by number."""
    health: SensorHealth
    late: FormerTruths


def former_signature(stream: StreamDefinition) -> str:
    """What that release wrote into the states of a stream of this definition."""
    season, terms = former_season(stream), len(_Terms.of(Layout.of(stream), former_season(stream)).former)
    return f"{FORMER_STATE}-{former_fingerprint(stream)}-{season}-{terms}-{stream.patience}"


def migrate(saved: SavedForecastState, stream: StreamDefinition, blank: ForecastTables) -> ForecastTables | None:
    """The state in today's tables of one slot, which `blank` gives; None where it can't be read.

    saved: of `former_signature`. `blank` is changed in place.
    """
    layout, season = Layout.of(stream), former_season(stream)
    terms = _Terms.of(layout, season)
    width = len(terms.former)
    former = FormerForecastTables(
        FormerHistory.empty(1, layout, season),
        Waiting.empty(1, stream.horizon, width + len(MODELS), stream.patience),
        SensorHealth.empty(1, layout.columns, layout.period),
        FormerTruths.empty(1, stream.patience),
    )
    plain = Filters.empty(1, stream.horizon, width)
    stacked = Filters.empty(1, stream.horizon, width + len(MODELS), trusted=width)
    try:
        tables.load(saved.arrays, 0, *former)
        rls.load(saved.rls, 0, plain)
        rls.load(saved.stack, 0, stacked)
    except ValueError:
        return None
    if former.history.count[0] < 1:
        return None
    _take_history(blank.history, former.history, layout, season, saved.t)
    tick, turned = int(blank.history.tick[0]), terms.turned(layout, saved.t)
    _take_waiting(blank.waiting, former.waiting, turned, tick)
    _take_filters(blank.rls, plain, turned)
    _take_filters(blank.stack, stacked, turned)
    tables.reset(blank.health, 0, former.health)
    blank.late.tick[0] = tick
    blank.late.t[0] = by_tick(former.late.t[0], int(former.late.count[0]), tick)
    return blank


def _take_history(history: History, former: FormerHistory, layout: Layout, season: int, t: int) -> None:
    """t: time of the newest record."""
    newest = np.array([t], dtype=np.int64)
    history.phase[0] = phase_of(newest, layout.period)[0]
    history.tick[0] = tick = int(tick_of(newest, history.phase, layout.period)[0])
    history.count[0] = count = int(former.count[0])
    # All of them lie in a row, as far as the ring goes.
    history.start[0] = tick - count + 1
    history.recent[0] = by_tick(former.recent[0], count, tick)
    history.steady[0], history.moving[0] = former.steady[0], former.moving[0]
    if season and layout.remembered > season:
        # The place of a time of day was its number of periods since midnight in UTC; the newest record's place holds
        # that record, the others what came up to a day before it. What it has replaced was a whole day before it.
        back = (t // layout.period - np.arange(season)) % season
        history.season[0, (tick - back) % layout.remembered] = former.day[0, :, 0]
        history.season[0, (tick - season) % layout.remembered] = former.before[0, 0]


@dataclass(frozen=True)
class _Terms:
    """Where the terms of a filter come from: by place the former terms' places in today's; -1 where there is none."""

    former: Ints
    hour: slice
    """Which of the former terms say the time of day."""
    today: slice
    """Today's that do."""
    width: int
    """How many there are today."""

    @classmethod
    def of(cls, layout: Layout, season: int) -> Self:
        # Then: bias, lags, averages | time of day | other columns | day before.
        # Today: bias, lags, averages | day, week before now | neighbours | other columns | time of day | moves.
        alike = 1 + min(RLS_LAGS, layout.lags - 1) + len(MEMORIES)
        columns = layout.columns - 1 + len(layout.other_angles)
        others = alike + layout.seasons + (FILTER_NEIGHBOURS if layout.grouped else 0)
        hour = others + columns
        moves = hour + HOUR_TERMS
        daily = [alike, moves, moves + 1] if layout.day else [-1] * DAILY_TERMS
        former = [
            *range(alike),
            *range(hour, moves),
            *range(others, hour),
            *(daily if season else []),
        ]
        return cls(np.array(former), slice(alike, alike + HOUR_TERMS), slice(hour, moves), layout.rls_terms)

    def turned(self, layout: Layout, t: int) -> Floats:
        """[horizons, former terms, today's terms]: what a former term is in today's.

        The time of day was that of the record in UTC, and is that of the time that is forecast in the local zone: the
        same circle, turned by the time between them. t: at which the zone's offset is looked up.
        """
        matrix = np.zeros((len(layout.horizon), len(self.former), self.width))
        places = np.flatnonzero(self.former >= 0)
        matrix[:, places, self.former[places]] = 1.0
        local = layout.calendar.terms(t + layout.steps * layout.period)[:, HOUR]
        turn = np.arctan2(local[:, 0], local[:, 1]) - 2 * np.pi * (t % DAY_MS) / DAY_MS
        matrix[:, self.hour, self.today] = np.stack([_turn(angle) for angle in turn])
        return matrix


def _turn(angle: float) -> Floats:
    """[4, 4]: sines and cosines as they were, from those of a time that is later by `angle` of the day's circle."""
    turned = np.zeros((HOUR_TERMS, HOUR_TERMS))
    for harmonic in (0, 1):
        sine, cosine = np.sin((harmonic + 1) * angle), np.cos((harmonic + 1) * angle)
        # Sine and cosine of a harmonic were two places apart, and lie next to each other today.
        turned[[harmonic, 2 + harmonic], 2 * harmonic : 2 * harmonic + 2] = [[cosine, -sine], [sine, cosine]]
    return turned


def _take_waiting(waiting: Waiting, former: Waiting, turned: Floats, tick: int) -> None:
    count, models = int(former.tick[0]), turned.shape[1]
    waiting.tick[0] = tick
    waiting.last[0] = by_tick(former.last[0], count, tick)
    waiting.scale[0] = by_tick(former.scale[0], count, tick)
    terms = by_tick(former.terms[0], count, tick)
    # The models' terms come last, and are NaN where no model forecast.
    waiting.terms[0, :, :, : turned.shape[2]] = np.einsum("rhf,hft->rht", terms[:, :, :models], turned)
    waiting.terms[0, :, :, turned.shape[2] :] = terms[:, :, models:]


def _take_filters(filters: Filters, former: Filters, turned: Floats) -> None:
    """A filter says the same of turned terms when its weights are turned, too, and its variance from both sides."""
    horizons, width, today = turned.shape
    more = former.weights.shape[2] - width
    matrix = np.zeros((horizons, width + more, today + more))
    matrix[:, :width, :today] = turned
    matrix[:, width:, today:] = np.eye(more)
    carried: Mask = (matrix != 0).any(axis=1)
    weights = np.einsum("hft,hf->ht", matrix, former.weights[0])
    filters.weights[0] = np.where(carried, weights, filters.weights[0])
    whole = former.variance[0][:, Places.of(width + more).whole]
    variance = np.swapaxes(matrix, 1, 2) @ whole @ matrix
    rows, columns = np.triu_indices(today + more)
    both = carried[:, rows] & carried[:, columns]
    filters.variance[0] = np.where(both, variance[:, rows, columns], filters.variance[0])
    filters.noise[0] = former.noise[0]
