"""Scores and blends the forecasts of a stream's series, on their tables: the contract, and how NumPy keeps it. Pure.

`driftline_combiner.kernel_blending` keeps it, too, and faster.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.members import MEMBERS, MODELS, PERSISTENCE
from driftline.streams.definition import StreamDefinition
from driftline_combiner import intervals as interval_tables
from driftline_combiner import ledger as ledgers
from driftline_combiner.intervals import Pace, judge, widths
from driftline_combiner.prequential import score
from driftline_combiner.prior import hear
from driftline_combiner.rounds import ForecastRows, ScoredRound, WeighedRound, joined_scores, joined_weights
from driftline_combiner.state import BlendTables
from driftline_combiner.weighing import weigh
from driftline_combiner.weighting_rules import Rules

BASE = MEMBERS.index(PERSISTENCE)


class Blending(Protocol):
    """On the tables that it was made with. Every series is worked off by its own rows alone, in their order."""

    def score(self, slots: Ints, tick: Ints, truth: Floats) -> ScoredRound:
        """Scores what was forecast for these ticks. slots: [n], each at most once; truth: [n], NaN where there is
        none."""
        ...

    def weigh(self, rows: ForecastRows) -> WeighedRound:
        """Blends forecasts whose ticks have arrived, one of each series at most."""
        ...

    def work(self, rows: ForecastRows, sizes: Sequence[int]) -> tuple[ScoredRound, WeighedRound]:
        """Forecasts in rounds, the truth of each scored first. sizes: how many of the rows each round has."""
        ...


MakeBlending = Callable[[StreamDefinition, BlendTables], Blending]


class ArrayBlending:
    """In NumPy, a round at once."""

    def __init__(self, stream: StreamDefinition, tables: BlendTables) -> None:
        self._stream = stream
        self._rules = Rules.of(stream)
        self._pace = Pace.of(self._rules.rings)
        self._tables = tables

    def score(self, slots: Ints, tick: Ints, truth: Floats) -> ScoredRound:
        ledger, intervals, _ = self._tables
        before = ledger.guarded[slots]
        scored = score(ledger, self._rules, slots, tick, truth)
        judged = judge(intervals, self._pace, slots, tick, scored.error[:, :, -1])
        fallen = ledger.guarded[slots] & ~before
        return ScoredRound(scored.error, scored.scale, judged.anomalous, judged.size, ledger.rivals[slots], fallen)

    def weigh(self, rows: ForecastRows) -> WeighedRound:
        ledger, intervals, _ = self._tables
        slots = rows.slots
        weights, blends = weigh(ledger, self._rules, slots, rows.members)
        spread = np.abs(blends[:, :, -1] - rows.members[:, :, BASE])
        around = widths(intervals, self._pace, slots, rows.tick, spread, self._possible(blends[:, :, -1]))
        return WeighedRound(weights[:, :, -1], blends, around, intervals.usual[slots, :, :1], ledger.guarded[slots])

    def work(self, rows: ForecastRows, sizes: Sequence[int]) -> tuple[ScoredRound, WeighedRound]:
        return by_rounds(self, self._tables, self._rules, rows, sizes)

    def _possible(self, published: Floats) -> tuple[Floats, Floats] | None:
        """[n, horizons] each: how far the truth can be below and above what is published."""
        if self._stream.range is None:
            return None
        lowest, highest = self._stream.within(np.array([-np.inf, np.inf]))
        return lowest - published, highest - published


def by_rounds(
    blending: Blending, tables: BlendTables, rules: Rules, rows: ForecastRows, sizes: Sequence[int]
) -> tuple[ScoredRound, WeighedRound]:
    """One round after the other."""
    scored: list[ScoredRound] = []
    weighed: list[WeighedRound] = []
    for size, stop in zip(sizes, accumulate(sizes), strict=True):
        part = rows.take(slice(stop - size, stop))
        scored.append(blending.score(part.slots, part.tick, arrive(tables, rules, part)))
        if part.reports:
            hear(tables.ledger, rules, part.slots, _skills(part))
        weighed.append(blending.weigh(part))
    return joined_scores(scored), joined_weights(weighed)


def arrive(tables: BlendTables, rules: Rules, part: ForecastRows) -> Floats:
    """[n]: the truths, as far as each is the first of its tick."""
    ledger, intervals, late = tables
    interval_tables.arrive(intervals, rules.rings, part.slots, ledger.tick[part.slots], part.tick)
    ledgers.arrive(ledger, rules.rings, part.slots, part.tick)
    first = late.expect(part.slots, part.tick, part.t, part.missing)
    return np.where(first, part.observed, np.nan)


def _skills(part: ForecastRows) -> Floats:
    """[n, horizons, models]: what their hold-outs reported, NaN where that is not said."""
    unknown = [np.nan] * part.members.shape[1]
    raw = [[message.skills.get(name, unknown) for name in MODELS] for message in part.messages]
    return np.swapaxes(np.array(raw, dtype=np.float64), 1, 2)
