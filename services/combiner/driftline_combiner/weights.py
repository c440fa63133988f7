"""The weighting strategies: static, window and online. Pure NumPy over many series, horizons and members at once.

Arrays are [..., members]; a member that sits out is NaN in forecasts and False in `present`. Weights are in [0, 1] and
sum to 1 over the members that are present; where none is, they are all 0.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from driftline.arrays import TINY, Floats, Mask

RIDGE = 1e-3
"""Added to the Gram matrix, relative to its least diagonal entry: among equals, weights are spread."""
ENOUGH = 0.5
"""Share of the records of the member that was there most that a member must have forecast to be fitted."""
SHRINKAGE = 4000.0
"""Records that the long memory counts for in a fit: the longer the window next to it, the more the window counts."""
HOPELESS = 1e8
"""How many times the least mean squared error a member may have to be fitted: its weight would be lost in rounding."""


def normalised(raw: Floats, present: Mask) -> Floats:
    """`raw` (not negative) as weights of those present; alike for all where none of them has any."""
    kept = raw * present
    total = kept.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares: Floats = kept / total
    if (total > 0).all():
        return shares
    even = present / np.maximum(present.sum(axis=-1, keepdims=True), 1)
    return np.where(total > 0, shares, even)


def blend(weights: Floats, forecasts: Floats, present: Mask) -> Floats:
    """[...]: the weighted forecasts; NaN where nobody is present."""
    total: Floats = (weights * np.where(present, forecasts, 0.0)).sum(axis=-1)
    return np.where(present.any(axis=-1), total, np.nan)


@dataclass(frozen=True)
class Grams:
    """Products of the members' errors with each other, discounted. products, counts: [..., members, members]; counts
    says on how many records, discounted alike, a product rests."""

    products: Floats
    counts: Floats

    def learned(self, errors: Floats, memory: float) -> "Grams":
        """With one more record. errors: [..., members], NaN for who sat out: that pair keeps what it has."""
        known = np.isfinite(errors)
        pairs = known[..., :, None] & known[..., None, :]
        news = np.where(known, errors, 0.0)
        kept = np.where(pairs, 1.0 - memory, 1.0)
        return Grams(self.products * kept + news[..., :, None] * news[..., None, :], self.counts * kept + pairs)


def fit_window(window: Grams, long: Grams) -> Floats:
    """Weights on the simplex that minimise the squared error of a window (section III of arXiv 2205.04622), shrunk
    towards those of a long memory. Arrays are [n, members, members]. Returns [n, members].

    Since weights sum to 1, the blend's error is w'e, and the mean of its squares w'Gw with G the Gram matrix of the
    errors. The minimum on the simplex has some support on which it is G^-1 1 / (1' G^-1 1) with positive weights; all
    supports are tried at once. For two members that is the closed form
    clip(sum((y - b)(s - b)) / sum((s - b)^2), 0, 1).
    """
    own = np.einsum("nii->ni", long.counts)
    fitted = (own > 0) & (own >= ENOUGH * own.max(axis=1, keepdims=True))
    share = np.minimum(1.0, SHRINKAGE / np.maximum(long.counts, 1.0))
    gram = window.products + share * long.products
    counts = window.counts + share * long.counts
    return _simplex_argmin(gram / np.maximum(counts, TINY), fitted)


@cache
def _supports(members: int) -> Mask:
    """[2^members - 1, members]: all non-empty subsets."""
    return np.array(list(product((False, True), repeat=members))[1:])


def _simplex_argmin(gram: Floats, fitted: Mask) -> Floats:
    """[n, members]: argmin w'Gw on the simplex of the fitted members; alike for all where nothing is known."""
    members = gram.shape[-1]
    supports = _supports(members)
    diagonal = np.einsum("nii->ni", gram)
    least = np.where(fitted & (diagonal > 0), diagonal, np.inf).min(axis=1)
    known = np.isfinite(least)
    fitted = fitted & (diagonal <= HOPELESS * least[:, None])
    pairs = np.where(fitted[:, :, None] & fitted[:, None, :], gram, 0.0)
    scaled = pairs / np.where(known, least, 1.0)[:, None, None] + RIDGE * np.eye(members)
    inside = supports[:, :, None] & supports[:, None, :]
    systems = np.where(inside, scaled[:, None], np.eye(members))
    ones = np.broadcast_to(supports[..., None].astype(np.float64), (*systems.shape[:2], members, 1))
    solved = np.linalg.solve(systems, ones)[..., 0]
    total = solved.sum(axis=-1)
    feasible = (solved >= 0).all(axis=-1) & (total > 0) & (fitted[:, None, :] | ~supports).all(axis=-1)
    # On a support the minimum of w'Gw is 1 / (1' G^-1 1): the largest total wins.
    best = np.where(feasible, total, -np.inf).argmax(axis=1)
    rows = np.arange(len(gram))
    weights = solved[rows, best] / np.where(feasible[rows, best], total[rows, best], 1.0)[:, None]
    return np.where((known & feasible[rows, best])[:, None], weights, normalised(np.zeros(fitted.shape), fitted))


def online_weights(regret: Floats, rate: Floats, present: Mask, *, prior: Floats, trust: Floats) -> Floats:
    """ML-Poly: weights proportional to positive regret times its own learning rate; at first mixed with a prior.

    Gaillard, Stoltz and van Erven, "A second-order bound with excess losses", COLT 2014, with the gradient trick:
    regret against the best convex combination of members grows as the root of its own second moment, without tuning.
    Members that sit out are specialised experts: they are not judged while they sleep.

    prior: [..., members] weights to begin with, as far as one of those that have any is present. trust: [..., 1] share
    of what was learned; the rest is the prior's.
    """
    first = normalised(np.broadcast_to(prior, present.shape), present)
    return mixed(normalised(learned(regret, rate), present), first, prior, trust, present)


def learned(regret: Floats, rate: Floats) -> Floats:
    """[..., members]: what ML-Poly has learned, to be normalised."""
    raw: Floats = np.maximum(regret, 0.0) * rate
    return raw


def mixed(learned: Floats, first: Floats, prior: Floats, trust: Floats, present: Mask) -> Floats:
    """[..., members]: what was learned and what was known first, both normalised, by trust; see `online_weights`."""
    share = np.where((present & (prior > 0)).any(axis=-1, keepdims=True), trust, 1.0)
    weights: Floats = share * learned + (1.0 - share) * first
    return weights


def online_learn(
    regret: Floats, second: Floats, bound: Floats, *, gradient: Floats, distance: Floats
) -> tuple[Floats, Floats, Floats]:
    """One update of ML-Poly after a truth came.

    regret, second (sum of squared regrets): [..., members]; bound (largest squared regret): [..., 1].
    gradient: [..., 1] of the loss at the blend. distance: [..., members] blend minus member, NaN for those that slept.
    Returns the three, renewed.
    """
    instant = np.where(np.isfinite(distance), gradient * distance, 0.0)
    square = instant**2
    return regret + instant, second + square, np.maximum(bound, square.max(axis=-1, keepdims=True))


def rate(second: Floats, bound: Floats) -> Floats:
    """[..., members]: ML-Poly's learning rates."""
    return 1.0 / np.maximum(bound + second, np.finfo(np.float64).tiny)
