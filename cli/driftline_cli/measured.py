"""Which columns of a file can be forecast and learned from, and which are directions. Pure."""

import re
from dataclasses import dataclass

import numpy as np

from driftline.arrays import Floats
from driftline.errors import InvalidInput
from driftline_cli.columns_seen import NUMBER, Column, NumberColumn, OtherColumn, Survey, TextColumn
from driftline_cli.directions import turns
from driftline_cli.timeline import Timeline

LEAST_KNOWN = 0.05
"""Share of the records in which a column must have a value."""
FEW = 20
MOST_FEATURES = 12
"""Every further column costs time with every record, and most say the same again."""
COMPARED = 100_000
"""Steps from which it is judged which columns move together."""
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
MOSTLY = 0.5
KINDS = {"null": "is empty", "binary": "is text that is not UTF-8"}
"""In words, kinds that Arrow names otherwise."""
MISSING = frozenset({"NaN", "nan", "NA", "N/A", "n/a", "#N/A", "NULL", "null", "-nan"})
"""Texts that Arrow takes for a missing number."""


@dataclass(frozen=True)
class Measured:
    """usable: by name the columns that may be forecast. left: by name why another one can't be."""

    usable: dict[str, NumberColumn]
    left: dict[str, str]


def measured(survey: Survey, line: Timeline, *, brief: bool = False) -> Measured:
    """All columns but time and key, apart. brief: whether a number that does not change counts, since little was seen.
    Raises InvalidInput when none can be forecast."""
    used = {line.time, line.key, *line.other_times}
    reasons = {column.name: _reason(column, brief=brief) for column in survey.columns if column.name not in used}
    usable = {column.name: column for column in survey.numbers if reasons.get(column.name, "") is None}
    left = {name: reason for name, reason in reasons.items() if reason is not None}
    if not usable:
        why = "; ".join(f"{name!r} {reason}" for name, reason in left.items()) or f"only {survey.names}"
        raise InvalidInput(f"{survey.source}: found no column to forecast, expected numbers that change: {why}")
    return Measured(usable, left)


def target_of(columns: Measured, name: str, source: str) -> NumberColumn:
    """The column `name`. Raises InvalidInput that says why it can't be forecast, and what can."""
    if name in columns.usable:
        return columns.usable[name]
    what = f"{name!r} {columns.left[name]}" if name in columns.left else f"no column {name!r} of measured values"
    raise InvalidInput(f"{source}: found that {what}, expected as target one of: {', '.join(columns.usable)}")


def features(columns: Measured, target: NumberColumn, line: Timeline) -> tuple[list[NumberColumn], dict[str, str]]:
    """The columns to learn from, in the file's order, and why others are left out."""
    kept: dict[str, NumberColumn] = {}
    left: dict[str, str] = {}
    seen = {target.values.tobytes(): target.name}
    for name, column in columns.usable.items():
        if name == target.name:
            continue
        # A few values are the same by chance.
        same = seen.setdefault(column.values.tobytes(), name) if len(column.values) >= FEW else name
        if same != name:
            left[name] = f"the same as {same}"
        elif only_grows(column, line):
            left[name] = "only grows, as a counter does"
        else:
            kept[name] = column
    by_nearness = sorted(kept, key=lambda name: _together(kept[name], target, line), reverse=True)
    further = set(by_nearness[MOST_FEATURES:])
    why = f"moves less with {target.name} than the {MOST_FEATURES} that are taken"
    left |= {name: why for name in kept if name in further}
    return [column for name, column in kept.items() if name not in further], left


def is_angle(column: NumberColumn, line: Timeline) -> bool:
    """Whether it looks like a direction in degrees."""
    return turns(column.values[np.isfinite(column.values)], _steps(column, line))


def only_grows(column: NumberColumn, line: Timeline) -> bool:
    """Whether no value is less than the one before it, as of a counter."""
    steps = _steps(column, line)
    return bool(len(steps) >= FEW and np.all(steps >= 0))


def _reason(column: Column, *, brief: bool) -> str | None:
    """Why a column is nothing to forecast; None for one that is."""
    if not column.name:
        return "has no name"
    match column:
        case TextColumn(samples=samples):
            return _text(samples)
        case OtherColumn(kind=kind):
            return KINDS.get(kind, f"holds {kind}")
        case NumberColumn():
            return _number(column, brief=brief)
    return "holds times that can't be used"


def _text(samples: tuple[str, ...]) -> str:
    if not samples:
        return "is empty"
    if all(map(DECIMAL_COMMA.fullmatch, samples)):
        return f"has decimal commas ({samples[0]}), expected points where commas separate the columns"
    numbers = [text in MISSING or NUMBER.fullmatch(text) is not None for text in samples]
    if np.mean(numbers) >= MOSTLY and not all(numbers):
        text = samples[numbers.index(False)]
        return f"has texts among its numbers ({text!r}), which a definition may map (`columns`, `missing`)"
    return f"is text ({samples[0]!r})"


def _number(column: NumberColumn, *, brief: bool) -> str | None:
    values = column.values
    known = np.isfinite(values)
    if not known.any():
        return "is empty"
    counts = column.whole and len(values) > 2 and np.all(np.diff(values) == 1)  # noqa: PLR2004 - two may by chance
    if brief:
        return "counts the rows" if counts else None
    if known.mean() < LEAST_KNOWN:
        return f"has a value in only {known.sum():,} of {len(values):,} records"
    low, high = float(values[known].min()), float(values[known].max())
    if low == high:
        return f"never changes ({low:g})"
    return "counts the rows" if counts else None


def _steps(column: NumberColumn, line: Timeline) -> Floats:
    """Changes from a record of a series to its next, where both are known."""
    steps: Floats = np.diff(column.values[line.order])[line.same]
    return steps[np.isfinite(steps)]


def _together(column: NumberColumn, target: NumberColumn, line: Timeline) -> float:
    """How much the two columns' changes go together: their correlation without its sign."""
    steps: Floats = np.stack([np.diff(part.values[line.order])[line.same] for part in (column, target)])[:, :COMPARED]
    steps = steps[:, np.isfinite(steps).all(axis=0)]
    if steps.shape[1] < 2 or (steps.std(axis=1) == 0).any():  # noqa: PLR2004
        return 0.0
    return float(abs(np.atleast_2d(np.corrcoef(steps))[0, 1]))
