"""The sums over a stream's series as they are now, of tables that change far more often than anybody asks. Pure."""

from collections.abc import Iterable

import numpy as np

from driftline.arrays import Ints
from driftline_combiner.state import BlendTables
from driftline_combiner.totals import ScoreSums, Totals
from driftline_combiner.weighing import newest_weights
from driftline_combiner.weighting_rules import Rules

TAKEN_UP = 256
"""Series that have changed and are put into the sums over all series at once: far cheaper than one by one."""


class CurrentSums:
    """tables: those of all series, whose slots are said here when they change."""

    def __init__(self, tables: BlendTables, rules: Rules) -> None:
        self._tables = tables
        self._rules = rules
        self._totals = Totals(len(rules.steps))
        self._outdated: set[int] = set()
        """Slots of series that are not in the sums as they are now."""

    def grow(self, slots: int) -> None:
        """Makes room for so many more series."""
        self._totals.grow(slots)

    def outdate(self, slots: Iterable[int]) -> None:
        """These have changed. The sums are looked at far less often than series change."""
        self._outdated.update(slots)
        if len(self._outdated) >= TAKEN_UP:
            self._take_up()

    def drop(self, slot: int) -> None:
        """There is no such series any more."""
        self._outdated.discard(slot)
        self._totals.drop(slot)

    def of_one(self, slot: int) -> ScoreSums:
        return self._of(np.array([slot])).of_one()

    def of_all(self) -> ScoreSums:
        """What they cost does not depend on how many series there are."""
        if self._outdated:
            self._take_up()
        return self._totals.sums

    def _take_up(self) -> None:
        slots = np.array(sorted(self._outdated))
        self._outdated.clear()
        # Errors beyond all bounds are among what is summed up.
        with np.errstate(over="ignore", invalid="ignore"):
            self._totals.take(slots, self._of(slots))

    def _of(self, slots: Ints) -> ScoreSums:
        """Of n series, each."""
        weights, _ = newest_weights(self._tables.ledger, self._rules, slots)
        return ScoreSums.of(self._tables.ledger, self._tables.intervals, slots, weights[:, :, -1])
