"""From records to what a network learns: inputs and targets, made by the code that serves. Pure.

However long the history is, the inputs take a bounded number of bytes: of more rows a sample is learned from.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints, Mask
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import Inputs, inputs_of, observe
from driftline.streams.futures import Issues
from driftline.streams.grid import phase_of, tick_of
from driftline.streams.history import History
from driftline.streams.in_sequence import in_sequence, see_in_sequence
from driftline.streams.layout import Layout
from driftline.streams.neighbours import Peers
from driftline.streams.rows import FutureRows, Rows

PIECE = 8192
"""A long series is worked off in pieces, which may lie side by side, so that arrays span them."""
WARM_UP = 3072
"""Records before a piece that fill its memories; the slowest has forgotten 95 % of what came before."""
AT_ONCE = 256
"""Pieces side by side at most: each is a copy of its records, and has a history of its own."""
IN_SEQUENCE = 1024
"""Records of one piece that are taken in by one call, where that can be ..."""
BYTES_IN_SEQUENCE = 32 * 1024 * 1024
"""... and fewer of wide ones: what is known of them by then takes so much at most."""
IN_TURN = 8
"""Parts in which the series of a group follow each other where they are not forecast together."""
MOST_BYTES = 384 * 1024 * 1024
"""Of inputs; of more rows a sample is learned from."""
NEWEST = 0.1
"""Share of a sample that is the newest rows, all of them: the hold-out is taken from them."""
NEVER_DUE = 2**62
"""The step of a piece that has no more records."""
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
    """Part of one series: `skip` leading records only warm up, and of the others those that are `picked` count.

    phase: of the series' grid. step: [n] when each record has its turn, ascending: pieces of a group keep step by their
    times. block: pieces of a group that lie side by side have the same.
    """

    t: Ints
    values: Floats
    targets: Floats
    picked: Mask
    skip: int
    phase: int
    step: Ints
    block: int
    ahead: Batch
    """[n, 1 + horizons, futures]: see `driftline.streams.features.observe`."""


def build(rows: Rows, stream: StreamDefinition, most_bytes: int = MOST_BYTES) -> Dataset:
    """All records of `rows` from which something can be learned, in order of time; of a longer history a sample, whose
    inputs take `most_bytes`."""
    layout = Layout.of(stream)
    most = most_bytes // (layout.net_width * np.dtype(np.float32).itemsize)
    known = np.isfinite(rows.values[:, 0])
    picked = known if known.sum() <= most else sample(rows.t, known, most, stream.training.seed)
    collection = _Collection.of(int(picked.sum()), layout.net_width, len(stream.horizon))
    blocks = _blocks(rows, stream, picked)
    for some in blocks if in_sequence(layout) else _side_by_side(blocks):
        if in_sequence(layout):
            _observe_in_sequence(some, layout, collection)
        else:
            _observe_side_by_side(some, layout, stream, collection)
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


@dataclass(frozen=True)
class _Series:
    """A series on its grid: one record a tick."""

    rows: Rows
    ticks: Ints
    phase: int
    targets: Floats
    picked: Mask
    issues: Issues
    looked_ahead: Ints

    @classmethod
    def of(cls, rows: Rows, stream: StreamDefinition, picked: Mask, futures: FutureRows) -> "_Series":
        """futures: those of the series."""
        period = stream.time.period * 1000
        phase = int(phase_of(rows.t[:1], period)[0])
        ticks = tick_of(rows.t, phase, period)
        # Of two records in one tick the later counts.
        last = np.append(np.diff(ticks) > 0, True)
        rows, ticks, picked = rows.take(last), ticks[last], picked[last]
        target = rows.values[:, 0]
        targets = np.stack([_at(ticks + h, ticks, target) - target for h in stream.horizon], axis=1)
        issues = _issues(rows.t, ticks, futures, phase, stream)
        return cls(rows, ticks, phase, targets, picked, issues, np.array([0, *stream.horizon]))

    def piece(self, begin: int, warm: int, end: int, step: Ints, block: int) -> _Piece:
        """The records from `begin` to `end`; those before `warm` only warm up. step: [end - begin], of these alone: a
        piece holds what it is given, and steps of the whole series would take memory with the square of its records.
        """
        part = slice(begin, end)
        rows = self.rows.take(part)
        return _Piece(
            rows.t,
            rows.values,
            self.targets[part],
            self.picked[part],
            warm - begin,
            self.phase,
            step,
            block,
            self.issues.at(self.ticks[part][:, None] + self.looked_ahead, rows.t),
        )


def _issues(t: Ints, ticks: Ints, futures: FutureRows, phase: int, stream: StreamDefinition) -> Issues:
    """What the edge would have kept of the futures of one series, had they come when they were issued: so far ahead of
    the newest record before them, which there must be. t, ticks: of the records."""
    of = tick_of(futures.t, phase, stream.time.period * 1000)
    before = np.searchsorted(t, futures.issued) - 1
    newest = ticks[before]
    kept = (before >= 0) & (of >= newest) & (of < newest + stream.kept_ahead) & (futures.issued <= futures.t)
    return Issues.of(of[kept], futures.issued[kept], futures.values[kept])


def _at(wanted: Ints, ticks: Ints, values: Floats) -> Floats:
    """The values at the wanted ticks; NaN where there is none. ticks: ascending, at least one."""
    places = np.minimum(np.searchsorted(ticks, wanted), len(ticks) - 1)
    return np.where(ticks[places] == wanted, values[places], np.nan)


def _blocks(rows: Rows, stream: StreamDefinition, picked: Mask) -> Iterator[list[_Piece]]:
    """Pieces that must lie side by side."""
    futures, none = rows.futures.by_key(), FutureRows.empty(len(stream.futures))
    series = (
        _Series.of(rows.take(places), stream, picked[places], futures.get(key, none)) for key, places in rows.series()
    )
    if stream.group is None:
        for block, piece in enumerate(piece for one in series for piece in _pieces(one)):
            yield [replace(piece, block=block)]
        return
    groups: dict[str, list[_Series]] = {}
    for one in series:
        groups.setdefault(str(one.rows.groups[0]), []).append(one)
    blocks = count()
    for group in groups.values():
        yield from _blocks_of_group(group, blocks)


def _pieces(series: _Series) -> Iterator[_Piece]:
    """A series alone: record by record."""
    total = len(series.ticks)
    for start in range(0, total, PIECE):
        begin, end = max(0, start - WARM_UP), min(start + PIECE, total)
        yield series.piece(begin, start, end, np.arange(end - begin), 0)


def _blocks_of_group(group: list[_Series], blocks: Iterator[int]) -> Iterator[list[_Piece]]:
    """All series of a group: tick by tick."""
    first, last = min(one.ticks[0] for one in group), max(one.ticks[-1] for one in group)
    for start in range(int(first), int(last) + 1, PIECE):
        block, warm = next(blocks), max(int(first), start - WARM_UP)
        cuts = [(one, *np.searchsorted(one.ticks, [warm, start, start + PIECE]).tolist()) for one in group]
        pieces = [
            one.piece(begin, skip, end, one.ticks[begin:end] - warm, block)
            for one, begin, skip, end in cuts
            if begin < end
        ]
        if pieces:
            yield pieces


def _side_by_side(blocks: Iterator[list[_Piece]]) -> Iterator[list[_Piece]]:
    """Whole blocks, AT_ONCE pieces or one block."""
    some: list[_Piece] = []
    for block in blocks:
        if some and len(some) + len(block) > AT_ONCE:
            yield some
            some = []
        some += block
    if some:
        yield some


def _observe_in_sequence(pieces: list[_Piece], layout: Layout, collection: "_Collection") -> None:
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


def _observe_side_by_side(
    pieces: list[_Piece], layout: Layout, stream: StreamDefinition, collection: "_Collection"
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

    def __init__(self, pieces: list[_Piece]) -> None:
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
