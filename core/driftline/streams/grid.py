"""The grid of a series: times are counted in periods, so that lags look back in time and a gap is missing values. Pure.

A tick is the number of a period since the epoch. A record that is off the grid by less than half a period belongs to
the nearest tick. Rings that hold the newest values of a series keep those of tick k at place k modulo their length.
"""

import numpy as np

from driftline.arrays import Ints

NEVER = -(2**62)
"""Before all ticks."""
LATEST = 4_102_444_800_000
"""Milliseconds from the epoch to the year 2100: no record is of that time, or of a later one."""
NONE = np.empty(0, dtype=np.int64)
UNKNOWN = -1
"""A phase that nobody has said yet."""


def phase_of(t: Ints, period: int) -> Ints:
    """By how much the grid that begins with the times `t` is later than one from the epoch: 0 for sensors that keep to
    whole periods, give or take a quarter. All in milliseconds."""
    late = (t + period // 2) % period - period // 2
    phase: Ints = np.where(np.abs(late) <= period // 4, 0, late % period)
    return phase


def tick_of(t: Ints, phase: Ints | int, period: int) -> Ints:
    """The tick that is nearest to each time."""
    tick: Ints = (t - phase + period // 2) // period
    return tick


def time_of(tick: Ints, phase: Ints | int, period: int) -> Ints:
    """The time of a tick, milliseconds since the epoch."""
    time: Ints = tick * period + phase
    return time


def skipped(ring: int, before: Ints, tick: Ints) -> tuple[Ints, Ints]:
    """Which places of rings of n series hold nothing any more, now that `tick` follows `before`: rows, and places in
    the ring. ring: how many it has. before, tick: [n]; a series without a tick before has NEVER."""
    jumped = tick - before > 1
    if not jumped.any():
        return NONE, NONE
    gaps = np.flatnonzero(jumped & (before != NEVER))
    jump = tick[gaps] - before[gaps]
    # Beyond a whole turn of the ring every place is one that was skipped.
    steps = np.arange(1, min(int(jump.max(initial=0)), ring + 1))
    rows, columns = np.nonzero(steps < jump[:, None])
    return gaps[rows], (before[gaps][rows] + steps[columns]) % ring
