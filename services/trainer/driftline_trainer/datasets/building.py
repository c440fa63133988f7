"""From records to what a network learns: inputs and targets, made by the code that serves. Pure.

However long the history is, the inputs take a bounded number of bytes: of more rows a sample is learned from.
"""

import numpy as np

from driftline.arrays import Ints, Mask
from driftline.streams.definition import StreamDefinition
from driftline.streams.in_sequence import in_sequence
from driftline.streams.layout import Layout
from driftline.streams.rows import Rows
from driftline_trainer.datasets.dataset import CollectedRows, Dataset
from driftline_trainer.datasets.observing import observe_in_sequence, observe_side_by_side
from driftline_trainer.datasets.pieces import blocks_of, side_by_side

MOST_BYTES = 384 * 1024 * 1024
"""Of inputs; of more rows a sample is learned from."""
NEWEST = 0.1
"""Share of a sample that is the newest rows, all of them: the hold-out is taken from them."""


def build(rows: Rows, stream: StreamDefinition, most_bytes: int = MOST_BYTES) -> Dataset:
    """All records of `rows` from which something can be learned, in order of time; of a longer history a sample, whose
    inputs take `most_bytes`."""
    layout = Layout.of(stream)
    most = most_bytes // (layout.net_width * np.dtype(np.float32).itemsize)
    known = np.isfinite(rows.values[:, 0])
    picked = known if known.sum() <= most else sample(rows.t, known, most, stream.training.seed)
    collection = CollectedRows.of(int(picked.sum()), layout.net_width, len(stream.horizon))
    blocks = blocks_of(rows, stream, picked)
    for some in blocks if in_sequence(layout) else side_by_side(blocks):
        if in_sequence(layout):
            observe_in_sequence(some, layout, collection)
        else:
            observe_side_by_side(some, layout, stream, collection)
        # Before the next ones are made: they are copies.
        some.clear()
    return collection.in_order(sampled_from=None if picked is known else int(known.sum()))


def sample(t: Ints, known: Mask, most: int, seed: int) -> Mask:
    """[n]: about `most` of the rows that are `known`: the newest, and of those before any, spread over all times."""
    places = np.flatnonzero(known)
    newest = max(1, int(NEWEST * most))
    picked = np.zeros(len(t), dtype=np.bool_)
    picked[places[np.argpartition(t[places], len(places) - newest)[len(places) - newest :]]] = True
    share = (most - newest) / (len(places) - newest)
    picked[places] |= np.random.default_rng(seed).random(len(places), dtype=np.float32) < share
    return picked
