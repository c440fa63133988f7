"""Which times of each series were acknowledged already.

A courtesy that answers clients what they sent twice: it forgets at a restart and knows nothing of other replicas. The
guarantee is downstream, where every reader drops what it has seen.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from driftline.definition import StreamDefinition
from driftline.messages import Record

LARGEST = 100_000
"""Series that are remembered; the one that was silent longest is forgotten first."""


@dataclass(frozen=True)
class Sifted:
    """Records that are new, and how many were not."""

    fresh: list[Record]
    repeated: int
    out_of_order: int


Newest = tuple[int, tuple[int, ...]]
"""The last acknowledged time of a series, and the times not long ago whose target is still missing."""


class Seen:
    """What was acknowledged of each series."""

    def __init__(self, streams: Mapping[str, StreamDefinition], largest: int = LARGEST) -> None:
        self._streams = streams
        self._largest = largest
        self._newest: OrderedDict[tuple[str, str], Newest] = OrderedDict()

    def sift(self, records: Sequence[Record]) -> Sifted:
        """Leaves out repeated and out-of-order records. One that brings a target that was missing is new."""
        fresh: list[Record] = []
        repeated = out_of_order = 0
        newest: dict[tuple[str, str], Newest] = {}
        for record in records:
            series = (record.stream, record.key)
            former = newest.get(series) or self._newest.get(series)
            after = self._after(former, record)
            if after is not None:
                newest[series] = after
                fresh.append(record)
            elif former is not None and record.t == former[0]:
                repeated += 1
            else:
                out_of_order += 1
        return Sifted(fresh, repeated, out_of_order)

    def remember(self, records: Sequence[Record]) -> None:
        """Call it when they are acknowledged, and not before: a client sends again what was not."""
        for record in records:
            series = (record.stream, record.key)
            after = self._after(self._newest.get(series), record)
            if after is not None:
                self._newest[series] = after
                self._newest.move_to_end(series)
        while len(self._newest) > self._largest:
            self._newest.popitem(last=False)

    def _after(self, former: Newest | None, record: Record) -> Newest | None:
        """What is known after the record, or None when it brings nothing new."""
        stream = self._streams[record.stream]
        there = record.values[stream.target] is not None
        last, awaited = former or (-1, ())
        if record.t > last:
            return record.t, awaited if there else (*awaited, record.t)[-stream.patience :]
        if there and record.t in awaited:
            return last, tuple(t for t in awaited if t != record.t)
        return None
