"""Takes records into the histories one after the other, in C: a series may have several of them. Pure."""

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.streams.history import History
from driftline.streams.layout import Layout
from driftline.streams.seasons import periods_ago
from driftline.streams.snapshots import Snapshot
from driftline_kernels import address, kernel, sizes, table

TICKS = kernel("history_ticks", "pnnppp")
SEE = kernel("history_see", "pppnpppnpnp")


def in_sequence(layout: Layout) -> bool:
    """Whether records of a series may be taken in at once: there is the library, and none of them looks at more than
    its own series, and at what is known before."""
    return SEE is not None and not layout.grouped and not layout.futures


def see_in_sequence(history: History, layout: Layout, slots: Ints, t: Ints, values: Floats) -> Snapshot:
    """As `driftline.streams.features.see`, of series without neighbours and futures; a slot may come several times."""
    assert TICKS is not None  # noqa: S101
    assert SEE is not None  # noqa: S101
    slots, values = np.ascontiguousarray(slots, dtype=np.int64), np.ascontiguousarray(values, dtype=np.float64)
    seen = Snapshot.unwritten(history, layout, slots, np.ascontiguousarray(t, dtype=np.int64))
    own, rows = table(history), address(slots)
    TICKS(own, layout.period, len(slots), rows, address(seen.t), address(seen.tick))
    ago = periods_ago(layout, history.phase[slots], seen.tick)
    times, days, weeks = seen.days.shape[1], seen.days.shape[2], seen.weeks.shape[2]
    measures = sizes(layout.lags, layout.columns, layout.remembered, times, days, weeks)
    # Where all rows look back alike, the next one is no number further.
    strides = [0 if len(season) == 1 else season[0].size for season in ago]
    looked_back = address(ago.days), strides[0], address(ago.weeks), strides[1]
    SEE(own, measures, address(layout.memories), len(slots), rows, address(values), *looked_back, table(seen))
    return seen
