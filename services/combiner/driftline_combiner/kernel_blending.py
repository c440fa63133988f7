"""Scores and blends in C, a whole batch in one call: see `driftline_combiner.blending`. Pure.

For the few numbers of one record NumPy's thousand calls cost far more than what they compute.
"""

import ctypes
from collections.abc import Sequence
from typing import Self

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.members import MEMBERS
from driftline.scoring import LEVELS, ROWS
from driftline.streams.definition import StreamDefinition
from driftline_combiner.blending import ArrayBlending, Blending, by_rounds
from driftline_combiner.intervals import Pace
from driftline_combiner.ledger import STRATEGY_COUNT
from driftline_combiner.rounds import ForecastRows, ScoredRound, WeighedRound
from driftline_combiner.state import BlendTables
from driftline_combiner.weighting_rules import Rules
from driftline_kernels import address, kernel, pointers, table

SCORE = kernel("combiner_score", "pppnpppp")
WEIGH = kernel("combiner_weigh", "pppnpppp")
WORK = kernel("combiner_work", "ppppnppp")


POINTERS = ("steps", "begins", "fixed", "guard", "aim", "rates", "median", "wider", "usual")


class StreamRules(ctypes.Structure):
    """What a definition says, as `stream_rules` of kernels/src/combiner.h."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("horizons", "places", "patience", "active", "ranged")),
        *((name, ctypes.c_double) for name in ("memory", "lowest", "highest")),
        *((name, ctypes.c_void_p) for name in POINTERS),
    )

    @classmethod
    def of(cls, stream: StreamDefinition) -> Self:
        rules = Rules.of(stream)
        rings, pace = rules.rings, Pace.of(rules.rings)
        paced = (pace.aim, pace.rates, pace.median, pace.wider, pace.usual)
        arrays = (rings.steps, rings.begins, rules.static, rules.guard, *paced)
        lowest, highest = stream.within(np.array([-np.inf, np.inf])).tolist()
        sizes = (len(stream.horizon), rings.size, stream.patience, rules.active, stream.range is not None)
        filled = cls(*sizes, rules.memory, lowest, highest, *map(address, arrays))
        filled.arrays = arrays  # as long as it points at them
        return filled


def blending_of(stream: StreamDefinition, tables: BlendTables) -> Blending:
    """The fastest that there is on this machine."""
    return ArrayBlending(stream, tables) if WORK is None else KernelBlending(stream, tables)


class KernelBlending:
    """See `driftline_combiner.blending.Blending`."""

    def __init__(self, stream: StreamDefinition, tables: BlendTables) -> None:
        if SCORE is None or WEIGH is None or WORK is None:
            raise LookupError("found no kernels for this machine, expected a library of them")
        self._score_kernel, self._weigh_kernel, self._work_kernel = SCORE, WEIGH, WORK
        self._tables = tables
        self._rules = Rules.of(stream)
        self._stream = StreamRules.of(stream)
        self._at = ctypes.addressof(self._stream)

    def score(self, slots: Ints, tick: Ints, truth: Floats) -> ScoredRound:
        scored = _scored(len(slots), self._stream.horizons)
        tables = map(table, self._tables[:2])
        self._score_kernel(
            self._at, *tables, len(slots), address(slots), address(tick), address(truth), pointers(scored)
        )
        return scored

    def weigh(self, rows: ForecastRows) -> WeighedRound:
        weighed = _weighed(len(rows.slots), self._stream.horizons)
        tables = map(table, self._tables[:2])
        members = np.ascontiguousarray(rows.members)
        given = map(address, (rows.slots, rows.tick, members))
        self._weigh_kernel(self._at, *tables, len(rows.slots), *given, pointers(weighed))
        return weighed

    def work(self, rows: ForecastRows, sizes: Sequence[int]) -> tuple[ScoredRound, WeighedRound]:
        # A model's report is heard between scoring and weighing: once for each new model, so it is left to NumPy.
        if rows.reports:
            return by_rounds(self, self._tables, self._rules, rows, sizes)
        count, horizons = len(rows.slots), self._stream.horizons
        scored, weighed = _scored(count, horizons), _weighed(count, horizons)
        members = np.ascontiguousarray(rows.members)
        given = pointers((rows.slots, rows.t, rows.tick, rows.missing, rows.observed, members))
        self._work_kernel(self._at, *map(table, self._tables), count, given, pointers(scored), pointers(weighed))
        return scored, weighed


def _scored(count: int, horizons: int) -> ScoredRound:
    """To be filled."""
    shape = (count, horizons)
    return ScoredRound(
        error=np.empty((*shape, len(ROWS))),
        scale=np.empty(shape),
        anomalous=np.empty(shape, dtype=np.bool_),
        size=np.empty(shape),
        rivals=np.empty((*shape, 2)),
        fallen=np.empty(shape, dtype=np.bool_),
    )


def _weighed(count: int, horizons: int) -> WeighedRound:
    """To be filled."""
    shape = (count, horizons)
    return WeighedRound(
        weights=np.empty((*shape, len(MEMBERS))),
        blends=np.empty((*shape, STRATEGY_COUNT + 1)),
        around=np.empty((*shape, len(LEVELS))),
        usual=np.empty((*shape, 1)),
        guarded=np.empty(shape, dtype=np.bool_),
    )
