"""Takes up what release 0.1.0 saved of a series, so that scores and weights go on. Pure.

Carried over: all scores, the weights of every strategy, the guard, the coverage and the width of the intervals, what
was forecast and waits for its truth. Members that there were not begin as in a new series, and what models report of
their hold-outs comes with the next forecast. Three things were not counted, and are taken as follows until they are:
the distances of the quantiles keep to the width of the interval that there was; losses of quantiles are those of normal
errors of the size that was scored; successive errors are as alike as overlapping steps make them.
"""

import json
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.members import MEMBERS, PERSISTENCE, RLS, SEASONAL, STACK
from driftline.scoring import PUBLISHED, ROWS
from driftline.streams.definition import StreamDefinition
from driftline.streams.grid import tick_of
from driftline.worker import slots as tables
from driftline.worker.former import FormerTruths, by_tick, former_fingerprint
from driftline_combiner.intervals import FIRST, FIRST_EXTREME, LEVEL, Intervals
from driftline_combiner.ledger import MEMBER_COUNT, ONLINE, YOUNG, Ledger, Rules, begin
from driftline_combiner.state import BlendTables, SavedBlendState

FORMER_MEMBERS = (PERSISTENCE, SEASONAL, RLS, STACK, "batch", "speed")
FORMER_STRATEGIES = ("static", "window", "online")
FORMER_ROWS = (*FORMER_MEMBERS, *FORMER_STRATEGIES, PUBLISHED)
NORMAL_LOSS = 0.24
"""Mean pinball loss of the quantiles of a normal distribution, as a share of its mean absolute error."""


@dataclass(frozen=True)
class FormerLedger:
    """See `driftline_combiner.ledger.Ledger`; its rings went by the number of a record."""

    count: Ints
    members: Floats
    """[slots, ring, horizons, members]."""
    blends: Floats
    """[slots, ring, horizons, strategies + 1]."""
    window: Floats
    """[slots, 2, horizons, members, members]."""
    long: Floats
    """[slots, 2, horizons, members, members]."""
    fitted: Floats
    """[slots, horizons, members]."""
    regret: Floats
    """[slots, horizons, members]."""
    second: Floats
    """[slots, horizons, members]."""
    bound: Floats
    """[slots, horizons, 1]."""
    scale: Floats
    """[slots, horizons]."""
    rivals: Floats
    """[slots, horizons, 2]."""
    guarded: Mask
    """[slots, horizons]."""
    scored: Floats
    """[slots, horizons, rows]."""
    squared: Floats
    """[slots, horizons, rows]."""
    absolute: Floats
    """[slots, horizons, rows]."""
    naive: Floats
    """[slots, horizons, rows]."""
    recent: Floats
    """[slots, horizons, rows]."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], patience: int) -> Self:
        horizons, ring, members, rows = len(horizon), max(horizon) + patience, len(FORMER_MEMBERS), len(FORMER_ROWS)
        return cls(
            count=np.zeros(slots, dtype=np.int64),
            members=np.full((slots, ring, horizons, members), np.nan),
            blends=np.full((slots, ring, horizons, len(FORMER_STRATEGIES) + 1), np.nan),
            window=np.zeros((slots, 2, horizons, members, members)),
            long=np.zeros((slots, 2, horizons, members, members)),
            fitted=np.zeros((slots, horizons, members)),
            regret=np.zeros((slots, horizons, members)),
            second=np.zeros((slots, horizons, members)),
            bound=np.zeros((slots, horizons, 1)),
            scale=np.full((slots, horizons), np.nan),
            rivals=np.zeros((slots, horizons, 2)),
            guarded=np.zeros((slots, horizons), dtype=np.bool_),
            scored=np.zeros((slots, horizons, rows)),
            squared=np.zeros((slots, horizons, rows)),
            absolute=np.zeros((slots, horizons, rows)),
            naive=np.zeros((slots, horizons, rows)),
            recent=np.full((slots, horizons, rows), np.nan),
        )


@dataclass(frozen=True)
class FormerIntervals:
    """See `driftline_combiner.intervals.Intervals`; intervals were symmetric."""

    usual: Floats
    """[slots, horizons]: moving mean absolute error of what was published."""
    quantile: Floats
    """[slots, horizons]: half width of the interval in usual errors."""
    extreme: Floats
    """[slots, horizons]: the same of the extreme interval."""
    widths: Floats
    """[slots, ring, horizons, 2]: half widths of both; a ring by number."""
    scored: Floats
    covered: Floats
    recent: Floats
    """[slots, horizons] each."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], patience: int) -> Self:
        shape = (slots, len(horizon))
        return cls(
            usual=np.full(shape, np.nan),
            quantile=np.full(shape, FIRST[0]),
            extreme=np.full(shape, FIRST_EXTREME),
            widths=np.full((slots, max(horizon) + patience, len(horizon), 2), np.nan),
            scored=np.zeros(shape),
            covered=np.zeros(shape),
            recent=np.full(shape, LEVEL),
        )


