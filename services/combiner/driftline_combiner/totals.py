"""Sums over all series of a stream, kept up to date as the series change. Pure.

So what a look costs does not depend on how many series there are. Sums of whole numbers are exact; sums of errors are
computed again, a few series at a time, so that no rounding stays, and no infinity behind the series that it came from.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.scoring import ROWS
from driftline_combiner.intervals import Intervals
from driftline_combiner.ledger import MEMBER_COUNT, Ledger

RESUMMED_AT_ONCE = 64
"""Series that are summed up again at every change, and twice as many as change: so that it is soon done."""


@dataclass(frozen=True)
class ScoreSums:
    """Over some series, or over all of them; [n, ...] are those of n series each."""

    scored: Floats
    """[horizons, rows]: records on which the row and persistence were scored."""
    squared: Floats
    """[horizons, rows]: squared errors on them."""
    absolute: Floats
    """[horizons, rows]: absolute errors on them."""
    naive: Floats
    """[horizons, rows]: persistence's squared errors on the same records."""
    recent: Floats
    """[horizons, rows]: moving mean square errors."""
    recently: Floats
    """[horizons, rows]: series that have one."""
    weights: Floats
    """[horizons, members]: published weights as they stand."""
    guarded: Floats
    """[horizons]: series whose blend is persistence."""
    met: Floats
    """[horizons]: truths that met an interval."""
    covered: Floats
    """[horizons]: those of them that fell into it."""
    share: Floats
    """[horizons]: moving shares of them."""
    judged: Floats
    """[horizons]: series that have one."""
    pinball: Floats
    """[horizons]: mean pinball losses of all levels, over the truths that met an interval."""
    loss: Floats
    """[horizons]: moving means of them."""

    @classmethod
    def of(cls, ledger: Ledger, intervals: Intervals, slots: Ints, weights: Floats) -> Self:
        """Those of n series each. weights: [n, horizons, members]."""
        recent = ledger.recent[slots]
        known = np.isfinite(recent)
        met = intervals.scored[slots]
        return cls(
            scored=ledger.scored[slots],
            squared=ledger.squared[slots],
            absolute=ledger.absolute[slots],
            naive=ledger.naive[slots],
            recent=np.where(known, recent, 0.0),
            recently=known.astype(np.float64),
            weights=weights,
            guarded=ledger.guarded[slots].astype(np.float64),
            met=met,
            covered=intervals.covered[slots],
            share=np.where(met > 0, intervals.recent[slots], 0.0),
            judged=(met > 0).astype(np.float64),
            pinball=intervals.pinball[slots],
            loss=np.where(met > 0, intervals.loss[slots], 0.0),
        )

    @classmethod
    def unflattened(cls, flat: Floats, horizons: int) -> Self:
        """From a row of what `flat` gave."""
        rows = len(ROWS)
        shapes = [(horizons, rows)] * 6 + [(horizons, MEMBER_COUNT)] + [(horizons,)] * 7
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
        parts = np.split(flat, ends[:-1])
        return cls(*(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)))

    def of_one(self) -> Self:
        """Of the only series that they are of."""
        return type(self)(*(getattr(self, field.name)[0] for field in fields(self)))

    def flat(self) -> Floats:
        """[n, numbers]."""
        parts = [getattr(self, field.name) for field in fields(self)]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


class Totals:
    """The sums over all series, each of which has a row ("slot"), and what each of them adds."""

    def __init__(self, horizons: int) -> None:
        self._horizons = horizons
        self._width = horizons * (6 * len(ROWS) + MEMBER_COUNT + 7)
        self._rows = np.zeros((0, self._width))
        self._sums = np.zeros(self._width)
        # Sums over the first `_resummed` slots, from the rows. When they cover all slots, they replace `_sums`.
        self._fresh = np.zeros(self._width)
        self._resummed = 0

    @property
    def sums(self) -> ScoreSums:
        # What rounding has left of errors that are gone may be below nothing.
        return ScoreSums.unflattened(np.maximum(self._sums, 0.0), self._horizons)

    def grow(self, slots: int) -> None:
        """Makes room for so many more series; see `driftline.worker.slots.grow`."""
        self._rows.resize((len(self._rows) + slots, self._width), refcheck=False)

    def take(self, slots: Ints, sums: ScoreSums) -> None:
        """Takes n different series as they are now in the place of what they were."""
        self._replace(slots, sums.flat())

    def drop(self, slot: int) -> None:
        """There is no such series any more."""
        self._replace(np.array([slot]), np.zeros((1, self._width)))

    def _replace(self, slots: Ints, rows: Floats) -> None:
        # An error beyond all bounds leaves NaN in the sums until they are summed up again.
        with np.errstate(invalid="ignore", over="ignore"):
            changed = rows - self._rows[slots]
            self._rows[slots] = rows
            self._sums += changed.sum(axis=0)
            self._fresh += changed[slots < self._resummed].sum(axis=0)
            self._sum_afresh(RESUMMED_AT_ONCE + 2 * len(slots))

    def _sum_afresh(self, count: int) -> None:
        """Goes on with so many series."""
        end = min(self._resummed + count, len(self._rows))
        self._fresh += self._rows[self._resummed : end].sum(axis=0)
        self._resummed = end
        if end == len(self._rows):
            self._sums, self._fresh, self._resummed = self._fresh, np.zeros(self._width), 0
