"""Asks the combiner for the next values, and shows them: of one series by the line, of all series by the row."""

import time
from collections.abc import Iterator, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from driftline.errors import NotFound
from driftline_cli import tokens
from driftline_cli.forecast_words import decimals_of, local, moment, next_value, number, shown
from driftline_cli.lengths import in_words, roughly
from driftline_cli.screen import keep_whole, table_of
from driftline_client import AsyncClient, ForecastValue, NextValues

COLUMNS = 3
"""Horizons that fit next to each other."""


async def one_series(url: str, stream: str, key: str, horizons: Sequence[int], at: str | None) -> NextValues:
    """Raises NoSuchThing where there is none yet, and other ClientErrors."""
    async with AsyncClient(combiner=url, token=tokens.reading_token(url), patience=0) as client:
        return await client.forecast(stream, key, horizons=horizons, at=at)


async def all_series(url: str, stream: str, horizons: Sequence[int], at: str | None) -> list[NextValues]:
    """Those of a stream that have a forecast. Raises NotFound where there are none, and ClientErrors."""
    async with AsyncClient(combiner=url, token=tokens.reading_token(url), patience=0) as client:
        series = [one async for one in client.forecasts(stream, horizons=horizons, at=at)]
    if not series:
        since = "no series has one of that time in memory" if at else "send records: driftline replay"
        raise NotFound(f"no forecast of {stream} yet; {since}")
    return series


def screen(body: NextValues | list[NextValues]) -> Group:
    """What `one_series` or `all_series` has brought."""
    return _stream_screen(body) if isinstance(body, list) else _series_screen(body)


def _series_screen(series: NextValues) -> Group:
    """One series: a line for each horizon."""
    observed = "" if series.observed is None else f", {series.target} was {series.observed:g}{_unit(series)}"
    lines = [f"{series.stream}/{series.key}, from the record of {_time(series)}{observed}", *_overdue([series])]
    lines += [next_value(value, series.issued, series.unit) for value in series.forecasts]
    return Group(*map(Text, lines))


def _stream_screen(every: Sequence[NextValues]) -> Group:
    """All series of a stream, the one whose record is newest setting the day."""
    steps = shown((value.horizon for value in every[0].forecasts), COLUMNS)
    table = table_of(_title(every[0]), "key", "record of", *(_ahead(every[0], n) for n in steps))
    for series in every:
        cells = [_cell(value) for value in series.forecasts if value.horizon in steps]
        table.add_row(*map(Text, (series.key, _time(series), *cells)))
    left = len(every[0].forecasts) - len(steps)
    more = [f"{left} more {'horizon' if left == 1 else 'horizons'}: choose by --horizon, or name a KEY"] if left else []
    return Group(_aligned(keep_whole(table, "key")), *map(Text, [*_overdue(every), *more]))


def _aligned(table: Table) -> Table:
    for column in table.columns[2:]:
        column.justify = "right"
    return table


def _title(series: NextValues) -> str:
    unit = f" in {series.unit}" if series.unit else ""
    return f"{series.stream}: {series.target}{unit}, and 90 % interval"


def _ahead(series: NextValues, steps: int) -> str:
    ahead = next(value.ahead for value in series.forecasts if value.horizon == steps)
    return f"in {in_words(ahead)}"


def _cell(value: ForecastValue) -> str:
    if value.value is None:
        return ""
    decimals, lower, upper = decimals_of(value), value.interval.lower, value.interval.upper
    amount = number(value.value, decimals)
    if lower is None or upper is None:
        return amount
    return f"{amount} ({number(lower, decimals)} … {number(upper, decimals)})"


def _overdue(every: Sequence[NextValues]) -> Iterator[str]:
    """A sentence where all of it is past."""
    newest = max(every, key=lambda series: series.issued)
    behind = time.time() - newest.issued / 1000
    if newest.forecasts and behind > (newest.forecasts[-1].t - newest.issued) / 1000:
        yield f"The newest record is {roughly(behind)} old, so all of this is past: is anything sending?"


def _time(series: NextValues) -> str:
    """When the record was, with the date unless that is today's."""
    return moment(local(series.issued), local(round(1000 * time.time())))


def _unit(series: NextValues) -> str:
    return f" {series.unit}" if series.unit else ""
