"""Forecasts: the next values of one series or of many, as they are or as they were. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from driftline_client.calls.call import Call, Query, get, in_path

PAGE = 1000


class ForecastInterval(msgspec.Struct, frozen=True):
    """Where the truth lies with a probability of `level`; None before that is known."""

    level: float
    lower: float | None
    upper: float | None


class ForecastValue(msgspec.Struct, frozen=True):
    """The forecast for one time. Numbers are in the series' `unit`, and None before they are known."""

    horizon: int
    """Steps ahead."""
    ahead: int
    """The same in seconds."""
    t: int
    """The time that it is for, milliseconds since the epoch."""
    time: datetime
    """The same."""
    value: float | None
    """The published forecast."""
    median: float | None
    interval: ForecastInterval
    quantiles: dict[str, float | None]
    """By level the value below which the truth lies with that probability."""
    guarded: bool
    """Whether persistence is published, since the strategy has fallen behind it."""


class NextValues(msgspec.Struct, frozen=True):
    """The next values of one series, as they were issued with one of its records."""

    stream: str
    key: str
    target: str
    """The column that is forecast."""
    unit: str | None
    """Of all its numbers."""
    issued: int
    """The time of the record, milliseconds since the epoch."""
    issued_time: datetime
    """The same."""
    observed: float | None
    """The target's value in the record."""
    strategy: str
    versions: dict[str, str]
    """The model version behind each member that is a model."""
    forecasts: list[ForecastValue]
    """By horizon, ascending."""
    range: tuple[float | None, float | None] | None = None
    """Least and greatest possible value, where the stream's definition names them."""

    def at_horizon(self, steps: int) -> ForecastValue:
        """So many steps ahead. Raises KeyError."""
        for value in self.forecasts:
            if value.horizon == steps:
                return value
        raise KeyError(f"found no horizon {steps}, expected one of {[value.horizon for value in self.forecasts]}")


def forecast(
    stream: str, key: str, *, horizons: Sequence[int] = (), at: datetime | int | str | None = None
) -> Call[NextValues]:
    """The next values of a series.

    horizons: only these steps ahead. at: as it was issued then or last before: a time with a zone, milliseconds since
    the epoch, or ISO 8601. Raises NoSuchThing where there is none yet.
    """
    path = f"/v1/forecasts/{in_path(stream)}/{in_path(key)}"
    return get("combiner", path, NextValues, _query(horizons, at))


def forecasts(
    stream: str, *, keys: Sequence[str] = (), horizons: Sequence[int] = (), at: datetime | int | str | None = None
) -> Call[list[NextValues]]:
    """Those of all series of a stream that have a forecast, in order of the key, or of some. See `forecast`."""
    query = [*_query(horizons, at), *(("key", key) for key in keys), ("limit", PAGE)]
    return get("combiner", f"/v1/forecasts/{in_path(stream)}", list[NextValues], query)


def _query(horizons: Sequence[int], at: datetime | int | str | None) -> Query:
    instant = at.isoformat() if isinstance(at, datetime) else at
    return [*(("horizon", steps) for steps in horizons), *([("at", instant)] if instant is not None else [])]
