"""Which columns are so far from their usual values that another unit or scale is more likely than a measurement.

Pure NumPy over many series at once. A young series is compared with what a model has learned from. Single glitches
are left out and not learned from; a level that stays raises one alert, and is learned as usual from then on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, Self

import numpy as np

from driftline.arrays import Floats, Ints, Mask, Over
from driftline.messages import Alert, Record
from driftline.models.manifest import UsualValues
from driftline_inference.sensor_health import HUGE, STAYS
from driftline_kernels import address, kernel

ABSURD = 100.0
"""Usual deviations from the usual value, from which on a value is hardly of the same unit."""
FURTHER = 3.0
"""It must be so many times as far away as any value before: what has been still for long may move again."""
KNOWN = 1000
"""Values until what is usual is known: what a sensor does now and then has been seen by then."""
MEMORY = 0.002
"""Of what is usual: about the last 500 records."""
FORGETTING = 1e-4
"""What was the furthest is forgotten so slowly, for each record."""
JUDGE = kernel("plausibility_judge", "pnnppppp")


SEEN, LEVEL, SQUARE, FURTHEST, ABSURD_RUN = range(5)
"""What is kept of a column: how many values it was learned from, their moving average, the moving mean square of the
distance from it, the largest distance, slowly forgotten, and for how many values it has been absurd."""


@dataclass(frozen=True)
class Usual:
    """What is usual of every column; one row ("slot") a series."""

    kept: Annotated[Floats, Over("columns", 5)]
    """[slots, columns, 5]: SEEN, LEVEL, SQUARE, FURTHEST, ABSURD_RUN. One array, so that it is read and written once
    for each record."""

    @classmethod
    def empty(cls, slots: int, columns: int) -> Self:
        return cls(np.zeros((slots, columns, 5)))


class Distances(NamedTuple):
    """deviations: [n, columns] usual deviations from what is usual where that is worth an alert, otherwise 0. level:
    [n, columns] what was usual before the record."""

    deviations: Floats
    level: Floats

    @property
    def alerting(self) -> Ints:
        """Which of the n records have an alert."""
        return np.flatnonzero(self.deviations.any(axis=1))


class LearnedFrom(NamedTuple):
    """[columns] each: what was usual in the records that a model has learned from; NaN where that is not known."""

    level: Floats
    square: Floats
    furthest: Floats

    @classmethod
    def of(cls, columns: Sequence[str], usual: Mapping[str, UsualValues]) -> Self:
        unknown = UsualValues(np.nan, np.nan, np.nan)
        known = [usual.get(name, unknown) for name in columns]
        rows = np.array([(column.level, column.deviation**2, column.furthest) for column in known])
        return cls(*rows.reshape(-1, 3).T)


def judge(usual: Usual, slots: Ints, values: Floats, trained: LearnedFrom | None = None) -> Distances:
    """Takes in one record of each of n different series. values: [n, columns], NaN where missing. trained: for series
    that are too young to have anything usual of their own. Changes `usual` in place."""
    if JUDGE is not None:
        return _judge_in_sequence(usual, slots, values, trained)
    kept = usual.kept[slots]
    seen, level, square, furthest = (kept[..., part] for part in (SEEN, LEVEL, SQUARE, FURTHEST))
    # NaN where a value is missing; it compares as false with everything.
    own = np.minimum(np.abs(values - level), HUGE)
    is_young = seen < KNOWN
    if trained is None or not is_young.any():
        base, distance, spread, bound = level.copy(), own, np.where(is_young, 0.0, square), furthest
    else:
        base = np.where(is_young, trained.level, level)
        distance = np.minimum(np.abs(values - base), HUGE)
        spread = np.where(is_young, trained.square, square)
        bound = np.where(is_young, np.maximum(furthest, trained.furthest), furthest)
    # Without any deviation so far nothing is usual: a rain gauge may have been dry since it was put up.
    absurd = (distance > FURTHER * bound) & (distance**2 > ABSURD**2 * spread) & (spread > 0)
    alerting = _alerting(kept, values, absurd)
    learned = np.isfinite(values) & (~absurd | alerting)
    memory = np.where(learned, np.maximum(MEMORY, 1.0 / (seen + 1.0)), 0.0)
    values, own = np.where(learned, values, level), np.where(learned, own, 0.0)
    # The first value is what it is compared with.
    own[seen == 0] = 0.0
    # Once it has raised an alert it is as far as a value may be.
    reached = np.where(alerting, distance, own)
    kept[..., LEVEL] = level + memory * (values - level)
    kept[..., SQUARE] = square + memory * (own * own - square)
    kept[..., FURTHEST] = np.maximum(furthest * (1 - FORGETTING * learned), reached)
    kept[..., SEEN] = seen + learned
    usual.kept[slots] = kept
    deviations = np.zeros_like(distance)
    if alerting.any():
        deviations[alerting] = distance[alerting] / np.sqrt(spread[alerting])
    return Distances(deviations, base)


def _judge_in_sequence(usual: Usual, slots: Ints, values: Floats, trained: LearnedFrom | None) -> Distances:
    """In C, one record after the other: a series may have several."""
    assert JUDGE is not None  # noqa: S101
    slots, values = np.ascontiguousarray(slots, dtype=np.int64), np.ascontiguousarray(values, dtype=np.float64)
    distances = Distances(np.empty(values.shape), np.empty(values.shape))
    known = None if trained is None else np.stack(trained)
    results = address(distances.deviations), address(distances.level)
    learned_from = None if known is None else address(known)
    JUDGE(address(usual.kept), values.shape[1], len(slots), address(slots), address(values), learned_from, *results)
    return distances


def _alerting(kept: Floats, values: Floats, absurd: Mask) -> Mask:
    """Where a stretch of absurd values is long enough. A missing value neither ends it nor makes it longer."""
    run = kept[..., ABSURD_RUN]
    if not absurd.any() and not run.any():
        return absurd
    run = np.where(absurd, run + 1, np.where(np.isnan(values), run, 0.0))
    alerting = absurd & (run >= STAYS)
    kept[..., ABSURD_RUN] = np.where(alerting, 0.0, run)
    return alerting


def scale_alerts(
    names: Sequence[str], levels: Sequence[int], record: Record, distances: Distances, row: int
) -> list[Alert]:
    """The alerts of the `row`th record. levels: which columns are no angles."""
    return [
        Alert(
            record.stream,
            record.key,
            record.t,
            "scale",
            names[column],
            _sentence(names, distances, record, row, column),
        )
        for column in levels
        if distances.deviations[row, column]
    ]


def _sentence(names: Sequence[str], distances: Distances, record: Record, row: int, column: int) -> str:
    name = names[column]
    far, level = distances.deviations[row, column], distances.level[row, column]
    return (
        f"{name} is {record.values[name]:.4g}, {far:,.0f} usual deviations from its usual {level:.4g}, for {STAYS} "
        "values: its unit, or its `scale` in the definition, may be wrong"
    )
