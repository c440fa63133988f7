"""Which edges run a new version first: it follows from their ids, their labels and the version alone. Pure.

An edge has a rank in [0, 1) for each version, and is in the trial while its rank is below the trial's bound. The bound
only grows, so an edge that is in a stage is in all later ones, and edges ask nobody.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from driftline.models.manifest import Trial

BITS = 52
"""Of the hash, so that half of a share and a half is a number below 1."""
HALF = 0.5
CLOCKS_DIFFER_S = 60.0
"""By so much the clocks of two trainers may differ."""


def rank(edge: str, version: str, labels: Mapping[str, str], first: Mapping[str, str]) -> float:
    """In [0, 1): edges with all labels of `first` are in the lower half, where labels are asked for."""
    head = int.from_bytes(hashlib.sha256(f"{edge}/{version}".encode()).digest()[:8])
    share = (head >> (64 - BITS)) / float(1 << BITS)
    if not first:
        return share
    is_first = all(labels.get(name) == value for name, value in first.items())
    return share / 2 if is_first else HALF + share / 2


def is_in(trial: Trial, edge: str, labels: Mapping[str, str]) -> bool:
    """Whether an edge runs the trial's version."""
    return rank(edge, trial.version, labels, trial.first) < trial.below


def size_of(stage: str, edges: int) -> int:
    """How many of the edges a stage such as `1` or `10%` takes: a share is rounded up."""
    if stage.endswith("%"):
        return min(edges, math.ceil(Fraction(stage.removesuffix("%")) * edges / 100))
    return min(edges, int(stage))


def begins_later(since: float, now: float) -> bool:
    """Whether a stage began in the future, so by a wrong clock: it would last for as long as that was ahead. Both in
    seconds since the epoch."""
    return since > now + CLOCKS_DIFFER_S


@dataclass(frozen=True)
class NextStage:
    """stage: which of them, counted from 0; below: the bound of ranks that takes exactly its edges in."""

    stage: int
    below: float


def stage_after(stages: Sequence[str], stage: int, ranks: Sequence[float], below: float) -> NextStage | None:
    """The first stage after `stage` that takes in more edges than those below the bound; None where that is all.

    stage: -1 before the first. ranks: of all edges that are there.
    """
    inside = sum(rank < below for rank in ranks)
    for later in range(stage + 1, len(stages)):
        size = size_of(stages[later], len(ranks))
        if size >= len(ranks):
            return None
        if size > inside:
            return NextStage(later, _bound(ranks, size))
    return None


def first_trial(
    stages: Sequence[str],
    first: Mapping[str, str],
    version: str,
    edges: Mapping[str, Mapping[str, str]],
    now: float,
) -> Trial | None:
    """How a version begins; None for all at once, as where one edge is all there are.

    edges: the labels of each that is there, by its id.
    """
    ranks = [rank(edge, version, labels, first) for edge, labels in edges.items()]
    begin = stage_after(stages, -1, ranks, 0.0)
    if begin is None:
        return None
    return Trial(version, begin.below, dict(first), begin.stage, since=now)


def topped_up(stages: Sequence[str], stage: int, below: float, ranks: Sequence[float]) -> float:
    """The bound that gives a stage its number of edges again, after some of them went silent or others came. It never
    falls."""
    if stage >= len(stages):
        return below
    size = size_of(stages[stage], len(ranks))
    inside = sum(rank < below for rank in ranks)
    return _bound(ranks, size) if inside < size else below


def _bound(ranks: Sequence[float], size: int) -> float:
    return sorted(ranks)[size] if size < len(ranks) else 1.0
