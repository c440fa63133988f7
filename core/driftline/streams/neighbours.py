"""What the neighbours of a series say: the newest values of the other series of its group.

In a form that depends neither on how many they are nor on their order. Pure NumPy over many series at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.arrays import Floats, Ints

OFFSET_MEMORIES = (0.01, 0.001)
"""Of the usual difference between the others and a series: about the last 100 and the last 1,000 records."""
MOVES = (1, 2, 3, 6)
"""Periods over which the others' own moves are looked at, as far as there are so many lags."""


@dataclass(frozen=True)
class Peers:
    """The groups of n series that are looked at together."""

    slots: Ints
    """[m]: all series of these groups, group by group."""
    starts: Ints
    """[groups]: where in `slots` each group begins."""
    group: Ints
    """[n]: in which of the groups each series is."""
    own: Ints
    """[n]: where in `slots` it is itself."""

    @classmethod
    def of(cls, slots: Ints, groups: Sequence[int], members: Sequence[Ints]) -> Self:
        """slots: [n]. groups: of each of them the place of its group in `members`, which holds the slots of all series
        of each group."""
        joined = np.concatenate(members)
        starts = np.cumsum([0, *(len(part) for part in members)])[:-1]
        group = np.asarray(groups, dtype=np.int64)
        # A slot is in one group only, so it is found in the joined ones by its order.
        order = np.argsort(joined)
        return cls(joined, starts, group, order[np.searchsorted(joined, slots, sorter=order)])

    @property
    def of_slots(self) -> Ints:
        """[m]: in which of the groups each of `slots` is."""
        sizes = np.diff(np.append(self.starts, len(self.slots)))
        return np.repeat(np.arange(len(self.starts)), sizes)


@dataclass(frozen=True)
class Others:
    """Over the others of the group, of n series each; NaN where none is known."""

    difference: Floats
    """[n]: their mean minus the series' own value."""
    moves: Floats
    """[n, moves]: how far they have moved in the mean."""
    spread: Floats
    """[n]: their deviation from each other."""


def moves_within(lags: int) -> Ints:
    """Which of MOVES can be looked at."""
    return np.array([move for move in MOVES if move < lags], dtype=np.int64)


def others(recent: Floats, newest: Ints, tick: Ints, target: Floats, peers: Peers) -> Others:
    """What the others of each of n series say at its tick, or did at their newest one before.

    recent: [slots, lags, columns] values of all series, rings by tick, the target first. newest: [slots] ticks of their
    newest records. tick: [n]; series of one group have the same. target: [n] their own values.
    """
    lags = recent.shape[1]
    of_slots = peers.of_slots
    now = np.zeros(len(peers.starts), dtype=np.int64)
    now[peers.group] = tick
    last = newest[peers.slots]
    at = np.minimum(now[of_slots], last)
    back = np.concatenate([[0], moves_within(lags)])
    # What a ring no longer holds, or what is too old to say anything about now, is unknown.
    then = at[:, None] - back
    held = (last[:, None] - then < lags) & (now[of_slots] - at < lags)[:, None]
    values = np.where(held, recent[peers.slots[:, None], then % lags, 0], np.nan)
    parts = np.concatenate([values[:, :1], values[:, :1] - values[:, 1:]], axis=1)
    mean = _mean_of_others(parts, peers)
    # Measured from the group's own mean, so that squares of a high level don't swallow a small spread.
    level = _ratio(*_sums(parts[:, :1], peers))[of_slots]
    square = _mean_of_others((parts[:, :1] - level) ** 2, peers)[:, 0]
    shift = _mean_of_others(parts[:, :1] - level, peers)[:, 0]
    spread = np.sqrt(np.maximum(square - shift**2, 0.0))
    return Others(mean[:, 0] - target, mean[:, 1:], spread)


def _sums(parts: Floats, peers: Peers) -> tuple[Floats, Floats]:
    """[groups, parts] each: sums of what is known, and of how many."""
    known = np.isfinite(parts)
    total = np.add.reduceat(np.where(known, parts, 0.0), peers.starts, axis=0)
    return total, np.add.reduceat(known.astype(np.float64), peers.starts, axis=0)


def _mean_of_others(parts: Floats, peers: Peers) -> Floats:
    """[n, parts]: over each series' group without the series itself. parts: [m, parts]."""
    total, count = _sums(parts, peers)
    mine = parts[peers.own]
    known = np.isfinite(mine)
    return _ratio(total[peers.group] - np.where(known, mine, 0.0), count[peers.group] - known)


def _ratio(total: Floats, count: Floats) -> Floats:
    ratio: Floats = np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
    return ratio
