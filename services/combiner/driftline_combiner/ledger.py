"""What the combiner remembers of every series: what was forecast, how wrong it was, and what was learned from it.

Pure NumPy; one row ("slot") a series. Errors are prequential: forecast first, scored when the truth arrives.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from driftline.definition import STRATEGIES
from driftline.features import Floats, Ints
from driftline.members import MEMBERS
from driftline_combiner import weights as strategies

M, S = len(MEMBERS), len(STRATEGIES)
ROWS = (*MEMBERS, *STRATEGIES)
"""Everything that is scored."""
ONLINE = STRATEGIES.index("online")
WINDOW = STRATEGIES.index("window")
REFIT_EVERY = 10
"""Records between two fits of the window strategy."""
RECENT = 0.01
"""Memory of the recent errors: about the last 100 records."""
SCALE_MEMORY = 0.002
CUT = 5.0
"""Errors are cut at so many times their usual size before anything is learned from them: a glitch is no lesson."""


@dataclass(frozen=True)
class Ledger:
    """The state of all series."""

    count: Ints
    """[slots]: records seen."""
    members: Floats
    """[slots, longest horizon, horizons, members]: what was forecast, until its truth comes; a ring."""
    blends: Floats
    """[slots, longest horizon, horizons, strategies]: what every strategy made of it; a ring."""
    errors: Floats
    """[slots, window, horizons, members]: the newest errors; a ring; NaN where there is none."""
    fitted: Floats
    """[slots, horizons, members]: weights of the window strategy."""
    regret: Floats
    """[slots, horizons, members]: of the online strategy."""
    second: Floats
    """[slots, horizons, members]: sum of its squared regrets."""
    bound: Floats
    """[slots, horizons, 1]: largest of them."""
    scale: Floats
    """[slots, horizons]: moving mean square of the online strategy's error; NaN before the first."""
    scored: Floats
    """[slots, horizons, rows]: records on which the row and persistence were scored."""
    squared: Floats
    """[slots, horizons, rows]: sum of squared errors on them."""
    absolute: Floats
    """[slots, horizons, rows]: sum of absolute errors on them."""
    naive: Floats
    """[slots, horizons, rows]: sum of persistence's squared errors on the same records."""
    recent: Floats
    """[slots, horizons, rows]: moving mean square error."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], window: int) -> Self:
        horizons, longest, rows = len(horizon), max(horizon), len(ROWS)
        return cls(
            count=np.zeros(slots, dtype=np.int64),
            members=np.full((slots, longest, horizons, M), np.nan),
            blends=np.full((slots, longest, horizons, S), np.nan),
            errors=np.full((slots, window, horizons, M), np.nan),
            fitted=np.zeros((slots, horizons, M)),
            regret=np.zeros((slots, horizons, M)),
            second=np.zeros((slots, horizons, M)),
            bound=np.zeros((slots, horizons, 1)),
            scale=np.full((slots, horizons), np.nan),
            scored=np.zeros((slots, horizons, rows)),
            squared=np.zeros((slots, horizons, rows)),
            absolute=np.zeros((slots, horizons, rows)),
            naive=np.zeros((slots, horizons, rows)),
            recent=np.full((slots, horizons, rows), np.nan),
        )


@dataclass(frozen=True)
class Scored:
    """What a round of truths told. error: [n, horizons, rows]; scale: [n, horizons] the usual error before it."""

    error: Floats
    scale: Floats


def score(ledger: Ledger, steps: Ints, slots: Ints, truth: Floats) -> Scored:
    """Compares the truths of n series with what was forecast `steps` records ago, and learns from it.

    steps: [horizons]. slots: [n], each at most once. truth: [n], NaN where it is missing. Changes `ledger` in place.
    """
    count = ledger.count[slots]
    rows = slots[:, None]
    then = (count[:, None] - steps) % ledger.members.shape[1]
    each = np.arange(len(steps))
    forecast = np.concatenate([ledger.members[rows, then, each], ledger.blends[rows, then, each]], axis=2)
    error = forecast - truth[:, None, None]
    window = ledger.errors.shape[1]
    ledger.errors[slots, count % window] = error[:, :, :M]
    scale = ledger.scale[slots]
    _learn_online(ledger, slots, error, scale)
    _tally(ledger, slots, error)
    due = slots[(count % REFIT_EVERY == 0) & (count > 0)]
    if len(due):
        ledger.fitted[due] = _fit(ledger.errors[due])
    return Scored(error, scale)


def _learn_online(ledger: Ledger, slots: Ints, error: Floats, scale: Floats) -> None:
    published = error[:, :, M + ONLINE]
    limit = CUT * np.sqrt(np.where(np.isnan(scale), np.inf, scale))
    cut = np.clip(published, -limit, limit)
    distance = np.clip(published[..., None] - error[:, :, :M], -limit[..., None], limit[..., None])
    regret, second, bound = strategies.online_learn(
        ledger.regret[slots], ledger.second[slots], ledger.bound[slots], gradient=cut[..., None], distance=distance
    )
    ledger.regret[slots], ledger.second[slots], ledger.bound[slots] = regret, second, bound
    known = np.isfinite(published)
    square = np.where(scale > 0, np.minimum(published**2, (2 * CUT) ** 2 * scale), published**2)
    memory = np.maximum(SCALE_MEMORY, 1.0 / (ledger.count[slots][:, None] + 1.0))
    moved = np.where(np.isnan(scale), square, scale + memory * (square - scale))
    ledger.scale[slots] = np.where(known, moved, scale)


def _tally(ledger: Ledger, slots: Ints, error: Floats) -> None:
    naive = error[:, :, :1]
    known = np.isfinite(error) & np.isfinite(naive)
    square = np.where(known, error**2, 0.0)
    ledger.scored[slots] += known
    ledger.squared[slots] += square
    ledger.absolute[slots] += np.where(known, np.abs(error), 0.0)
    ledger.naive[slots] += np.where(known, naive**2, 0.0)
    recent = ledger.recent[slots]
    started = np.where(np.isnan(recent), square, recent)
    ledger.recent[slots] = np.where(known, started + RECENT * (square - started), recent)


def _fit(errors: Floats) -> Floats:
    """errors: [n, window, horizons, members]. Returns [n, horizons, members]."""
    n, window, horizons, members = errors.shape
    stacked = np.swapaxes(errors, 1, 2).reshape(n * horizons, window, members)
    return strategies.fit_window(stacked).reshape(n, horizons, members)


def weigh(ledger: Ledger, slots: Ints, forecasts: Floats, static: Floats) -> tuple[Floats, Floats]:
    """Blends what was forecast now. forecasts: [n, horizons, members], NaN for who sits out; static: [members].

    Returns the weights, [n, horizons, strategies, members], and the blends, [n, horizons, strategies], and remembers
    both forecasts and blends until their truths come.
    """
    present = np.isfinite(forecasts)
    rate = strategies.rate(ledger.second[slots], ledger.bound[slots])
    by_strategy = {
        "static": strategies.normalised(np.broadcast_to(static, forecasts.shape), present),
        "window": strategies.normalised(ledger.fitted[slots], present),
        "online": strategies.online_weights(ledger.regret[slots], rate, present),
    }
    weights = np.stack([by_strategy[name] for name in STRATEGIES], axis=2)
    blends = strategies.blend(weights, forecasts[:, :, None, :], present[:, :, None, :])
    now = ledger.count[slots] % ledger.members.shape[1]
    ledger.members[slots, now] = forecasts
    ledger.blends[slots, now] = blends
    ledger.count[slots] += 1
    return weights, blends
