"""One row for each time of a series, of all that were archived for it. Pure NumPy.

Of each column the value that was archived last counts, as far as there is one: a truth that came late fills its row,
and does not take the other columns away. An edge archives each value once, so its rows may be united in any order, in
parts and again, and give the same; those of several edges are united when each one's are.
"""

from dataclasses import dataclass

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.store.windows import LARGEST, WindowName


@dataclass(frozen=True)
class United:
    """places: [m] of each row the newest of those that it was made of, in order of series and time; values: [m,
    columns]."""

    places: Ints
    values: Floats


def stamp_of(name: WindowName) -> int:
    """When a window was archived, compared with the others of its series and edge. Those by offsets are older than all
    that are named by times."""
    return name.last if name.edge is not None else name.last - LARGEST


def unite(codes: Ints, t: Ints, stamps: Ints, values: Floats) -> United:
    """codes: [n] the number of each row's series; t: [n] milliseconds; stamps: [n] as `stamp_of`; values: [n, columns],
    NaN missing. Of two rows with the same stamp the later in the table counts as archived later."""
    order = np.lexsort((stamps, t, codes))
    if not len(order):
        return United(order, values)
    is_first = np.append(True, (np.diff(codes[order]) != 0) | (np.diff(t[order]) != 0))
    firsts = np.flatnonzero(is_first)
    if len(firsts) == len(order):
        return United(order, values[order])
    lasts = np.append(firsts[1:], len(order)) - 1
    return United(order[lasts], np.stack([_last_known(column[order], firsts) for column in values.T], axis=1))


def _last_known(column: Floats, firsts: Ints) -> Floats:
    """Of each run of rows the last value that there is, or NaN. firsts: where the runs begin."""
    known = np.where(np.isnan(column), -1, np.arange(len(column)))
    last = np.maximum.reduceat(known, firsts)
    return np.where(last >= 0, column[last], np.nan)
