"""What was forecast of a series before, row by row: as archived, or as remembered. Pure."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field

from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline_combiner.next_values import iso, of_row


@dataclass(frozen=True)
class PastValue:
    """The forecast for a time; null where there is none, or where a former release did not keep it."""

    horizon: Annotated[int, Field(description="steps ahead")]
    t: Annotated[int, Field(description="the time that it is for, milliseconds since the epoch, UTC")]
    value: Annotated[float | None, Field(description="the published forecast")]
    lower: Annotated[float | None, Field(description="lower end of the 90 % prediction interval")]
    upper: Annotated[float | None, Field(description="its upper end")]


@dataclass(frozen=True)
class PastForecast:
    """The forecasts that were issued with one record."""

    issued: Annotated[int, Field(description="the time of the record, milliseconds since the epoch, UTC")]
    issued_time: Annotated[str, Field(description="the same in ISO 8601", examples=["2026-01-01T00:00:00+00:00"])]
    observed: Annotated[
        float | None,
        Field(description="the target's value in that record: the truth of what was forecast for its time"),
    ]
    forecasts: Annotated[list[PastValue], Field(description="by horizon, ascending")]

    @classmethod
    def of(cls, stream: StreamDefinition, blend: Blend, horizons: Collection[int]) -> Self:
        """horizons: steps ahead."""
        begin, ahead = blend.t if blend.grid_t is None else blend.grid_t, 1000 * stream.time.period
        values = [
            PastValue(
                steps,
                blend.times[row] if blend.times else begin + steps * ahead,
                of_row(blend.value, row),
                of_row(blend.lower, row),
                of_row(blend.upper, row),
            )
            for row, steps in enumerate(blend.horizon)
            if steps in horizons
        ]
        return cls(blend.t, iso(blend.t), blend.observed, values)


@dataclass(frozen=True)
class SeriesHistory:
    """The former forecasts of one series, in order of time."""

    stream: str
    key: str
    target: Annotated[str, Field(description="the column that is forecast")]
    unit: Annotated[
        str | None,
        Field(description="of all its numbers, where the stream's definition names one", examples=["kW"]),
    ]
    rows: list[PastForecast]


class OverlappingWindows:
    """Puts rows of windows in order of time. The windows come in order of their first times; no more rows are held
    than those of windows that overlap."""

    def __init__(self) -> None:
        self._held: dict[int, PastForecast] = {}

    def add(self, rows: Sequence[PastForecast]) -> None:
        """Of two rows of one time the first counts."""
        for row in rows:
            self._held.setdefault(row.issued, row)

    def take(self, before: int | None = None) -> Iterator[PastForecast]:
        """Gives away those from before a time that no later window can have, or all."""
        for issued in sorted(issued for issued in self._held if before is None or issued < before):
            yield self._held.pop(issued)
