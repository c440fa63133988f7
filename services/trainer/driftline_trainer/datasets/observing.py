"""Takes the records of pieces in as the edge does, and collects what can be learned from them. Pure."""

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import Inputs, inputs_of, observe
from driftline.streams.history import History
from driftline.streams.in_sequence import see_in_sequence
from driftline.streams.layout import Layout
from driftline.streams.neighbours import Peers
from driftline_trainer.datasets.dataset import CollectedRows, Dataset
from driftline_trainer.datasets.pieces import Piece

IN_SEQUENCE = 1024
"""Records of one piece that are taken in by one call, where that can be ..."""
BYTES_IN_SEQUENCE = 32 * 1024 * 1024
"""... and fewer of wide ones: what is known of them by then takes so much at most."""
IN_TURN = 8
"""Parts in which the series of a group follow each other where they are not forecast together."""
NEVER_DUE = 2**62
"""The step of a piece that has no more records."""


def observe_in_sequence(pieces: list[Piece], layout: Layout, collection: CollectedRows) -> None:
    """Many records of a piece by one call: a step of Python for each would take most of a training's time."""
    width = (
        layout.lags * layout.columns * np.dtype(np.float64).itemsize + layout.net_width * np.dtype(np.float32).itemsize
    )
    at_once = max(1, min(IN_SEQUENCE, BYTES_IN_SEQUENCE // width))
    for piece in pieces:
        history = History.empty(1, layout)
        history.phase[:] = piece.phase
        for start in range(0, len(piece.t), at_once):
            part = slice(start, start + at_once)
            t, targets = piece.t[part], piece.targets[part]
            seen = see_in_sequence(history, layout, np.zeros(len(t), dtype=np.int64), t, piece.values[part])
            picked = piece.picked[part] & (np.arange(start, start + len(t)) >= piece.skip)
            collection.add(_usable(inputs_of(layout, seen), targets, picked, t))


def observe_side_by_side(
    pieces: list[Piece], layout: Layout, stream: StreamDefinition, collection: CollectedRows
) -> None:
    """Step by step through all pieces, so that arrays span them."""
    history = History.empty(len(pieces), layout)
    # Otherwise each piece would take that of its own first record.
    history.phase[:] = [piece.phase for piece in pieces]
    peers = _Neighbourhood(pieces) if layout.grouped else None
    done = np.zeros(len(pieces), dtype=np.int64)
    due = np.array([piece.step[0] for piece in pieces])
    while (now := due.min()) != NEVER_DUE:
        for slots in _turns(np.flatnonzero(due == now), stream, peers):
            some = [pieces[slot] for slot in slots]
            places = done[slots].tolist()
            t = np.array([piece.t[n] for piece, n in zip(some, places, strict=True)])
            values = np.stack([piece.values[n] for piece, n in zip(some, places, strict=True)])
            ahead = (
                np.stack([piece.ahead[n] for piece, n in zip(some, places, strict=True)]) if layout.futures else None
            )
            inputs = observe(history, layout, slots, t, values, peers.of(slots) if peers else None, ahead)
            targets = np.stack([piece.targets[n] for piece, n in zip(some, places, strict=True)])
            picked = np.array([n >= piece.skip and piece.picked[n] for piece, n in zip(some, places, strict=True)])
            collection.add(_usable(inputs, targets, picked, t))
            done[slots] += 1
            due[slots] = [
                piece.step[n + 1] if n + 1 < len(piece.t) else NEVER_DUE for piece, n in zip(some, places, strict=True)
            ]


class _Neighbourhood:
    """Which pieces are neighbours: those of one block."""

    def __init__(self, pieces: list[Piece]) -> None:
        blocks = np.array([piece.block for piece in pieces])
        self._starts = np.flatnonzero(np.diff(blocks, prepend=-1))
        self._of = np.repeat(np.arange(len(self._starts)), np.diff(np.append(self._starts, len(pieces))))
        self._all = np.arange(len(pieces))

    def of(self, slots: Ints) -> Peers:
        return Peers(self._all, self._starts, self._of[slots], slots)

    def turn(self, slots: Ints) -> Ints:
        """In which of IN_TURN parts of its block each piece has its turn."""
        sizes = np.diff(np.append(self._starts, len(self._all)))
        block = self._of[slots]
        turn: Ints = (slots - self._starts[block]) * IN_TURN // np.maximum(sizes[block], IN_TURN)
        return turn


def _turns(slots: Ints, stream: StreamDefinition, peers: _Neighbourhood | None) -> list[Ints]:
    """Pieces that take in a record at the same time, and what follows them. Where a group is not forecast together, its
    series come one after the other, as their records do."""
    if peers is None or stream.together:
        return [slots]
    turns = peers.turn(slots)
    return [slots[turns == turn] for turn in np.unique(turns)]


def _usable(inputs: Inputs, targets: Floats, picked: Mask, t: Ints) -> Dataset:
    """What can be learned from the n records that these are of."""
    mask = inputs.ready & picked & np.isfinite(targets).all(axis=1)
    return Dataset(inputs.net[mask], targets[mask].astype(np.float32), t[mask])
