"""The tables of forecasts and of what was observed: their columns, and blends as their rows. Pure.

A row is named by its stream, key and time, that of a forecast by its horizon, too: of two of one name the later counts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from driftline.errors import InvalidInput
from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline_combiner.sinks.forecast_rows import ForecastRow, TruthRow, forecast_rows, truth_row

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
QUANTILES: Final = {"p10": "0.1", "p50": "0.5", "p90": "0.9"}
"""By column. The outermost quantiles are `lower` and `upper`."""

Row = tuple[object, ...]


@dataclass(frozen=True)
class Table:
    """Columns in the order of their rows; `name_columns` come first, the others may change."""

    name: str
    name_columns: tuple[str, ...]
    other_columns: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.name_columns + self.other_columns

    def newest(self, rows: Iterable[Row]) -> list[Row]:
        """The last of each name, in the order of their names, so that two writers never wait for each other."""
        width = len(self.name_columns)
        by_name = {row[:width]: row for row in rows}
        return [by_name[name] for name in sorted(by_name)]


FORECASTS: Final = Table(
    "forecasts",
    ("stream", "key", "t", "horizon"),
    ("issued", "value", "lower", "upper", *QUANTILES, "unit", "strategy", "guarded", "versions"),
)
OBSERVED: Final = Table("observed", ("stream", "key", "t"), ("value", "unit"))

Rows = Mapping[Table, Sequence[Row]]


def rows_of(blend: Blend, stream: StreamDefinition, as_json: Callable[[object], object]) -> dict[Table, list[Row]]:
    """as_json: makes of a value what the client writes as JSON. Raises InvalidInput for what no column holds."""
    if "\0" in blend.key:
        raise InvalidInput("found the key with a letter NUL, expected none: PostgreSQL's texts have none")
    truth = truth_row(blend, stream)
    try:
        return {
            FORECASTS: [_forecast(row, as_json) for row in forecast_rows(blend, stream)],
            OBSERVED: [] if truth is None else [_observed(truth)],
        }
    except (OverflowError, ValueError) as error:
        raise InvalidInput(f"found the time {blend.t}, expected one before the year 10000") from error


def _forecast(row: ForecastRow, as_json: Callable[[object], object]) -> Row:
    quantiles = [row.quantiles.get(level) for level in QUANTILES.values()]
    numbers = (row.value, row.lower, row.upper, *quantiles)
    name = (row.stream, row.key, _time(row.t), row.horizon)
    return (*name, _time(row.issued), *numbers, row.unit, row.strategy, row.guarded, as_json(row.versions))


def _observed(row: TruthRow) -> Row:
    return (row.stream, row.key, _time(row.t), row.observed, row.unit)


def _time(t: int) -> datetime:
    """t: milliseconds since the epoch. Raises OverflowError."""
    return EPOCH + timedelta(milliseconds=t)
