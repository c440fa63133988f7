"""What comes next in a series, as an application wants it: a blend with its times and units. Pure."""

import math
from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from pydantic import BaseModel, Field

from driftline.errors import InvalidInput
from driftline.messages import Blend
from driftline.scoring import LEVELS
from driftline.streams.definition import StreamDefinition

MEDIAN = "0.5"
COVERAGE = round(LEVELS[-1] - LEVELS[0], 2)
"""Of the interval between the outermost quantiles."""


class PredictionInterval(BaseModel):
    """Where the truth lies with a probability of `level`."""

    level: float = Field(examples=[COVERAGE])
    lower: float | None
    upper: float | None


class NextValue(BaseModel):
    """The forecast for one time. Numbers are in the series' `unit`, and null before they are known."""

    horizon: int = Field(description="steps ahead")
    ahead: int = Field(description="the same in seconds, from the period of the record that it was made with")
    t: int = Field(description="the time that it is for, milliseconds since the epoch, UTC")
    time: str = Field(description="the same in ISO 8601", examples=["2026-01-01T06:00:00+00:00"])
    value: float | None = Field(description="the published forecast, which scores are of")
    median: float | None = Field(description="the quantile 0.5: the truth is as likely above it as below")
    interval: PredictionInterval
    quantiles: dict[str, float | None] = Field(
        description="by level the value below which the truth lies with that probability"
    )
    guarded: bool = Field(description="whether persistence is published, since the strategy has fallen behind it")


class SeriesForecast(BaseModel):
    """The next values of one series, as they were issued with one of its records."""

    stream: str
    key: str
    target: str = Field(description="the column that is forecast")
    unit: str | None = Field(description="of all its numbers, where the stream's definition names one", examples=["kW"])
    range: tuple[float | None, float | None] | None = Field(
        description="least and greatest possible value, null for an open side, where the definition names them",
        examples=[[0, 3000]],
    )
    issued: int = Field(description="the time of the record that it was made with, milliseconds since the epoch, UTC")
    issued_time: str = Field(description="the same in ISO 8601", examples=["2026-01-01T00:00:00+00:00"])
    observed: float | None = Field(description="the target's value in that record")
    strategy: str = Field(description="the weighting strategy", examples=["online"])
    versions: dict[str, str] = Field(description="the model version behind each member that is a model")
    forecasts: list[NextValue] = Field(description="by horizon, ascending")


def series_forecast(stream: StreamDefinition, blend: Blend, horizons: Collection[int] = ()) -> SeriesForecast:
    """What a blend says of the time to come, or of some horizons alone."""
    return SeriesForecast(
        stream=blend.stream,
        key=blend.key,
        target=stream.target,
        unit=stream.unit,
        range=stream.range,
        issued=blend.t,
        issued_time=iso(blend.t),
        observed=blend.observed,
        strategy=blend.strategy,
        versions=blend.versions,
        forecasts=[
            _next_value(stream, blend, row)
            for row, steps in enumerate(blend.horizon)
            if not horizons or steps in horizons
        ],
    )


def check_horizons(stream: StreamDefinition, horizons: Iterable[int]) -> None:
    """Raises InvalidInput for one that the stream does not have."""
    for steps in horizons:
        if steps not in stream.horizon:
            raise InvalidInput(f"horizon: found {steps}, expected one of {list(stream.horizon)} steps of {stream.name}")


def iso(t: int) -> str:
    """A time in milliseconds since the epoch as text, in UTC."""
    whole = t % 1000 == 0
    return datetime.fromtimestamp(t / 1000, UTC).isoformat(timespec="seconds" if whole else "milliseconds")


def _next_value(stream: StreamDefinition, blend: Blend, row: int) -> NextValue:
    steps = blend.horizon[row]
    # Blends of former releases lack what came later.
    begin = blend.t if blend.grid_t is None else blend.grid_t
    t = blend.times[row] if blend.times else begin + 1000 * steps * stream.time.period
    quantiles = {level: of_row(values, row) for level, values in blend.quantiles.items()}
    return NextValue(
        horizon=steps,
        ahead=steps * stream.time.period,
        t=t,
        time=iso(t),
        value=of_row(blend.value, row),
        median=quantiles.get(MEDIAN),
        interval=PredictionInterval(level=COVERAGE, lower=of_row(blend.lower, row), upper=of_row(blend.upper, row)),
        quantiles=quantiles,
        guarded=bool(blend.guarded) and blend.guarded[row],
    )


def of_row(values: list[float | None], row: int) -> float | None:
    """The value of a row; None where it is missing, or no number."""
    return finite(values[row]) if row < len(values) else None


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
