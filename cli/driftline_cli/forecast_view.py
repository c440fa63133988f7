"""Asks the combiner for the next values, and shows them: of one series by the line, of all series by the row."""

import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

import httpx
from rich.console import Group
from rich.table import Table
from rich.text import Text

from driftline.errors import InvalidInput, NotFound, Unavailable
from driftline_cli import tokens
from driftline_cli.forecast_words import decimals_of, local, moment, next_value, number, shown
from driftline_cli.lengths import in_words, roughly
from driftline_cli.screen import keep_whole, table_of

TIMEOUT_S = 30.0
PAGE = 1000
COLUMNS = 3
"""Horizons that fit next to each other."""
KINDS = {httpx.codes.NOT_FOUND: NotFound, httpx.codes.SERVICE_UNAVAILABLE: Unavailable}

Query = Sequence[tuple[str, str | int]]


def question(horizons: Sequence[int], at: str | None) -> Query:
    """The query that all of its requests have."""
    return [*(("horizon", steps) for steps in horizons), *([("at", at)] if at is not None else [])]


async def one_series(url: str, stream: str, key: str, asked: Query) -> Any:
    """`GET /v1/forecasts/{stream}/{key}`. Raises NotFound where there is none yet, InvalidInput for what the combiner
    refuses, Unavailable while it can't say."""
    async with httpx.AsyncClient(base_url=url, headers=tokens.reading(url), timeout=TIMEOUT_S) as client:
        answer = await client.get(f"/v1/forecasts/{quote(stream, safe='')}/{quote(key, safe='')}", params=list(asked))
        return _checked(answer).json()


async def all_series(url: str, stream: str, asked: Query) -> Any:
    """`GET /v1/forecasts/{stream}`, page after page. Raises as `one_series` does."""
    series: list[Any] = []
    async with httpx.AsyncClient(base_url=url, headers=tokens.reading(url), timeout=TIMEOUT_S) as client:
        path = f"/v1/forecasts/{quote(stream, safe='')}"
        answer = _checked(await client.get(path, params=[*asked, ("limit", PAGE)]))
        while True:
            series += answer.json()
            if "next" not in answer.links:
                break
            answer = _checked(await client.get(answer.url.join(answer.links["next"]["url"])))
    if not series:
        since = (
            "no series has one of that time in memory" if dict(asked).get("at") else "send records: driftline replay"
        )
        raise NotFound(f"no forecast of {stream} yet; {since}")
    return series


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_error:
        return answer
    raise KINDS.get(httpx.codes(answer.status_code), InvalidInput)(f"the combiner says: {_detail(answer)}")


def _detail(answer: httpx.Response) -> str:
    try:
        body = answer.json()
        errors = "; ".join(
            f"{e['where']}: found {e['found']}, expected {e['expected']}" for e in body.get("errors", ())
        )
        return errors or str(body["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{answer.status_code} {answer.text[:200]}"


def screen(body: Any) -> Group:
    """What `one_series` or `all_series` has brought."""
    return _stream_screen(body) if isinstance(body, list) else _series_screen(body)


def _series_screen(series: Any) -> Group:
    """One series: a line for each horizon."""
    observed = "" if series["observed"] is None else f", {series['target']} was {series['observed']:g}{_unit(series)}"
    lines = [f"{series['stream']}/{series['key']}, from the record of {_time(series)}{observed}", *_overdue([series])]
    lines += [next_value(value, series["issued"], series["unit"]) for value in series["forecasts"]]
    return Group(*map(Text, lines))


def _stream_screen(every: Any) -> Group:
    """All series of a stream, the one whose record is newest setting the day."""
    steps = shown((value["horizon"] for value in every[0]["forecasts"]), COLUMNS)
    table = table_of(_title(every[0]), "key", "record of", *(_ahead(every[0], n) for n in steps))
    for series in every:
        cells = [_cell(value) for value in series["forecasts"] if value["horizon"] in steps]
        table.add_row(*map(Text, (series["key"], _time(series), *cells)))
    left = len(every[0]["forecasts"]) - len(steps)
    more = [f"{left} more {'horizon' if left == 1 else 'horizons'}: choose by --horizon, or name a KEY"] if left else []
    return Group(_aligned(keep_whole(table, "key")), *map(Text, [*_overdue(every), *more]))


def _aligned(table: Table) -> Table:
    for column in table.columns[2:]:
        column.justify = "right"
    return table


def _title(series: Any) -> str:
    unit = f" in {series['unit']}" if series["unit"] else ""
    return f"{series['stream']}: {series['target']}{unit}, and 90 % interval"


def _ahead(series: Any, steps: int) -> str:
    ahead = next(value["ahead"] for value in series["forecasts"] if value["horizon"] == steps)
    return f"in {in_words(ahead)}"


def _cell(value: Any) -> str:
    if value["value"] is None:
        return ""
    decimals, lower, upper = decimals_of(value), value["interval"]["lower"], value["interval"]["upper"]
    known = lower is not None and upper is not None
    ends = f" ({number(lower, decimals)} … {number(upper, decimals)})" if known else ""
    return f"{number(value['value'], decimals)}{ends}"


def _overdue(every: Sequence[Any]) -> Iterator[str]:
    """A sentence where all of it is past."""
    newest = max(every, key=lambda series: int(series["issued"]))
    behind = time.time() - newest["issued"] / 1000
    if newest["forecasts"] and behind > (newest["forecasts"][-1]["t"] - newest["issued"]) / 1000:
        yield f"The newest record is {roughly(behind)} old, so all of this is past: is anything sending?"


def _time(series: Any) -> str:
    """When the record was, with the date unless that is today's."""
    return moment(local(series["issued"]), local(round(1000 * time.time())))


def _unit(series: Any) -> str:
    return f" {series['unit']}" if series["unit"] else ""
