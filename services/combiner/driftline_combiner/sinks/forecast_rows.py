"""A blend as rows, one for each time that it says something of. Pure."""

import msgspec

from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline_combiner.next_values import series_forecast


class ForecastRow(msgspec.Struct, frozen=True):
    """What was said of one time. Its name is (stream, key, issued, horizon). Numbers are in `unit`, None where they are
    not known."""

    stream: str
    key: str
    issued: int
    """The time of the record that it was made with, milliseconds since the epoch."""
    t: int
    """The time that it is for, milliseconds since the epoch."""
    horizon: int
    """Steps ahead."""
    ahead: int
    """Seconds ahead."""
    value: float | None
    lower: float | None
    """Lower end of the 90 % prediction interval."""
    upper: float | None
    quantiles: dict[str, float | None]
    """By level, such as `0.5`."""
    unit: str | None
    strategy: str
    guarded: bool
    versions: dict[str, str]
    """The model version behind each member that is a model."""


class TruthRow(msgspec.Struct, frozen=True):
    """What was observed. Its name is (stream, key, t)."""

    stream: str
    key: str
    t: int
    """Milliseconds since the epoch, on the grid of the series: equal to the `t` of the forecasts that it is the truth
    of."""
    observed: float
    unit: str | None


def forecast_rows(blend: Blend, stream: StreamDefinition) -> list[ForecastRow]:
    """By horizon, ascending."""
    forecast = series_forecast(stream, blend)
    return [
        ForecastRow(
            stream=forecast.stream,
            key=forecast.key,
            issued=forecast.issued,
            t=value.t,
            horizon=value.horizon,
            ahead=value.ahead,
            value=value.value,
            lower=value.interval.lower,
            upper=value.interval.upper,
            quantiles=value.quantiles,
            unit=forecast.unit,
            strategy=forecast.strategy,
            guarded=value.guarded,
            versions=forecast.versions,
        )
        for value in forecast.forecasts
    ]


def truth_row(blend: Blend, stream: StreamDefinition) -> TruthRow | None:
    """None where nothing was observed."""
    if blend.observed is None:
        return None
    t = blend.t if blend.grid_t is None else blend.grid_t
    return TruthRow(blend.stream, blend.key, t, blend.observed, stream.unit)