class FormerBlendTables(NamedTuple):
    """The tables of that release, in the order in which they were saved."""

    ledger: FormerLedger
    intervals: FormerIntervals
    late: FormerTruths


def former_signature(stream: StreamDefinition) -> str:
    """What that release wrote into the states of a stream of this definition."""
    settings = [stream.weighting.window, stream.drift.model_dump(), stream.patience, FORMER_ROWS]
    return f"{former_fingerprint(stream)}-{json.dumps(settings)}"


def migrate(saved: SavedBlendState, stream: StreamDefinition, blank: BlendTables) -> BlendTables | None:
    """The state in today's tables of one slot, which `blank` gives; None where it can't be read.

    saved: of `former_signature`. `blank` is changed in place. Drift detectors are as they were.
    """
    size = (1, stream.horizon, stream.patience)
    former = FormerBlendTables(
        FormerLedger.empty(*size), FormerIntervals.empty(*size), FormerTruths.empty(1, stream.patience)
    )
    try:
        tables.load(saved.arrays, 0, *former)
    except ValueError:
        return None
    count = int(former.ledger.count[0])
    if count < 1:
        return None
    tick = int(tick_of(np.array([saved.t], dtype=np.int64), 0, stream.time.period * 1000)[0])
    steps = np.array(stream.horizon, dtype=np.float64)
    blank.ledger.tick[0] = tick
    _take_ledger(blank.ledger, former.ledger, steps)
    begin(blank.ledger, Rules.of(stream), np.array([0]))
    _take_intervals(blank.intervals, former.intervals, count, tick)
    _take_losses(blank.intervals, blank.ledger)
    blank.late.tick[0] = tick
    blank.late.t[0] = by_tick(former.late.t[0], int(former.late.count[0]), tick)
    return blank


def _take_ledger(ledger: Ledger, former: FormerLedger, steps: Floats) -> None:
    """steps: [horizons]."""
    count, tick = int(former.count[0]), int(ledger.tick[0])
    members = [MEMBERS.index(name) for name in FORMER_MEMBERS]
    rows = [ROWS.index(name) for name in FORMER_ROWS]
    ledger.count[0] = count
    ledger.members[0][..., members] = by_tick(former.members[0], count, tick)
    # The strategies are the same, in the same order.
    ledger.blends[0] = by_tick(former.blends[0], count, tick)
    for name in ("window", "long"):
        getattr(ledger, name)[0][(..., *np.ix_(members, members))] = getattr(former, name)[0]
    for name in ("fitted", "regret", "second"):
        getattr(ledger, name)[0][:, members] = getattr(former, name)[0]
    for name in ("bound", "scale", "rivals", "guarded"):
        getattr(ledger, name)[0] = getattr(former, name)[0]
    for name in ("scored", "squared", "absolute", "naive", "recent"):
        getattr(ledger, name)[0][:, rows] = getattr(former, name)[0]
    # As if so many records had said it, so that those to come soon say more.
    scored = np.minimum(ledger.scored[0, :, MEMBER_COUNT + ONLINE], YOUNG)
    squares = scored * np.nan_to_num(ledger.scale[0])
    ledger.successive[0, :, 1] = (1.0 - 1.0 / steps) * squares
    ledger.successive[0, :, 2] = squares


def _take_intervals(intervals: Intervals, former: FormerIntervals, count: int, tick: int) -> None:
    usual = former.usual[0]
    intervals.usual[0, :, 0] = usual
    # Both other means are of the first horizon.
    intervals.usual[0, :, 1:] = usual[0]
    intervals.wider[0] = np.log(former.quantile[0] / FIRST[0])
    for name in ("extreme", "scored", "covered", "recent"):
        getattr(intervals, name)[0] = getattr(former, name)[0]
    widths = by_tick(former.widths[0], count, tick)
    outer, inner = widths[..., 0], widths[..., 0] * FIRST[1] / FIRST[0]
    quantiles = [-outer, -inner, np.where(np.isnan(outer), np.nan, 0.0), inner, outer, widths[..., 1]]
    intervals.widths[0] = np.stack(quantiles, axis=-1)


def _take_losses(intervals: Intervals, ledger: Ledger) -> None:
    published = ROWS.index(PUBLISHED)
    scored, met = ledger.scored[0, :, published], intervals.scored[0]
    loss = NORMAL_LOSS * ledger.absolute[0, :, published] / np.maximum(scored, 1.0)
    intervals.pinball[0] = met * loss
    intervals.loss[0] = np.where(met > 0, loss, np.nan)
