"""Rounds of forecasts as they come, well and badly, and what both ways of blending make of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.members import MEMBERS
from driftline.streams.definition import StreamDefinition
from driftline.worker.late_truths import LateTruths
from driftline_combiner.blending import Blending, MakeBlending
from driftline_combiner.intervals import Intervals
from driftline_combiner.ledger import Ledger
from driftline_combiner.rounds import ForecastRows, ScoredRound, WeighedRound
from driftline_combiner.state import BlendTables

SERIES = 5


@dataclass(frozen=True)
class Lane:
    """One way of blending with tables of its own."""

    tables: BlendTables
    blending: Blending

    @classmethod
    def of(cls, make: MakeBlending, stream: StreamDefinition, series: int = SERIES) -> "Lane":
        horizon, patience = stream.horizon, stream.patience
        tables = BlendTables(
            Ledger.empty(series, horizon, patience),
            Intervals.empty(series, horizon, patience),
            LateTruths.empty(series, patience),
        )
        return cls(tables, make(stream, tables))

    def arrays(self, slots: Sequence[int] | slice = slice(None)) -> dict[str, np.ndarray]:
        """By name, those of some series."""
        return {
            f"{type(table).__name__}.{field.name}": getattr(table, field.name)[slots]
            for table in self.tables
            for field in fields(table)
        }


def members_of(truth: Floats, horizons: int, random: np.random.Generator) -> Floats:
    """[n, horizons, members]: near the truth, two of them alike, one hopeless, and now and then one that is missing."""
    noise = random.normal(size=(len(truth), horizons, len(MEMBERS))) * (0.1, 0.2, 0.5, 0.1, 0.1, 30.0, 1e-9)
    near: Floats = truth[:, None, None] + noise
    near[:, :, 4] = near[:, :, 3]
    near[random.random(near.shape) < 0.05] = np.nan
    near[random.random(len(near)) < 0.02] = np.nan
    return near


def batch(random: np.random.Generator, last: Ints, count: int, horizons: int) -> tuple[ForecastRows, list[int]]:
    """So many rounds of some of the series each. last: [series] their newest ticks, which go on; ticks come twice, and
    after gaps."""
    slots, sizes, ticks = [], [], []
    for _ in range(count):
        part = np.flatnonzero(random.random(len(last)) < 0.7)
        last[part] += random.choice(
            [0, 1, 1, 1, 1, 1, 1, 2, 5, 400], p=[0.03] + [0.13] * 7 + [0.05, 0.01], size=len(part)
        )
        slots.append(part)
        sizes.append(len(part))
        ticks.append(last[part].copy())
    slot, tick = np.concatenate(slots), np.concatenate(ticks)
    observed = np.sin(tick / 20.0) + slot + 0.1 * random.normal(size=len(slot))
    missing = random.random(len(slot)) < 0.1
    rows = ForecastRows(
        messages=(),
        slots=slot,
        t=tick * 60_000 + random.integers(0, 1000, len(tick)),
        tick=tick,
        missing=missing,
        observed=np.where(missing, np.nan, observed),
        members=members_of(observed, horizons, random),
    )
    return rows, sizes


def batches(
    seed: int, stream: StreamDefinition, count: int = 5, rounds: int = 60
) -> Iterator[tuple[ForecastRows, list[int]]]:
    random = np.random.default_rng(seed)
    last = random.integers(-300, 300, SERIES)
    for _ in range(count):
        yield batch(random, last, rounds, len(stream.horizon))


def with_garbage(rows: ForecastRows, random: np.random.Generator) -> ForecastRows:
    """Numbers as broken sensors and models give them."""
    wild = np.array([0.0, -0.0, 1e308, -1e308, 1e200, 1e-300, 5e-324, np.inf, -np.inf, np.nan])
    observed, members = rows.observed.copy(), rows.members.copy()
    for array in (observed, members):
        places = random.random(array.shape) < 0.05
        array[places] = random.choice(wild, size=int(places.sum()))
    return replace(rows, observed=observed, members=members)


def assert_alike(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], share: float = 1e-9) -> None:
    """Whole numbers and decisions exactly, others to a share of the largest of their kind."""
    for name, array in expected.items():
        if array.dtype.kind != "f":
            np.testing.assert_array_equal(found[name], array, err_msg=name)
            continue
        size = np.abs(array[np.isfinite(array)]).max(initial=0.0)
        np.testing.assert_allclose(found[name], array, rtol=share, atol=1e-3 * share * min(size, 1e3), err_msg=name)


def named(*results: ScoredRound | WeighedRound) -> dict[str, np.ndarray]:
    return {f"{type(result).__name__}.{name}": array for result in results for name, array in result._asdict().items()}
