"""Scores what the combiner published: every row on the same records, against the truth that came later. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats
from driftline.members import PERSISTENCE
from driftline.messages import Blend
from driftline.scoring import PUBLISHED, rmse, skill
from driftline.streams.definition import StreamDefinition

RARE = 0.9
"""A member that forecast less than this share of the records (a model that came late, one that needs a week behind it)
is scored on its own records and does not narrow the others'."""


class Score(msgspec.Struct, frozen=True):
    """Errors in the target's units; `skill` is 1 - RMSE / RMSE(persistence) on the same `n` records."""

    rmse: float
    mae: float
    skill: float
    n: int


class WindowScore(msgspec.Struct, frozen=True):
    """RMSE per row over one stretch of the run. Times in milliseconds since the epoch."""

    start: int
    end: int
    rmse: dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What was forecast for one horizon and what came, in order of time over all keys.

    t: [n] when it was forecast. truth: [n]. forecasts: per row name [n]. NaN: nothing was forecast, or no truth came.
    """

    keys: npt.NDArray[np.str_]
    t: npt.NDArray[np.int64]
    truth: Floats
    forecasts: Mapping[str, Floats]
    lower: Floats
    """[n]: the ends of the 90 % interval."""
    upper: Floats


def outcome(blends: Iterable[Blend], index: int, stream: StreamDefinition | None = None) -> Outcome:
    """Pairs what was forecast for the `index`th horizon with the truth of the time that it was forecast for, of the
    same key. Of several blends of one time on the grid the last one counts. stream: truths are brought into its range,
    as the combiner does."""
    series: dict[str, dict[int, Blend]] = {}
    for blend in blends:
        series.setdefault(blend.key, {})[_grid_t(blend)] = blend
    ordered = [[of_key[t] for t in sorted(of_key)] for of_key in series.values()]
    flat = [blend for of_key in ordered for blend in of_key]
    truth = np.concatenate([_truths(of_key, index) for of_key in ordered]) if flat else np.empty(0)
    if stream is not None:
        truth = stream.within(truth)
    names = dict.fromkeys(name for blend in flat for name in (*blend.members, *blend.strategies))
    forecasts = {name: _column([_forecast(blend, name, index) for blend in flat]) for name in names}
    forecasts[PUBLISHED] = _column([blend.value[index] for blend in flat])
    t = np.array([blend.t for blend in flat], dtype=np.int64)
    order = np.argsort(t, kind="stable")
    keys = np.array([blend.key for blend in flat], dtype=np.str_)
    lower, upper = (_column([_end(ends, index) for ends in all_ends]) for all_ends in _ends(flat))
    ordered_rows = {name: row[order] for name, row in forecasts.items()}
    return Outcome(keys[order], t[order], truth[order], ordered_rows, lower[order], upper[order])


def _ends(blends: list[Blend]) -> tuple[list[list[float | None]], list[list[float | None]]]:
    return [blend.lower for blend in blends], [blend.upper for blend in blends]


def _end(ends: list[float | None], index: int) -> float | None:
    """An older blend has none."""
    return ends[index] if ends else None


def _truths(blends: list[Blend], index: int) -> Floats:
    observed = {_grid_t(blend): blend.observed for blend in blends}
    # A blend of a former release does not say what it is for.
    return _column([observed.get(blend.times[index]) if blend.times else None for blend in blends])


def _grid_t(blend: Blend) -> int:
    return blend.t if blend.grid_t is None else blend.grid_t


def _forecast(blend: Blend, name: str, index: int) -> float | None:
    values = blend.members.get(name) or blend.strategies.get(name)
    return values[index] if values else None


def _column(values: list[float | None]) -> Floats:
    return np.array(values, dtype=np.float64)


def common(scored: Outcome) -> npt.NDArray[np.bool_]:
    """[n]: the records on which every row, but the rare ones, can be scored."""
    mask = np.isfinite(scored.truth)
    expected = mask & np.isfinite(scored.forecasts[PERSISTENCE])
    for row in scored.forecasts.values():
        known = np.isfinite(row)
        if known[expected].sum() >= RARE * expected.sum():
            mask &= known
    return mask


def scores(scored: Outcome) -> dict[str, Score]:
    """Per row its score, the published blend last."""
    if not len(scored.t):
        return {}
    mask = common(scored)
    return {name: _score(scored, row, mask & np.isfinite(row)) for name, row in scored.forecasts.items()}


def _score(scored: Outcome, row: Floats, mask: npt.NDArray[np.bool_]) -> Score:
    if not mask.any():
        return Score(float("nan"), float("nan"), float("nan"), 0)
    truth = scored.truth[mask]
    error, persistence = rmse(row[mask], truth), rmse(scored.forecasts[PERSISTENCE][mask], truth)
    mae = float(np.mean(np.abs(row[mask] - truth)))
    return Score(error, mae, skill(error, persistence), int(mask.sum()))


def windows(scored: Outcome, size: int) -> list[WindowScore]:
    """RMSE per row over each stretch of `size` scored records."""
    places = np.flatnonzero(common(scored)) if len(scored.t) else np.empty(0, dtype=np.int64)
    parts = [places[i : i + size] for i in range(0, len(places), size)]
    return [
        WindowScore(
            int(scored.t[part[0]]),
            int(scored.t[part[-1]]),
            {name: rmse(row[part], scored.truth[part]) for name, row in scored.forecasts.items()},
        )
        for part in parts
    ]
