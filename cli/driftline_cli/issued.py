"""When what is known ahead is sent among the records: before the first one that comes after its issue. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from driftline.arrays import Ints
from driftline.streams.rows import FutureRows, Rows

NOT_SENT = -1


@dataclass(frozen=True)
class IssuedFutures:
    """The futures of a table of records, in the order in which they are sent.

    before: [n], ascending: the number of the record that each is sent before. A series keeps what it is sent once it
    has had a record, so what was issued earlier is sent before its second one.
    """

    futures: FutureRows
    before: Ints

    @classmethod
    def of(cls, rows: Rows) -> "IssuedFutures":
        """Without those of other keys, those for a time before the records, and those issued after them."""
        futures, records = rows.futures, _places_by_key(rows.keys)
        before = np.full(len(futures), NOT_SENT, dtype=np.int64)
        for key, places in _places_by_key(futures.keys).items():
            if key in records:
                before[places] = _before(futures.take(places), records[key], rows.t[records[key]])
        sent = np.flatnonzero(before != NOT_SENT)
        order = sent[np.lexsort((futures.issued[sent], before[sent]))]
        return cls(futures.take(order), before[order])

    def turns(self, first: int, rows: Rows) -> Iterator[tuple[FutureRows, Rows]]:
        """`rows` in parts, each with what is sent before it. first: the number of the first of them."""
        numbers = np.arange(first, first + len(rows))
        begins = np.unique([first, *np.intersect1d(numbers, self.before)]) if len(rows) else numbers
        for start, stop in pairwise([*begins.tolist(), first + len(rows)]):
            known = np.arange(*np.searchsorted(self.before, [start, start + 1]))
            yield self.futures.take(known), rows.take(slice(start - first, stop - first))


def _before(futures: FutureRows, places: Ints, t: Ints) -> Ints:
    """[n]: of one key, the number of the record that each is sent before. places, t: of its records, in the order in
    which they are sent."""
    which = np.maximum(1, np.searchsorted(np.maximum.accumulate(t), futures.issued))
    is_sent = (which < len(places)) & (futures.t >= t[0])
    return np.where(is_sent, places[np.minimum(which, len(places) - 1)], NOT_SENT)


def _places_by_key(keys: npt.NDArray[np.str_]) -> dict[str, Ints]:
    """By key its places, ascending."""
    names, numbers = np.unique(keys, return_inverse=True)
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(names)))
    return dict(zip(names.tolist(), np.split(order, ends[:-1]), strict=False))
