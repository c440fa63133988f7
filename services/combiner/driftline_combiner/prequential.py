"""Scores every forecast when its truth arrives, and learns from the error: prequential evaluation. Pure NumPy."""

from dataclasses import dataclass

import numpy as np

from driftline.arrays import TINY, Floats, Ints, clipped
from driftline_combiner import weights as strategies
from driftline_combiner.guard import guard
from driftline_combiner.ledger import MEMBER_COUNT, ONLINE, Ledger
from driftline_combiner.prior import update_prior
from driftline_combiner.weighting_rules import Rules
from driftline_combiner.weights import Grams

REFIT_EVERY = 10
"""Records between two fits of the window strategy, and between two looks at what the online one begins from ..."""
REFIT_FROM = 100
"""... which a young series looks at with every record."""
LONG_MEMORY = 0.0002
"""Of what the window strategy is shrunk towards: about the last 5,000 records."""
RECENT = 0.01
"""Memory of the recent errors: about the last 100 records."""
SCALE_MEMORY = 0.002
CUT = 5.0
"""Errors are cut at so many times their usual size before anything is learned from them: a glitch is no lesson."""
WILD = 100.0
"""A member's error is believed up to so many usual errors: it is bad beyond, by how much does not matter."""


@dataclass(frozen=True)
class Scored:
    """The errors of a round of truths. error: [n, horizons, rows]; scale: [n, horizons] the usual square before it."""

    error: Floats
    scale: Floats


def score(ledger: Ledger, rules: Rules, slots: Ints, tick: Ints, truth: Floats) -> Scored:
    """Compares the truths of n series with what was forecast `steps` periods before, and learns from it.

    slots: [n], each at most once. tick: [n] which the truths are of. truth: [n], NaN where it is missing. Changes
    `ledger` in place.
    """
    rows = slots[:, None]
    # Horizon i forecast this tick steps[i] periods ago. In a young series these places are still NaN, and an error of
    # NaN teaches nothing.
    then = rules.rings.places(tick[:, None] - rules.steps)
    forecast = np.concatenate([ledger.members[rows, then], ledger.blends[rows, then]], axis=2)
    error = forecast - truth[:, None, None]
    scale = ledger.scale[slots]
    # From before this record (`_learn_scale` comes later): a wild error must not widen its own limit.
    limit = CUT * np.sqrt(np.where(np.isnan(scale), np.inf, scale))[:, :, None]
    cut = clipped(error, -limit, limit)
    # Weights, scale and guard see limited errors; `_tally` counts them in full, since scores must be honest.
    mild = _mild(error, limit)
    _learn_window(ledger, rules, slots, mild[:, :, :MEMBER_COUNT])
    _learn_online(ledger, slots, error, limit)
    _learn_overlap(ledger, slots, cut[:, :, MEMBER_COUNT + ONLINE])
    count = ledger.count[slots]
    update_prior(ledger, rules, slots[(count % REFIT_EVERY == 0) | (count < REFIT_FROM)])
    _learn_scale(ledger, slots, error[:, :, MEMBER_COUNT + ONLINE])
    guard(ledger, rules, slots, mild)
    _tally(ledger, slots, error)
    return Scored(error, scale)


def _mild(error: Floats, limit: Floats) -> Floats:
    """[n, horizons, rows]: the errors in their proportions, made smaller where even the blend's is wild; cutting each
    by itself would make the worst look like the others."""
    blend = np.abs(error[:, :, MEMBER_COUNT + ONLINE, None])
    factor = np.where(blend > limit, limit / np.maximum(blend, TINY), 1.0)
    # `limit` is CUT usual errors, so this is WILD of them.
    furthest = WILD / CUT * limit
    milder: Floats = clipped(error * factor, -furthest, furthest)
    return milder


def _learn_window(ledger: Ledger, rules: Rules, slots: Ints, error: Floats) -> None:
    """error: [n, horizons, members]."""
    for table, memory in ((ledger.window, rules.memory), (ledger.long, LONG_MEMORY)):
        grams = Grams(table[slots, 0], table[slots, 1]).learned(error, memory)
        table[slots, 0], table[slots, 1] = grams.products, grams.counts
    # By each series' own count, so that it does not depend on where batches are cut.
    count = ledger.count[slots]
    due = slots[(count % REFIT_EVERY == 0) & (count > 0)]
    if len(due):
        ledger.fitted[due] = _fit(ledger.window[due], ledger.long[due])


def _fit(window: Floats, long: Floats) -> Floats:
    """[n, 2, horizons, members, members] each. Returns [n, horizons, members]."""
    n, _, horizons, members, _ = window.shape
    grams = [
        Grams(*(table[:, part].reshape(n * horizons, members, members) for part in (0, 1))) for table in (window, long)
    ]
    return strategies.fit_window(*grams).reshape(n, horizons, members)


def _learn_online(ledger: Ledger, slots: Ints, error: Floats, limit: Floats) -> None:
    published = error[:, :, MEMBER_COUNT + ONLINE, None]
    # The truth cancels out: how far the blend was from each member.
    distance = clipped(published - error[:, :, :MEMBER_COUNT], -limit, limit)
    gradient = clipped(published, -limit, limit)
    regret, second, bound = strategies.online_learn(
        ledger.regret[slots], ledger.second[slots], ledger.bound[slots], gradient=gradient, distance=distance
    )
    ledger.regret[slots], ledger.second[slots], ledger.bound[slots] = regret, second, bound


def _learn_overlap(ledger: Ledger, slots: Ints, error: Floats) -> None:
    """error: [n, horizons], the online strategy's, cut."""
    known = np.isfinite(error)
    news = np.where(known, error, 0.0)
    renewed = ledger.successive[slots]
    renewed[..., 1] += news * renewed[..., 0]
    renewed[..., 2] += news**2
    renewed[..., 0] = np.where(known, news, renewed[..., 0])
    ledger.successive[slots] = renewed


def _learn_scale(ledger: Ledger, slots: Ints, published: Floats) -> None:
    """published: [n, horizons], the online strategy's error."""
    scale = ledger.scale[slots]
    known = np.isfinite(published)
    # Once settled, one glitch raises the scale by a fifth at most; errors that stay large are soon usual.
    square = np.where(scale > 0, np.minimum(published**2, (2 * CUT) ** 2 * scale), published**2)
    memory = np.maximum(SCALE_MEMORY, 1.0 / (_age(ledger, slots) + 1.0))
    moved = np.where(np.isnan(scale), square, scale + memory * (square - scale))
    ledger.scale[slots] = np.where(known, moved, scale)


def _age(ledger: Ledger, slots: Ints) -> Ints:
    """[n, horizons]: records seen since the horizon is there."""
    age: Ints = ledger.count[slots][:, None] - ledger.since[slots]
    return age


def _tally(ledger: Ledger, slots: Ints, error: Floats) -> None:
    # Each row is compared with persistence on the records that both forecast, hence `naive` for every row.
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
