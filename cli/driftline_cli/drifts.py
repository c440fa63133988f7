"""Drifts to put upon recorded data: pure, seeded, the same for every key at the same time. Used by demo and backtest.

A drift adds to the target an offset in its own units, and moves the other columns in proportion to their deviation;
angles are left as they are, since turning a wind vane is no drift of its level.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.drift_kinds import Kind

DEVIATIONS = {"none": 0.0, "gradual": 2.0, "noise": 4.0, "step": 2.0, "recurring": 2.0}
"""Default magnitude in deviations of the target: on outdoor temperature about 15 degrees, 30 for noise, as in
arXiv 2205.04622 and its prototype."""
REGIMES = 6
"""Stretches of the recurring drift, every second of them moved."""


def apply(
    kind: Kind,
    rows: Rows,
    stream: StreamDefinition,
    *,
    history: Rows | None = None,
    magnitude: float | None = None,
    seed: int = 0,
) -> Rows:
    """`rows` with the drift. history: whose deviations are the measure, by default those of `rows`. magnitude: in the
    target's units, the largest offset; by default DEVIATIONS."""
    if kind == "none" or not len(rows):
        return rows
    measure = rows if history is None or not len(history) else history
    deviation = np.nanstd(measure.values, axis=0)
    size = DEVIATIONS[kind] * deviation[0] if magnitude is None else magnitude
    offset = size * SHAPES[kind](rows.t, np.random.default_rng(seed))
    proportion = deviation / deviation[0] if deviation[0] else np.ones_like(deviation)
    proportion[np.array(stream.angles)] = 0.0
    proportion[0] = 1.0
    return replace(rows, values=rows.values + offset[:, None] * proportion)


def marks(kind: Kind, t: Ints) -> list[int]:
    """The times, in milliseconds since the epoch, at which the drift changes abruptly."""
    if kind not in {"step", "recurring"} or not len(t):
        return []
    change = np.flatnonzero(np.diff(SHAPES[kind](np.unique(t), np.random.default_rng(0)))) + 1
    return [int(time) for time in np.unique(t)[change]]


def _progress(t: Ints) -> Floats:
    """[n] from 0 at the first time to 1 at the last."""
    progress: Floats = (t - t.min()) / max(1, int(t.max() - t.min()))
    return progress


def _gradual(t: Ints, _: np.random.Generator) -> Floats:
    """Rises linearly over the whole run, as in the paper."""
    return _progress(t)


def _noise(t: Ints, random: np.random.Generator) -> Floats:
    """A new offset in every row: what the paper's prototype calls abrupt."""
    offsets: Floats = random.uniform(0.0, 1.0, len(t))
    return offsets


def _step(t: Ints, _: np.random.Generator) -> Floats:
    """One true jump, halfway."""
    return (_progress(t) >= 0.5).astype(np.float64)  # noqa: PLR2004


def _recurring(t: Ints, _: np.random.Generator) -> Floats:
    """Two regimes in turn."""
    return (np.floor(_progress(t) * REGIMES) % 2).astype(np.float64)


SHAPES: dict[str, Callable[[Ints, np.random.Generator], Floats]] = {
    "gradual": _gradual,
    "noise": _noise,
    "step": _step,
    "recurring": _recurring,
}
