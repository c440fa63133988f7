"""Which times of each series were acknowledged already.

A courtesy that answers clients what they sent twice: it forgets at a restart and knows nothing of other replicas. The
guarantee is downstream, where every reader drops what it has seen.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from driftline.messages import Record

LARGEST = 100_000
"""Series that are remembered; the one that was silent longest is forgotten first."""


@dataclass(frozen=True)
class Sifted:
    """Records that are new, and how many were not."""

    fresh: list[Record]
    repeated: int
    out_of_order: int


class Seen:
    """The last acknowledged time of each series, and whether its target was there."""

    def __init__(self, target: dict[str, str], largest: int = LARGEST) -> None:
        self._target = target
        self._largest = largest
        self._last: OrderedDict[tuple[str, str], tuple[int, bool]] = OrderedDict()

    def sift(self, records: Sequence[Record]) -> Sifted:
        """Leaves out repeated and out-of-order records. A repeat that brings a target that was missing is new."""
        fresh: list[Record] = []
        repeated = out_of_order = 0
        last: dict[tuple[str, str], tuple[int, bool]] = {}
        for record in records:
            series = (record.stream, record.key)
            former = last.get(series) or self._last.get(series)
            there = record.values[self._target[record.stream]] is not None
            if former is not None and record.t < former[0]:
                out_of_order += 1
            elif former is not None and record.t == former[0] and (former[1] or not there):
                repeated += 1
            else:
                last[series] = (record.t, there)
                fresh.append(record)
        return Sifted(fresh, repeated, out_of_order)

    def remember(self, records: Sequence[Record]) -> None:
        """Call it when they are acknowledged, and not before: a client sends again what was not."""
        for record in records:
            series = (record.stream, record.key)
            former = self._last.get(series)
            if former is None or record.t >= former[0]:
                self._last[series] = (record.t, record.values[self._target[record.stream]] is not None)
                self._last.move_to_end(series)
        while len(self._last) > self._largest:
            self._last.popitem(last=False)
