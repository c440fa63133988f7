"""From records to what a network learns: inputs and targets, made by the code that serves. Pure.

However long the history is, the inputs take a bounded number of bytes: of more rows a sample is learned from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints, Mask
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import History, Inputs, Layout, observe
from driftline.streams.tables import Rows

PIECE = 8192
"""A long series is worked off in pieces side by side, so that arrays span them."""
WARM_UP = 3072
"""Records before a piece that fill its memories; the slowest has forgotten 95 % of what came before."""
AT_ONCE = 256
"""Pieces side by side at most: each is a copy of its records, and has a history of its own."""
MOST_BYTES = 384 * 1024 * 1024
"""Of inputs; of more rows a sample is learned from."""
NEWEST = 0.1
"""Share of a sample that is the newest rows, all of them: the hold-out is taken from them."""
REORDERED = 8
"""Columns that are brought into order of time at once."""

Batch = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """Rows in order of time. inputs: [n, features]; targets: [n, horizons] differences to the last value; t: [n] ms."""

    inputs: Batch
    targets: Batch
    t: Ints
    sampled_from: int | None = None
    """Rows that there were, where these are a sample of them."""

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: slice | Ints) -> "Dataset":
        return Dataset(self.inputs[which], self.targets[which], self.t[which], self.sampled_from)


@dataclass(frozen=True)
class _Piece:
    """Part of one series: `skip` leading records only warm up, and of the others those that are `picked` count."""

    t: Ints
    values: Floats
    targets: Floats
    picked: Mask
    skip: int


def build(rows: Rows, stream: StreamDefinition, most_bytes: int = MOST_BYTES) -> Dataset:
    """All records of `rows` from which something can be learned, in order of time; of a longer history a sample, whose
    inputs take `most_bytes`."""
    layout = Layout.of(stream)
    most = most_bytes // (layout.net_width * np.dtype(np.float32).itemsize)
    known = np.isfinite(rows.values[:, 0])
    picked = known if known.sum() <= most else sample(rows.t, known, most, stream.training.seed)
    collection = _Collection.of(int(picked.sum()), layout.net_width, len(stream.horizon))
    pieces = _all_pieces(rows, stream, picked)
    while some := list(islice(pieces, AT_ONCE)):
        _observe(some, layout, collection)
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


def _all_pieces(rows: Rows, stream: StreamDefinition, picked: Mask) -> Iterator[_Piece]:
    for _, places in rows.series():
        yield from _pieces(rows.take(places), stream, picked[places])


def _pieces(series: Rows, stream: StreamDefinition, picked: Mask) -> list[_Piece]:
    target = series.values[:, 0]
    later = [np.concatenate([target[h:], np.full(min(h, len(target)), np.nan)]) for h in stream.horizon]
    targets = np.stack([values - target for values in later], axis=1)
    starts = range(0, len(series), PIECE)
    cuts = [(max(0, start - WARM_UP), start, min(start + PIECE, len(series))) for start in starts]
    return [
        _Piece(series.t[warm:end], series.values[warm:end], targets[warm:end], picked[warm:end], start - warm)
        for warm, start, end in cuts
    ]


def _observe(pieces: list[_Piece], layout: Layout, collection: "_Collection") -> None:
    """Record by record through all pieces, side by side."""
    history = History.empty(len(pieces), layout)
    lengths = np.array([len(piece.t) for piece in pieces])
    for n in range(int(lengths.max())):
        slots = np.flatnonzero(lengths > n)
        t = np.array([pieces[slot].t[n] for slot in slots])
        values = np.stack([pieces[slot].values[n] for slot in slots])
        inputs = observe(history, layout, slots, t, values)
        collection.add(_usable(inputs, [pieces[slot] for slot in slots], n, t))


def _usable(inputs: Inputs, pieces: list[_Piece], n: int, t: Ints) -> Dataset:
    targets = np.stack([piece.targets[n] for piece in pieces])
    picked = np.array([n >= piece.skip and piece.picked[n] for piece in pieces])
    mask = inputs.ready & picked & np.isfinite(targets).all(axis=1)
    return Dataset(inputs.net[mask], targets[mask].astype(np.float32), t[mask])


class _Collection:
    """Rows as they come, in arrays that were made as long as they can get: no row lies in memory twice."""

    def __init__(self, inputs: Batch, targets: Batch, t: Ints) -> None:
        self._inputs, self._targets, self._t = inputs, targets, t
        self._count = 0

    @classmethod
    def of(cls, rows: int, width: int, horizons: int) -> "_Collection":
        """With room for so many rows."""
        return cls(
            np.empty((rows, width), np.float32), np.empty((rows, horizons), np.float32), np.empty(rows, np.int64)
        )

    def add(self, rows: Dataset) -> None:
        end = self._count + len(rows)
        self._inputs[self._count : end] = rows.inputs
        self._targets[self._count : end] = rows.targets
        self._t[self._count : end] = rows.t
        self._count = end

    def in_order(self, *, sampled_from: int | None) -> Dataset:
        """All of them in order of time."""
        order = np.argsort(self._t[: self._count], kind="stable")
        inputs = self._inputs[: self._count]
        for column in range(0, inputs.shape[1], REORDERED):
            # A copy of some columns after the other, and never one of all.
            some = inputs[:, column : column + REORDERED]
            some[:] = some[order]
        return Dataset(inputs, self._targets[order], self._t[order], sampled_from)
