"""`driftline backtest --keys`: each series by itself, with a model of its own, as many at once as there is room for."""

import asyncio
from collections.abc import Sequence

import numpy as np
from rich.table import Table

from driftline.errors import InvalidInput
from driftline.scoring import PUBLISHED
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.backtest import Report, backtest
from driftline_cli.drift_kinds import Kind
from driftline_cli.fan_out import Done, fan_out

EVERY = "all"


def keys_of(asked: str, test: Rows) -> list[str]:
    """The series that are meant: `all`, or names with commas. Raises InvalidInput."""
    known = sorted(set(np.unique(test.keys).tolist()))
    if asked == EVERY:
        return known
    names = [name.strip() for name in asked.split(",") if name.strip()]
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        raise InvalidInput(f"--keys: found {', '.join(unknown) or 'none'}, expected some of {', '.join(known[:20])}")
    return list(dict.fromkeys(names))


def run(
    stream: StreamDefinition,
    train: Rows,
    test: Rows,
    keys: Sequence[str],
    *,
    drift: Kind,
    magnitude: float | None,
    seed: int,
    workers: int,
    done: Done,
) -> dict[str, Report]:
    """By key what its run gave."""
    parts = [
        (stream, train.take(train.keys == key), test.take(test.keys == key), drift, magnitude, seed) for key in keys
    ]
    return dict(zip(keys, fan_out(_one, parts, workers=workers, done=done), strict=True))


def _one(stream: StreamDefinition, train: Rows, test: Rows, drift: Kind, magnitude: float | None, seed: int) -> Report:
    return asyncio.run(backtest(stream, train, test, drift=drift, magnitude=magnitude, seed=seed)).report


def table(reports: dict[str, Report], stream: StreamDefinition) -> Table:
    """By series the blend's error and skill, for each horizon."""
    shown = Table(title=f"{stream.name}: the blend, each series by itself", title_justify="left")
    shown.add_column("key")
    for h in stream.horizon:
        shown.add_column(f"RMSE, {h} ahead", justify="right")
        shown.add_column("skill", justify="right")
    shown.add_column("records", justify="right")
    for key, report in reports.items():
        scores = [report.horizons[str(h)].rows[PUBLISHED] for h in stream.horizon]
        cells = [cell for score in scores for cell in (f"{score.rmse:.4f}", f"{score.skill:+.3f}")]
        shown.add_row(key, *cells, f"{report.records:,}")
    return shown
