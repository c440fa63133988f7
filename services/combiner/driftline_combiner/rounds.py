"""A batch of forecasts as arrays, and what its rounds have come to: what needs no state is computed for all at once.

A round holds at most one forecast of each series. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.members import MEMBERS
from driftline.messages import Forecast
from driftline.streams.definition import StreamDefinition
from driftline.streams.grid import tick_of


@dataclass(frozen=True)
class ForecastRows:
    """n forecasts in the order of their rounds."""

    messages: Sequence[Forecast]
    slots: Ints
    """[n]: of their series."""
    t: Ints
    """[n]: milliseconds since the epoch."""
    tick: Ints
    """[n]: see `driftline.streams.grid`."""
    missing: Mask
    """[n]: whether the truth is missing."""
    observed: Floats
    """[n]: NaN where it is."""
    members: Floats
    """[n, horizons, members]."""

    @classmethod
    def of(cls, stream: StreamDefinition, messages: Sequence[Forecast], slots: Ints) -> Self:
        """slots: [n]."""
        return cls(
            messages,
            slots=slots,
            t=np.array([message.t for message in messages], dtype=np.int64),
            tick=grid_ticks(stream, messages),
            missing=np.array([message.observed is None for message in messages]),
            observed=truths(stream, messages),
            members=_members(stream, messages),
        )

    @property
    def reports(self) -> bool:
        """Whether one of them says how good a model was on its hold-out."""
        return any(message.skills for message in self.messages)

    def take(self, rows: slice) -> Self:
        return type(self)(
            self.messages[rows],
            self.slots[rows],
            self.t[rows],
            self.tick[rows],
            self.missing[rows],
            self.observed[rows],
            self.members[rows],
        )


class ScoredRound(NamedTuple):
    """What the truths of n forecasts have said of former ones."""

    error: Floats
    """[n, horizons, rows]: see `driftline_combiner.prequential.Scored`."""
    scale: Floats
    """[n, horizons]."""
    anomalous: Mask
    """[n, horizons]: see `driftline_combiner.intervals.Anomalies`."""
    size: Floats
    """[n, horizons]."""
    rivals: Floats
    """[n, horizons, 2]: as in the ledger."""
    fallen: Mask
    """[n, horizons]: whether the guard has stepped in just now."""


class WeighedRound(NamedTuple):
    """What is made of n forecasts."""

    weights: Floats
    """[n, horizons, members]: of what is published."""
    blends: Floats
    """[n, horizons, strategies + 1]: what is published last."""
    around: Floats
    """[n, horizons, levels]: quantiles of truth minus blend."""
    usual: Floats
    """[n, horizons, 1]: the usual error."""
    guarded: Mask
    """[n, horizons]: whether persistence is published."""


def joined_scores(parts: Sequence[ScoredRound]) -> ScoredRound:
    return ScoredRound(*map(np.concatenate, zip(*parts, strict=True)))


def joined_weights(parts: Sequence[WeighedRound]) -> WeighedRound:
    return WeighedRound(*map(np.concatenate, zip(*parts, strict=True)))


def grid_time(message: Forecast) -> int:
    """Milliseconds since the epoch: of the tick that it was forecast at."""
    return message.t if message.grid_t is None else message.grid_t


def grid_ticks(stream: StreamDefinition, messages: Sequence[Forecast]) -> Ints:
    """[n]: see `driftline.streams.grid`."""
    times = np.array([grid_time(message) for message in messages], dtype=np.int64)
    return tick_of(times, 0, stream.time.period * 1000)


def truths(stream: StreamDefinition, messages: Sequence[Forecast]) -> Floats:
    """[n]: NaN where they are missing. A reading that is beyond the range is as good as its end: no forecast could be
    nearer to it, and no interval would have to be wider for it."""
    return stream.within(np.array([message.observed for message in messages], dtype=np.float64))


def _members(stream: StreamDefinition, messages: Sequence[Forecast]) -> Floats:
    """[n, horizons, members]: what each of them forecasts."""
    absent = [None] * len(stream.horizon)
    raw = [[message.members.get(name, absent) for name in MEMBERS] for message in messages]
    # A mean of possible values is possible, and no possible truth is further from what is brought into the range.
    return stream.within(np.swapaxes(np.array(raw, dtype=np.float64), 1, 2))
