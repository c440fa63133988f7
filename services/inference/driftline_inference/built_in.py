"""The members that need no training: persistence, seasons, and the filters, which learn with every record. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from driftline.arrays import TINY, Floats, Ints, Mask, clipped
from driftline.members import MODELS, PERSISTENCE, RLS, SEASONAL, STACK, WEEKLY
from driftline.streams.features import Inputs
from driftline.streams.layout import CLIP, Layout
from driftline_inference.rls import ArrivedRows, follow
from driftline_inference.state import ForecastTables


@dataclass(frozen=True)
class Turn:
    """One round of a batch. rows: where its records are in the rounds' order; slots: [n], each once where a round holds
    at most one record of each series."""

    rows: slice
    slots: Ints
    tick: Ints
    """[n]: see `driftline.streams.grid`."""
    truth: Floats
    """[n]: the target's value, NaN where it is missing or its tick had one before."""
    reporting: Mask
    """[n]: whether its forecasts say what the models' hold-outs reported, see
    `driftline_inference.record_intake.SKILLS_EVERY`."""


def forecast_built_in(
    tables: ForecastTables, layout: Layout, turns: Sequence[Turn], inputs: Inputs, models: Mapping[str, Floats]
) -> dict[str, Floats]:
    """[n, horizons] of each, in the target's units. Round by round: the filters learn from the truth that the round
    brought, then forecast. models: what the networks forecast. `tables` are changed in place."""
    terms = np.concatenate([inputs.rls, _stacked(inputs, models, layout.steps)], axis=2)
    filtered: list[tuple[Floats, Floats]] = []
    for turn in turns:
        own = terms[turn.rows], inputs.last[turn.rows], inputs.scale[turn.rows]
        arrived = ArrivedRows(turn.slots, turn.tick, turn.truth, *own)
        filtered.append(follow(tables.waiting, tables.rls, tables.stack, layout.steps, arrived))
    alone, over_models = (np.concatenate(parts) for parts in zip(*filtered, strict=True))
    members = {
        PERSISTENCE: np.repeat(inputs.last[:, None], len(layout.steps), axis=1),
        RLS: alone,
        # Over no models it is the plain filter.
        STACK: np.where(np.isnan(over_models), alone, over_models),
    }
    if layout.day:
        members[SEASONAL] = inputs.daily
    if layout.week:
        members[WEEKLY] = inputs.weekly
    return members


def _stacked(inputs: Inputs, models: Mapping[str, Floats], steps: Ints) -> Floats:
    """[n, horizons, models] in usual steps: how far the models say in the mean that the target moves, then how far each
    of them but the last is from that; NaN where none forecasts. The stack begins as the first of these: as the models'
    mean, whoever of them is there."""
    if not models:
        return np.full((*inputs.rls.shape[:2], len(MODELS)), np.nan)
    absent = np.full(inputs.rls.shape[:2], np.nan)
    moves = np.stack([models.get(name, absent) for name in MODELS], axis=2) - inputs.last[:, None, None]
    present = np.isfinite(moves)
    count = present.sum(axis=2, keepdims=True)
    with np.errstate(invalid="ignore"):
        mean = np.where(present, moves, 0.0).sum(axis=2, keepdims=True) / count
    terms = np.concatenate([mean, np.where(present, moves - mean, 0.0)[:, :, :-1]], axis=2)
    unit = np.maximum(inputs.scale, TINY)[:, None, None]
    furthest = CLIP * np.sqrt(steps)[:, None]
    stacked: Floats = np.where(count > 0, clipped(terms / unit, -furthest, furthest), np.nan)
    return stacked
