"""Cuts a history into pieces, each with the records before it that fill a network's memories. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.streams.definition import StreamDefinition
from driftline.streams.futures import Issues
from driftline.streams.grid import phase_of, tick_of
from driftline.streams.rows import FutureRows, Rows
from driftline_trainer.datasets.dataset import Batch

PIECE = 8192
"""A long series is worked off in pieces, which may lie side by side, so that arrays span them."""
WARM_UP = 3072
"""Records before a piece that fill its memories; the slowest has forgotten 95 % of what came before."""
AT_ONCE = 256
"""Pieces side by side at most: each is a copy of its records, and has a history of its own."""


@dataclass(frozen=True)
class Piece:
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


@dataclass(frozen=True)
class Series:
    """A series on its grid: one record a tick."""

    rows: Rows
    ticks: Ints
    phase: int
    targets: Floats
    picked: Mask
    issues: Issues
    looked_ahead: Ints

    @classmethod
    def of(cls, rows: Rows, stream: StreamDefinition, picked: Mask, futures: FutureRows) -> "Series":
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

    def piece(self, begin: int, warm: int, end: int, step: Ints, block: int) -> Piece:
        """The records from `begin` to `end`; those before `warm` only warm up. step: [end - begin], of these alone: a
        piece holds what it is given, and steps of the whole series would take memory with the square of its records.
        """
        part = slice(begin, end)
        rows = self.rows.take(part)
        return Piece(
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


def blocks_of(rows: Rows, stream: StreamDefinition, picked: Mask) -> Iterator[list[Piece]]:
    """Pieces that must lie side by side."""
    futures, none = rows.futures.by_key(), FutureRows.empty(len(stream.futures))
    series = (
        Series.of(rows.take(places), stream, picked[places], futures.get(key, none)) for key, places in rows.series()
    )
    if stream.group is None:
        for block, piece in enumerate(piece for one in series for piece in _pieces(one)):
            yield [replace(piece, block=block)]
        return
    groups: dict[str, list[Series]] = {}
    for one in series:
        groups.setdefault(str(one.rows.groups[0]), []).append(one)
    blocks = count()
    for group in groups.values():
        yield from _blocks_of_group(group, blocks)


def _pieces(series: Series) -> Iterator[Piece]:
    """A series alone: record by record."""
    total = len(series.ticks)
    for start in range(0, total, PIECE):
        begin, end = max(0, start - WARM_UP), min(start + PIECE, total)
        yield series.piece(begin, start, end, np.arange(end - begin), 0)


def _blocks_of_group(group: list[Series], blocks: Iterator[int]) -> Iterator[list[Piece]]:
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


def side_by_side(blocks: Iterator[list[Piece]]) -> Iterator[list[Piece]]:
    """Whole blocks, AT_ONCE pieces or one block."""
    some: list[Piece] = []
    for block in blocks:
        if some and len(some) + len(block) > AT_ONCE:
            yield some
            some = []
        some += block
    if some:
        yield some
