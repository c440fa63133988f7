"""What weights could have reached in hindsight: the best fixed mixture of the members, and the best with one shift.

Pure. Weights are convex and sum to 1, so a mixture's error is w'e and its squares sum up to w'Gw, with G the Gram
matrix of the members' errors.
"""

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from driftline.arrays import Floats, Ints, Mask

SPLITS = 64
"""Parts of the run between which a shift is tried."""
RIDGE = 1e-9
"""Of the Gram matrix's mean diagonal entry: members that forecast the same make it singular."""


@dataclass(frozen=True)
class Mixture:
    """weights: [members]."""

    weights: Floats
    rmse: float


@dataclass(frozen=True)
class ShiftedMixture:
    """The weights change once, before the record number `split`."""

    split: int
    before: Floats
    after: Floats
    rmse: float


def best_mixture(errors: Floats) -> Mixture:
    """The one weight vector with the least squared error over the whole run. errors: [n, members], n > 0."""
    weights, squares = simplex_argmin((errors.T @ errors)[None])
    return Mixture(weights[0], float(np.sqrt(squares[0] / len(errors))))


def best_with_one_shift(errors: Floats) -> ShiftedMixture:
    """The best two weight vectors, and where one follows the other. errors: [n, members], n > 0."""
    splits = np.unique(np.linspace(0, len(errors), SPLITS + 1).astype(np.int64))
    before = _grams_up_to(errors, splits)
    first, earlier = simplex_argmin(before)
    second, later = simplex_argmin(before[-1] - before)
    best = int(np.argmin(earlier + later))
    rmse = float(np.sqrt((earlier + later)[best] / len(errors)))
    return ShiftedMixture(int(splits[best]), first[best], second[best], rmse)


def _grams_up_to(errors: Floats, splits: Ints) -> Floats:
    """[splits, members, members]: the Gram matrices of all errors before each split."""
    parts = [errors[begin:end] for begin, end in pairwise(splits)]
    grams = np.array([part.T @ part for part in parts])
    return np.concatenate([np.zeros((1, *grams.shape[1:])), np.cumsum(grams, axis=0)])


def simplex_argmin(gram: Floats) -> tuple[Floats, Floats]:
    """Where and what the least w'Gw is, over convex weights. gram: [n, members, members]. Returns [n, members] and [n].

    The minimum has some support, on which it is G^-1 1 / (1' G^-1 1) with weights that are not negative; all supports
    are tried. It is at 1 / (1' G^-1 1), so the largest sum wins. A support of one member is always feasible.
    """
    members = gram.shape[-1]
    supports: Mask = np.array(list(product((False, True), repeat=members))[1:])
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None] / members
    scaled = np.divide(gram, size, out=np.zeros_like(gram), where=size > 0) + RIDGE * np.eye(members)
    inside = supports[:, :, None] & supports[:, None, :]
    systems = np.where(inside, scaled[:, None], np.eye(members))
    ones = np.broadcast_to(supports[..., None].astype(np.float64), (*systems.shape[:2], members, 1))
    solved = np.linalg.solve(systems, ones)[..., 0]
    feasible = (solved >= 0).all(axis=-1)
    total = np.where(feasible, solved.sum(axis=-1), -np.inf)
    rows, best = np.arange(len(gram)), total.argmax(axis=1)
    weights: Floats = solved[rows, best] / total[rows, best][:, None]
    return weights, np.maximum(np.einsum("ni,nij,nj->n", weights, gram, weights), 0.0)
