"""From records to what a network learns: inputs and targets, made by the code that serves. Pure."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import History, Inputs, Layout, observe
from driftline.streams.grid import phase_of, tick_of
from driftline.streams.tables import Rows

PIECE = 8192
"""A long series is worked off in pieces side by side, so that arrays span them."""
WARM_UP = 3072
"""Records before a piece that fill its memories; the slowest has forgotten 95 % of what came before."""

Batch = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """Rows in order of time. inputs: [n, features]; targets: [n, horizons] differences to the last value; t: [n] ms."""

    inputs: Batch
    targets: Batch
    t: Ints

    def __len__(self) -> int:
        return len(self.t)

    def take(self, which: slice) -> "Dataset":
        return Dataset(self.inputs[which], self.targets[which], self.t[which])


@dataclass(frozen=True)
class _Piece:
    """Part of one series: `skip` leading records only warm up. phase: of the series' grid."""

    t: Ints
    values: Floats
    targets: Floats
    skip: int
    phase: int


def build(rows: Rows, stream: StreamDefinition) -> Dataset:
    """All records of `rows` from which something can be learned, in order of time."""
    pieces = [piece for series in rows.by_key().values() for piece in _pieces(series, stream)]
    layout = Layout.of(stream)
    history = History.empty(len(pieces), layout)
    # Otherwise each piece would take that of its own first record.
    history.phase[:] = [piece.phase for piece in pieces]
    lengths = np.array([len(piece.t) for piece in pieces])
    parts: list[Dataset] = []
    for n in range(int(lengths.max(initial=0))):
        slots = np.flatnonzero(lengths > n)
        t = np.array([pieces[slot].t[n] for slot in slots])
        values = np.stack([pieces[slot].values[n] for slot in slots])
        inputs = observe(history, layout, slots, t, values)
        parts.append(_usable(inputs, [pieces[slot] for slot in slots], n, t))
    return _in_order(parts, layout.net_width, len(stream.horizon))


def _pieces(series: Rows, stream: StreamDefinition) -> list[_Piece]:
    period = stream.time.period * 1000
    phase = int(phase_of(series.t[:1], period)[0])
    ticks = tick_of(series.t, phase, period)
    # Of two records in one tick the later counts.
    last_of_tick = np.append(np.diff(ticks) > 0, True)
    series, ticks = series.take(last_of_tick), ticks[last_of_tick]
    target = series.values[:, 0]
    targets = np.stack([_at(ticks + h, ticks, target) - target for h in stream.horizon], axis=1)
    starts = range(0, len(series), PIECE)
    cuts = [(max(0, start - WARM_UP), start, min(start + PIECE, len(series))) for start in starts]
    return [
        _Piece(series.t[warm:end], series.values[warm:end], targets[warm:end], start - warm, phase)
        for warm, start, end in cuts
    ]


def _at(wanted: Ints, ticks: Ints, values: Floats) -> Floats:
    """The values at the wanted ticks; NaN where there is none. ticks: ascending."""
    places = np.minimum(np.searchsorted(ticks, wanted), len(ticks) - 1)
    return np.where(ticks[places] == wanted, values[places], np.nan)


def _usable(inputs: Inputs, pieces: list[_Piece], n: int, t: Ints) -> Dataset:
    targets = np.stack([piece.targets[n] for piece in pieces])
    warmed = np.array([n >= piece.skip for piece in pieces])
    mask = inputs.ready & warmed & np.isfinite(targets).all(axis=1)
    return Dataset(inputs.net[mask], targets[mask].astype(np.float32), t[mask])


def _in_order(parts: list[Dataset], width: int, horizons: int) -> Dataset:
    if not parts:
        return Dataset(np.empty((0, width), np.float32), np.empty((0, horizons), np.float32), np.empty(0, np.int64))
    t = np.concatenate([part.t for part in parts])
    order = np.argsort(t, kind="stable")
    inputs = np.concatenate([part.inputs for part in parts])[order]
    return Dataset(inputs, np.concatenate([part.targets for part in parts])[order], t[order])
