"""What members learn from, computed record by record: the same code trains in the cloud and serves on the edge.

Pure NumPy over many series at once. Lags look back in time, on the grid of `driftline.streams.grid`: a period without a
record is one of missing values. The target enters as differences to its newest value, so a level of it that was
never seen before can't break a forecast. The other columns enter as differences, as angles, and as levels measured
against their own slow averages and deviations. The calendar is an input, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from driftline.arrays import TINY, Floats, Ints, clipped
from driftline.streams.calendar import YEAR
from driftline.streams.future_inputs import future_inputs
from driftline.streams.history import History, around, take_in
from driftline.streams.in_sequence import SEE, see_in_sequence
from driftline.streams.layout import CLIP, FILTER_HOURS, FILTER_NEIGHBOURS, MEMORIES, NET_SEASONS, RLS_LAGS, Layout
from driftline.streams.neighbours import Peers
from driftline.streams.seasons import look_back
from driftline.streams.snapshots import Snapshot
from driftline_kernels import address, kernel, pointers, sizes, table

BIAS = 0.1
INPUTS = kernel("inputs_of", "ppppnp")


@dataclass(frozen=True)
class Inputs:
    """What the members of n records are fed with; row i belongs to record i of the round."""

    net: npt.NDArray[np.float32]
    """[n, width]: the networks' inputs in the stream's own units; they normalise inside."""
    rls: Floats
    """[n, horizons, terms]: the linear filter's inputs, scaled to about 1."""
    last: Floats
    """[n]: the target's value, NaN when it is missing: then nothing can be forecast."""
    scale: Floats
    """[n]: the usual size of one step of the target, in its units."""
    ready: npt.NDArray[np.bool_]
    """[n]: whether the networks' lags are filled."""
    daily: Floats
    """[n, horizons]: the target's value a day before the time that is forecast, or so many whole days as the horizon
    needs; NaN where it is not known."""
    weekly: Floats
    """[n, horizons]: the same of a week."""
    newest: Floats
    """[n, lags, columns]: the newest values themselves, the newest first, NaN where missing: for models that were made
    elsewhere."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The inputs of all rounds, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def take(self, which: npt.NDArray[Any]) -> Self:
        """Some of the rows."""
        return type(self)(*(getattr(self, field.name)[which] for field in fields(self)))


def observe(
    history: History,
    layout: Layout,
    slots: Ints,
    t: Ints,
    values: Floats,
    peers: Peers | None = None,
    ahead: npt.NDArray[np.float32] | None = None,
) -> Inputs:
    """Takes in one record of each of n different series and gives the inputs for forecasting from it.

    slots: [n] rows of `history`, each at most once. t: [n] milliseconds since the epoch, for each series at least the
    time of its record before. values: [n, columns] in the stream's units, NaN where missing. peers: the groups of the n
    series, where the layout says so; those of one group have the same tick. ahead: [n, 1 + horizons, futures] what
    was known by then of the times that `Layout.looked_ahead` says, where the layout has futures; NaN where nothing. A
    second record of a tick takes the place of the first, as far as it has values. `history` is changed in place.
    """
    return inputs_of(layout, see(history, layout, slots, t, values, peers, ahead))


def see(
    history: History,
    layout: Layout,
    slots: Ints,
    t: Ints,
    values: Floats,
    peers: Peers | None,
    ahead: npt.NDArray[np.float32] | None,
) -> Snapshot:
    """As `observe`, for those who compute the inputs of many rounds at once."""
    if SEE is not None and peers is None and ahead is None:
        return see_in_sequence(history, layout, slots, t, values)
    neighbours = take_in(history, layout, slots, t, values, peers, ahead)
    return Snapshot.of(history, layout, slots, t, neighbours, ahead)


def newest(
    history: History,
    layout: Layout,
    slots: Ints,
    t: Ints,
    peers: Peers | None = None,
    ahead: npt.NDArray[np.float32] | None = None,
) -> Inputs:
    """The inputs for forecasting from the records that were taken in last, whose times are `t`; see `observe`."""
    return inputs_of(layout, Snapshot.of(history, layout, slots, t, around(history, layout, slots, peers), ahead))


def inputs_of(layout: Layout, seen: Snapshot) -> Inputs:
    """What members are fed with to forecast from the n records of a snapshot."""
    if INPUTS is not None and not layout.futures:
        return _inputs_in_c(layout, seen)
    moving, recent = seen.moving, seen.recent
    values = recent[:, 0]
    target = values[:, 0]
    differences = recent[:, 1:] - values[:, None, :]
    if len(layout.angles):
        # The shorter way round, in [-180, 180).
        differences[:, :, layout.angles] = (differences[:, :, layout.angles] + 180.0) % 360.0 - 180.0
    averages = moving[:, : len(MEMORIES)] - target[:, None]
    seasonal = look_back(layout, seen.former, target)
    clock = layout.calendar.terms(seen.t[:, None] + layout.steps * layout.period)
    levels = _levels(layout, values, moving)
    turned = _circle(values[:, layout.angles])
    to_come = future_inputs(layout, seen.usual, seen.ahead)
    anchors = seasonal.now[:, :NET_SEASONS]
    parts = [differences, averages, anchors, seasonal.moves, *_clock(clock), levels, turned, seen.nearby, *to_come.net]
    net = np.concatenate([part.reshape(len(target), -1) for part in parts], axis=1)
    # Networks take no NaN: a missing input says "no difference".
    net[np.isnan(net)] = 0.0
    scale = np.sqrt(moving[:, len(MEMORIES)])
    ready = (seen.age + 1 >= layout.lags) & np.isfinite(target)
    columns = np.concatenate([levels, _circle(values[:, layout.other_angles])], axis=1)
    shared = [differences[:, :RLS_LAGS, 0], averages, seasonal.now, seen.nearby[:, 1 : 1 + FILTER_NEIGHBOURS]]
    rls = _filter_inputs(shared, columns, clock[:, :, FILTER_HOURS], seasonal.moves, to_come.filters, scale)
    return Inputs(net.astype(np.float32), rls, target, scale, ready, seasonal.daily, seasonal.weekly, recent)


def _inputs_in_c(layout: Layout, seen: Snapshot) -> Inputs:
    assert INPUTS is not None  # noqa: S101
    n, horizons = len(seen.t), len(layout.horizon)
    clock = layout.calendar.terms(seen.t[:, None] + layout.steps * layout.period)
    inputs = Inputs(
        net=np.empty((n, layout.net_width), dtype=np.float32),
        rls=np.empty((n, horizons, layout.rls_terms)),
        last=np.empty(n),
        scale=np.empty(n),
        ready=np.empty(n, dtype=np.bool_),
        daily=np.empty((n, horizons)),
        weekly=np.empty((n, horizons)),
        newest=seen.recent,
    )
    columns = layout.angles, layout.other_levels, layout.other_angles
    former = clock.shape[2], seen.nearby.shape[1], seen.days.shape[2], seen.weeks.shape[2]
    widths = layout.net_width, layout.rls_terms
    measures = sizes(layout.lags, layout.columns, horizons, *former, *map(len, columns), *widths)
    INPUTS(table(seen), measures, pointers(columns), address(clock), n, table(inputs))
    return inputs


def _clock(terms: Floats) -> list[Floats]:
    """The calendar of the times that are forecast, as a network gets it: the day of the year once, for it hardly moves.
    terms: [n, horizons, width]."""
    return [terms[:, :, : YEAR.start], terms[:, :, YEAR.stop :], terms[:, 0, YEAR]]


def _circle(degrees: Floats) -> Floats:
    """[n, 2 k]: angles as sine and cosine."""
    radians = np.deg2rad(degrees)
    return np.concatenate([np.sin(radians), np.cos(radians)], axis=1)


def _levels(layout: Layout, values: Floats, moving: Floats) -> Floats:
    """[n, others]: where the other columns are in what they have been of late, in their own deviations: a level that
    moves for good is soon usual again."""
    others = layout.other_levels
    level = moving[:, len(MEMORIES) + 1 + others]
    spread = np.sqrt(np.maximum(moving[:, len(MEMORIES) + 1 + layout.columns + others], TINY))
    levels: Floats = (values[:, others] - level) / spread
    return clipped(levels, -CLIP, CLIP)


def _filter_inputs(
    shared: Sequence[Floats], others: Floats, hour: Floats, moves: Floats, to_come: Floats, scale: Floats
) -> Floats:
    """[n, horizons, terms], scaled by the usual step of the target so that units don't matter.

    shared: [n, terms] each in the target's units; others: [n, terms]; hour: [n, horizons, terms]; moves: [n, horizons,
    terms] in the target's units; to_come: [n, horizons, terms].
    """
    n, horizons = hour.shape[:2]
    unit = np.maximum(scale, TINY)[:, None]
    alike = np.concatenate([np.full((n, 1), BIAS), *(part / unit for part in shared), others], axis=1)
    own = [np.repeat(alike[:, None, :], horizons, axis=1), hour, moves / unit[:, :, None], to_come]
    terms = np.concatenate(own, axis=2)
    # Missing inputs say nothing (zero), wild ones are cut.
    terms[np.isnan(terms)] = 0.0
    return clipped(terms, -CLIP, CLIP)
