"""The grid of a stream's definition, in the units that it is worked with. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from driftline.streams.data_sections import Grid, Take
from driftline.streams.definition import StreamDefinition
from driftline.streams.gridded.takes import Readings, taking


@dataclass(frozen=True)
class GridRule:
    """Periods are counted from the epoch, and period k ends at k times its length. All lengths are in milliseconds."""

    stream: str
    period: int
    grace: int
    """For so long after its end a period waits for what is late."""
    waits: int
    """The same in whole periods."""
    takes: dict[str, Take]
    """By column, the target first."""
    values: dict[str, Callable[[Readings], float | None]]
    """By column, except for those that are a `difference`."""
    fills: bool
    """Whether a silent series keeps its values ..."""
    hold: int
    """... for so long."""
    forget: int
    """Periods of silence after which a series is forgotten."""

    @classmethod
    def of(cls, stream: StreamDefinition) -> Self:
        """stream: one that has a grid."""
        grid, period = stream.grid or Grid(), 1000 * stream.time.period
        takes = {name: grid.take_of(name) for name in stream.columns}
        angles = dict(zip(stream.columns, stream.angles, strict=True))
        return cls(
            stream=stream.name,
            period=period,
            grace=round(grid.grace * period),
            waits=math.ceil(grid.grace),
            takes=takes,
            values={n: taking(take, angle=angles[n]) for n, take in takes.items() if take != "difference"},
            fills=stream.grid_fills,
            hold=1000 * grid.held(stream.time.period),
            forget=stream.longest_silence // period,
        )

    def period_of(self, t: int) -> int:
        """The period that a time belongs to: after the end of the one before, up to its own."""
        return -(-t // self.period)

    def over(self, t: int) -> int:
        """The newest period that is over, with its grace, at the time `t`."""
        return -(-(t - self.grace) // self.period) - 1
