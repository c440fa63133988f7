"""The weights as they stand, and the blends that they give. Pure NumPy."""

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline_combiner import weights as strategies
from driftline_combiner.ledger import MEMBER_COUNT, ONLINE, STATIC, STRATEGY_COUNT, WINDOW, Ledger
from driftline_combiner.weighting_rules import Rules

ALONE = np.eye(MEMBER_COUNT)[0]
"""Persistence's weights."""


def weigh(ledger: Ledger, rules: Rules, slots: Ints, forecasts: Floats) -> tuple[Floats, Floats]:
    """Blends what was forecast now. forecasts: [n, horizons, members], NaN for who sits out.

    Returns the weights, [n, horizons, strategies + 1, members], and the blends, [n, horizons, strategies + 1], what is
    published last, and remembers both forecasts and blends until their truths come.
    """
    present = np.isfinite(forecasts)
    weights = current_weights(ledger, rules, slots, present)
    blends = strategies.blend(weights, forecasts[:, :, None, :], present[:, :, None, :])
    # Where `driftline_combiner.prequential.score` looks for it.
    rows, now = slots[:, None], rules.rings.places(ledger.tick[slots, None])
    ledger.members[rows, now] = forecasts
    ledger.blends[rows, now] = blends
    ledger.count[slots] += 1
    return weights, blends


def current_weights(ledger: Ledger, rules: Rules, slots: Ints, present: Mask) -> Floats:
    """[n, horizons, strategies + 1, members]: the weights as they stand for who is present; see `weigh`."""
    rate = strategies.rate(ledger.second[slots], ledger.bound[slots])
    first, trust = ledger.first[slots], ledger.trust[slots]
    # All at once, the published ones included: their row is filled in last.
    weights = np.empty((*present.shape[:2], STRATEGY_COUNT + 1, MEMBER_COUNT))
    weights[:, :, STATIC], weights[:, :, WINDOW] = rules.static, ledger.fitted[slots]
    weights[:, :, ONLINE], weights[:, :, -1] = strategies.learned(ledger.regret[slots], rate), first
    weights = strategies.normalised(weights, present[:, :, None])
    weights[:, :, ONLINE] = strategies.mixed(weights[:, :, ONLINE], weights[:, :, -1], first, trust, present)
    # Without a forecast of persistence there is nothing to fall back on.
    falls_back = ledger.guarded[slots, :, None] & present[:, :, :1]
    weights[:, :, -1] = np.where(falls_back, ALONE, weights[:, :, rules.active])
    return weights


def newest_weights(ledger: Ledger, rules: Rules, slots: Ints) -> tuple[Floats, Mask]:
    """The weights of n series, [n, horizons, strategies + 1, members], and who forecast last, [n, horizons,
    members]."""
    now = rules.rings.places(ledger.tick[slots, None])
    present = np.isfinite(ledger.members[slots[:, None], now])
    return current_weights(ledger, rules, slots, present), present
