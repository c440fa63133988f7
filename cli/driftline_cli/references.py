"""What a stream's blend is held against: forecasts that need no Driftline. Pure.

A record belongs to the slot of its time, a whole number of periods since the epoch, and everything looks back by time:
where a slot has no record, there is no value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import DAY_S
from driftline.streams.rows import Rows

YESTERDAY, LAST_WEEK, BOOSTING = "yesterday", "last week", "boosting"
WEEK_S = 7 * DAY_S


def slots_of(t: Ints, stream: StreamDefinition) -> Ints:
    """The nearest slot of every time. t: milliseconds since the epoch."""
    period = 1000 * stream.time.period
    return (t + period // 2) // period


@dataclass(frozen=True)
class SeriesOnGrid:
    """One key's records. slots: [n] ascending, each once. values: [n, columns], NaN missing."""

    slots: Ints
    values: Floats

    @classmethod
    def of(cls, rows: Rows, stream: StreamDefinition) -> Self:
        """Of several records in one slot the latest counts."""
        order = np.argsort(rows.t, kind="stable")
        slots = slots_of(rows.t[order], stream)
        last = np.flatnonzero(np.diff(slots, append=slots[-1:] + 1))
        return cls(slots[last], rows.values[order][last])

    def at(self, slots: Ints) -> Floats:
        """[n, columns]: the values of those slots, NaN where there is no record."""
        if not len(self.slots):
            return np.full((len(slots), self.values.shape[1]), np.nan)
        nearest = np.minimum(np.searchsorted(self.slots, slots), len(self.slots) - 1)
        return np.where((self.slots[nearest] == slots)[:, None], self.values[nearest], np.nan)

    def target(self, slots: Ints) -> Floats:
        """[n]: the target alone."""
        return self.at(slots)[:, 0]


def timelines(rows: Rows, stream: StreamDefinition) -> dict[str, SeriesOnGrid]:
    """By key."""
    return {key: SeriesOnGrid.of(of_key, stream) for key, of_key in rows.by_key().items()}


class Reference(Protocol):
    """Forecasts from a key's records up to a slot."""

    def __call__(self, series: SeriesOnGrid, slots: Ints, index: int) -> Floats:
        """[n]: made at `slots` for the `index`th horizon, NaN where it has nothing to say."""
        ...


@dataclass(frozen=True)
class SameTimeBefore:
    """The value at the same time so many whole spans before, as few of them as the horizon allows.

    span: slots; 0 where it is no whole number of periods, and nothing is forecast.
    """

    horizon: Sequence[int]
    span: int

    def __call__(self, series: SeriesOnGrid, slots: Ints, index: int) -> Floats:
        if not self.span:
            return np.full(len(slots), np.nan)
        return series.target(slots + self.horizon[index] - back(self.horizon[index], self.span))


def back(steps: int, span: int) -> int:
    """The fewest whole spans, in slots, that lead from `steps` ahead to what is known."""
    return -(-steps // span) * span


def span_of(seconds: int, stream: StreamDefinition) -> int:
    """So many seconds in slots, or 0 where that is no whole number."""
    slots, rest = divmod(seconds, stream.time.period)
    return 0 if rest else slots


def naive(stream: StreamDefinition) -> dict[str, Reference]:
    """Those that learn nothing. Persistence is a member, and scored as one."""
    return {
        YESTERDAY: SameTimeBefore(stream.horizon, span_of(DAY_S, stream)),
        LAST_WEEK: SameTimeBefore(stream.horizon, span_of(WEEK_S, stream)),
    }


def forecasts(
    reference: Reference, series: Mapping[str, SeriesOnGrid], keys: npt.NDArray[np.str_], slots: Ints, index: int
) -> Floats:
    """[n]: what the reference forecasts at each key and slot."""
    row = np.full(len(slots), np.nan)
    for key in np.unique(keys):
        mine = np.flatnonzero(keys == key)
        row[mine] = reference(series[str(key)], slots[mine], index)
    return row
