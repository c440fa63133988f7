"""Forecasts as a table for spreadsheets and notebooks: what was forecast, and the truth where it has come. Pure."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline_combiner.next_values import NextValue, series_forecast

COLUMNS = ("time", "horizon", "issued", "truth", "forecast", "median", "lower", "upper", "unit", "guarded")
"""time: that the forecast is for; issued: that of the record that it was made with; both ISO 8601 in UTC. horizon:
steps ahead. lower, upper: ends of the 90 % interval. Numbers are in `unit`; what is not known is empty."""
Row = tuple[str | int | float | None, ...]


@dataclass(frozen=True)
class WantedRows:
    """Which forecasts. horizons: steps ahead, none for all of them. begin, end: milliseconds since the epoch of the
    times that they are for, the end not among them."""

    horizons: tuple[int, ...] = ()
    begin: int | None = None
    end: int | None = None

    def has(self, t: int) -> bool:
        return (self.begin is None or t >= self.begin) and (self.end is None or t < self.end)


def rows_of(stream: StreamDefinition, blend: Blend, wanted: WantedRows, truths: Mapping[int, float]) -> list[Row]:
    """One for each horizon of a blend. truths: by time on the grid, milliseconds since the epoch."""
    forecast = series_forecast(stream, blend, wanted.horizons)
    return [
        _row(value, forecast.issued_time, forecast.unit, truths.get(value.t))
        for value in forecast.forecasts
        if wanted.has(value.t)
    ]


def _row(value: NextValue, issued: str, unit: str | None, truth: float | None) -> Row:
    ends = (value.interval.lower, value.interval.upper)
    guarded = str(value.guarded).lower()
    return (value.time, value.horizon, issued, truth, value.value, value.median, *ends, unit, guarded)


def truths_of(blends: Iterable[Blend]) -> dict[int, float]:
    """What was observed, by the time on the grid."""
    return {
        blend.t if blend.grid_t is None else blend.grid_t: blend.observed
        for blend in blends
        if blend.observed is not None and math.isfinite(blend.observed)
    }


def written(rows: Iterable[Row]) -> str:
    """As CSV by RFC 4180, without a header."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


HEADER = written([COLUMNS])
