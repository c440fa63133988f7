"""What is remembered of every series: its newest values, its last week, slow averages. Pure NumPy over many at once.

Lags look back in time, on the grid of `driftline.streams.grid`: a period without a record is one of missing values.
"""

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints, Mask, Over, clipped, mean_of_known
from driftline.streams.grid import NEVER, UNKNOWN, phase_of, skipped, tick_of
from driftline.streams.layout import MEMORIES, SCALE_MEMORY, Layout
from driftline.streams.neighbours import OFFSET_MEMORIES, Others, Peers, others

GLITCH = 10.0
"""A move of the target by more usual steps is cut before anything slow learns from it: a glitch is soon forgotten, and
a new level is reached in a few records, since the usual step grows on the way."""
GLITCH_AFTER = 50
"""Records until what is usual is known."""


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
    """[slots, remembered]: the target's values of the last week, and of an hour before it where clocks change; wild
    moves cut, a ring by tick; NaN is missing."""
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


def take_in(
    history: History,
    layout: Layout,
    slots: Ints,
    t: Ints,
    values: Floats,
    peers: Peers | None,
    ahead: npt.NDArray[np.float32] | None,
) -> Others | None:
    """Takes in one record of each of n different series; see `driftline.streams.features.observe`. Gives what their
    neighbours say, see `around`."""
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
    neighbours = around(history, layout, slots, peers)
    if neighbours is not None:
        _remember_offset(history, slots, neighbours.difference, again)
    if ahead is not None:
        _remember_usual(history, slots, ahead.astype(np.float64), again)
    return neighbours


def around(history: History, layout: Layout, slots: Ints, peers: Peers | None) -> Others | None:
    """What the neighbours of n series say of their newest records; None where there are no groups."""
    if peers is None:
        return None
    tick = history.tick[slots]
    return others(history.recent, history.tick, tick, history.recent[slots, tick % layout.lags, 0], peers)


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


def on_grid(history: History, layout: Layout, slots: Ints, t: Ints) -> tuple[Ints, Ints]:
    """[n] each: the phases of the grids of n series, which a first record gives, and the ticks of the times `t`."""
    phase = history.phase[slots]
    unknown = phase == UNKNOWN
    if unknown.any():
        phase = np.where(unknown, phase_of(t, layout.period), phase)
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
    # Kept, since the next line overwrites it, and `driftline.streams.seasons` needs what was a whole ring ago.
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


def _remember_usual(history: History, slots: Ints, ahead: Floats, again: Mask) -> None:
    """ahead: see `observe`. All that is known of it counts, so that a step to come is not measured by none before."""
    old = history.usual[slots]
    mean = mean_of_known(np.moveaxis(ahead, 1, 2))
    base = np.where(np.isnan(old[:, 0]), mean, old[:, 0])
    square = mean_of_known(np.moveaxis((ahead - base[:, None]) ** 2, 1, 2))
    news = np.concatenate([mean[:, None], square[:, None], (ahead[:, 1:] - ahead[:, :1]) ** 2], axis=1)
    # A young series follows its first records quickly.
    memory = np.maximum(SCALE_MEMORY, 1.0 / np.maximum(history.count[slots], 1))[:, None, None]
    started = np.where(np.isnan(old), news, old)
    moved = started + memory * (news - started)
    history.usual[slots] = np.where(np.isnan(news) | again[:, None, None], old, moved)
