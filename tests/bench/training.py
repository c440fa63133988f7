"""`make bench-training`: a batch model from 10 million records, and what memory its training takes.

Prints the figures and writes them into docs/models.md.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer.fit import Task, Trained
from driftline_trainer.process import TrainingProcess
from tests.bench.page import write_part
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "models.md"
KEYS = 100
RECORDS = 100_000
"""Of each key."""
PERIOD_MS = 600_000
BAR_MB = 2000.0
STREAM = StreamDefinition.model_validate(
    {
        "name": "many",
        "time": {"column": "time", "period": "10min"},
        "key": "sensor",
        "target": "load",
        "features": {"temperature": "level", "wind": "angle"},
        "horizon": [1, 6, 36],
    }
)


def history(keys: int, records: int, seed: int = 0) -> Rows:
    """Daily and weekly courses with noise that lasts, all keys in turn, as a table in order of time has them."""
    random = np.random.default_rng(seed)
    n = np.arange(records)
    values = np.empty((records, keys, len(STREAM.columns)))
    for key in range(keys):
        walk = 0.1 * np.cumsum(random.normal(size=records)) + random.normal(size=records)
        day, week = np.sin(2 * np.pi * n / 144 + key), np.sin(2 * np.pi * n / 1008)
        values[:, key, 0] = 10 * day + 5 * week + walk
        values[:, key, 1] = 15 + 8 * day + random.normal(size=records)
        values[:, key, 2] = (180 + 30 * week + 5 * walk) % 360
    names = np.array([f"sensor-{key:03d}" for key in range(keys)])
    return Rows(np.tile(names, records), np.repeat(n * PERIOD_MS, keys), values.reshape(records * keys, -1))


@dataclass(frozen=True)
class Measured:
    """peak: MB of the child that trains, TensorFlow included; seconds: from handing over the rows to the model."""

    trained: Trained
    before: float
    peak: float
    seconds: float


async def run(rows: Rows) -> Measured:
    process = TrainingProcess()
    try:
        # The import of TensorFlow is no part of the time; its memory is part of the peak.
        await process.train(Task(STREAM, rows.take(slice(-KEYS * 1000, None))))
        before = peak_mb(process.pid)
        began = time.perf_counter()
        # With short keys, as the trainer hands them over.
        trained = await process.train(Task(STREAM, rows.with_short_keys()))
        return Measured(trained, before, peak_mb(process.pid), time.perf_counter() - began)
    finally:
        process.close()


def peak_mb(pid: int | None) -> float:
    """The most that lay in a process's memory so far."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024 / 1e6


TEXT = """{rows:,} records ({keys} keys, {columns} columns, {horizons} horizons), `training` at its defaults:

| what | measured | bar |
|---|---|---|
| peak memory of the training process, TensorFlow included | {peak:,.0f} MB | {bar:,.0f} MB |
| the same process after it trained from {small:,} records | {before:,.0f} MB |  |
| rows that were learned from, of so many | {used:,} of {all:,} |  |
| time | {seconds:.0f} s |  |
"""


def render(measured: Measured) -> str:
    return TEXT.format(
        rows=KEYS * RECORDS,
        keys=KEYS,
        columns=len(STREAM.columns),
        horizons=len(STREAM.horizon),
        peak=measured.peak,
        bar=BAR_MB,
        before=measured.before,
        small=KEYS * 1000,
        used=measured.trained.rows,
        all=measured.trained.sampled_from or measured.trained.rows,
        seconds=measured.seconds,
    )


def main() -> None:
    text = render(asyncio.run(run(history(KEYS, RECORDS))))
    write_part(PAGE, "bench-training", text)
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
