"""What the histories of some series say at one moment: what members are fed with is computed from many of them at once.

Of one series a record changes what the next one sees, so records are taken in one after the other; but all that is
computed from what each of them saw can wait until the batch is over. Pure NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints
from driftline.streams.history import History
from driftline.streams.layout import DAYS, Layout
from driftline.streams.neighbours import Others
from driftline.streams.seasons import FormerSeasons, former


@dataclass(frozen=True)
class Snapshot:
    """Of n series, just after a record of each was taken in."""

    t: Ints
    """[n]: of the records."""
    tick: Ints
    """[n]: see `driftline.streams.grid`."""
    count: Ints
    """[n]: records of the series so far."""
    age: Ints
    """[n]: ticks since `History.recent` began."""
    recent: Floats
    """[n, lags, columns]: the newest values, the newest first."""
    moving: Floats
    """[n, ...]: as in `History`."""
    days: Floats
    """See `driftline.streams.seasons.FormerSeasons`."""
    weeks: Floats
    nearby: Floats
    """[n, width]: the others' difference to the target, its deviation from what is usual, their moves, their spread."""
    usual: Floats
    """[n, 2 + horizons, futures]: as in `History`."""
    ahead: npt.NDArray[np.float32]
    """[n, 1 + horizons, futures]: what was known of the futures; NaN where nothing was."""

    @classmethod
    def of(
        cls,
        history: History,
        layout: Layout,
        slots: Ints,
        t: Ints,
        neighbours: Others | None,
        ahead: npt.NDArray[np.float32] | None,
    ) -> Self:
        """slots: [n]. t: [n] of their newest records. neighbours, ahead: None where nothing is known of them."""
        tick = history.tick[slots]
        days, weeks = former(history, layout, slots, tick)
        return cls(
            t=t,
            tick=tick,
            count=history.count[slots],
            age=tick - history.start[slots],
            # What was at tick k lies at k % lags. In a young series, and in a gap, these places are NaN.
            recent=np.ascontiguousarray(
                history.recent[slots[:, None], (tick[:, None] - layout.all_lags) % layout.lags]
            ),
            moving=history.moving[slots],
            days=np.ascontiguousarray(days),
            weeks=np.ascontiguousarray(weeks),
            nearby=_nearby(history, layout, slots, neighbours),
            usual=history.usual[slots],
            ahead=_unknown(layout, len(slots)) if ahead is None else ahead,
        )

    @classmethod
    def unwritten(cls, history: History, layout: Layout, slots: Ints, t: Ints) -> Self:
        """For a kernel to write into, of n series without neighbours and without a known future; `t` is there."""
        n, times = len(slots), 1 + len(layout.horizon)
        return cls(
            t=t,
            tick=np.empty(n, dtype=np.int64),
            count=np.empty(n, dtype=np.int64),
            age=np.empty(n, dtype=np.int64),
            recent=np.empty((n, layout.lags, layout.columns)),
            moving=np.empty((n, len(layout.memories))),
            days=np.empty((n, times, DAYS if layout.day else 0)),
            weeks=np.empty((n, times, 1 if layout.week else 0)),
            nearby=_nearby(history, layout, slots, None),
            usual=history.usual[slots],
            ahead=_unknown(layout, n),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """One after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @property
    def former(self) -> FormerSeasons:
        return FormerSeasons(self.days, self.weeks)


def _nearby(history: History, layout: Layout, slots: Ints, neighbours: Others | None) -> Floats:
    if neighbours is None:
        return np.full((len(slots), layout.neighbour_width), np.nan)
    difference = neighbours.difference[:, None]
    deviation = difference - history.offset[slots]
    return np.concatenate([difference, deviation, neighbours.moves, neighbours.spread[:, None]], axis=1)


def _unknown(layout: Layout, n: int) -> npt.NDArray[np.float32]:
    return np.full((n, 1 + len(layout.horizon), layout.futures), np.nan, dtype=np.float32)
