"""The newest rows, which are not learned from: training stops by them, and the gate judges by them. Pure."""

import numpy as np

from driftline.arrays import Ints
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import DAY_S
from driftline_trainer.datasets.dataset import Dataset

SHARE = 0.1
"""Of the newest rows that are held out ..."""
ROWS = 6000
"""... but no more than these: they are enough, and the newest rows are the best to learn from ..."""
SPAN_MS = 14 * DAY_S * 1000
"""... unless they span less than two weeks: many sensors at once say little of other days."""
MOST_ROWS = 20_000
"""Of those that are held out so many are scored on, spread over all of their times."""


def split(data: Dataset, stream: StreamDefinition) -> tuple[Dataset, Dataset]:
    """What is learned from and what is held out, cut at one time for all keys.

    A row whose truth came at the cut or after it is in neither: who learned from it would know of the hold-out.
    """
    cut = cut_time(data.t)
    ahead = stream.horizon[-1] * stream.time.period * 1000
    learned = data.take(slice(0, int(np.searchsorted(data.t, cut - ahead))))
    return learned, _thinned(data.take(slice(int(np.searchsorted(data.t, cut)), None)), stream.training.seed)


def cut_time(t: Ints) -> int:
    """The time of the first row that is held out. t: [n] ms in order, at least one. It counts rows first and time only
    then, so that a silence before the end leaves it no smaller."""
    share = t[len(t) - max(1, int(len(t) * SHARE))]
    enough = t[max(0, len(t) - ROWS)]
    return int(max(share, min(enough, t[-1] - SPAN_MS)))


def _thinned(held: Dataset, seed: int) -> Dataset:
    if len(held) <= MOST_ROWS:
        return held
    return held.take(np.sort(np.random.default_rng(seed).permutation(len(held))[:MOST_ROWS]))
