"""What was forecast of a series before: from the archive, and from memory where that ends. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from driftline_client.calls.call import Call, Query, Reply, decoded, good, in_path

PAGE = 1000


class FormerValue(msgspec.Struct, frozen=True):
    """The forecast for one time; None where there is none, or where a former release did not keep it."""

    horizon: int
    """Steps ahead."""
    t: int
    """The time that it is for, milliseconds since the epoch."""
    value: float | None
    """The published forecast."""
    lower: float | None
    """Lower end of the 90 % interval."""
    upper: float | None


class FormerForecasts(msgspec.Struct, frozen=True):
    """The forecasts that were issued with one record."""

    issued: int
    """The time of the record, milliseconds since the epoch."""
    issued_time: datetime
    """The same."""
    observed: float | None
    """The target's value in the record: the truth of what was forecast for its time."""
    forecasts: list[FormerValue]
    """By horizon, ascending."""


class _SeriesRows(msgspec.Struct, frozen=True):
    rows: list[FormerForecasts]


def history(
    stream: str,
    key: str,
    *,
    since: datetime | int | str | None = None,
    until: datetime | int | str | None = None,
    horizons: Sequence[int] = (),
) -> Call[list[FormerForecasts]]:
    """The former forecasts of a series, record by record in order of time, a page at a time as it is needed.

    since, until: issued then or later, and before: a time with a zone, milliseconds since the epoch, or ISO 8601.
    horizons: only these steps ahead. Raises NoSuchThing for a stream that there is not.
    """
    query: Query = [
        *(("from", _instant(since)) for _ in [since] if since is not None),
        *(("to", _instant(until)) for _ in [until] if until is not None),
        *(("horizon", steps) for steps in horizons),
        ("limit", PAGE),
    ]
    return Call("combiner", "GET", f"/v1/history/{in_path(stream)}/{in_path(key)}", _rows, query)


def _instant(time: datetime | int | str) -> int | str:
    return time.isoformat() if isinstance(time, datetime) else time


def _rows(reply: Reply) -> list[FormerForecasts]:
    return decoded(good(reply).body, _SeriesRows).rows
