"""Takes up what release 0.1.0 saved of a series, so that scores and weights go on. Pure.

Carried over: all scores, the weights of every strategy, the guard, the coverage and the width of the intervals, what
was forecast and waits for its truth. Members that there were not begin as in a new series, and what models report of
their hold-outs comes with the next forecast. Three things were not counted, and are taken as follows until they are:
the distances of the quantiles keep to the width of the interval that there was; losses of quantiles are those of normal
errors of the size that was scored; successive errors are as alike as overlapping steps make them.
"""

import json
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats
from driftline.members import PERSISTENCE, RLS, SEASONAL, STACK
from driftline.scoring import PUBLISHED, ROWS, STRATEGIES
from driftline.streams.definition import StreamDefinition
from driftline.streams.grid import tick_of
from driftline.worker.former import Dims, by_tick, former_fingerprint, former_rows
from driftline.worker.parts import Axes, Parts, UnreadableState
from driftline_combiner.intervals import FIRST, Intervals
from driftline_combiner.ledger import MEMBER_COUNT, ONLINE, Ledger
from driftline_combiner.prior import YOUNG, update_prior
from driftline_combiner.state import BlendTables, axes_of
from driftline_combiner.weighting_rules import Rules

FORMER_MEMBERS = (PERSISTENCE, SEASONAL, RLS, STACK, "batch", "speed")
FORMER_ROWS = (*FORMER_MEMBERS, *STRATEGIES, PUBLISHED)
NORMAL_LOSS = 0.24
"""Mean pinball loss of the quantiles of a normal distribution, as a share of its mean absolute error."""
GRAMS = (2, "horizons", "members", "members")
ARRAYS: dict[str, Dims | None] = {
    "ledger.count": None,
    "ledger.members": None,
    "ledger.blends": None,
    "ledger.window": GRAMS,
    "ledger.long": GRAMS,
    "ledger.fitted": None,
    "ledger.regret": None,
    "ledger.second": None,
    "ledger.bound": None,
    "ledger.scale": None,
    "ledger.rivals": None,
    "ledger.guarded": None,
    "ledger.scored": None,
    "ledger.squared": None,
    "ledger.absolute": None,
    "ledger.naive": None,
    "ledger.recent": None,
    # Intervals were symmetric: the usual error, and the half width of the interval in such errors.
    "usual": ("horizons",),
    "quantile": ("horizons",),
    "intervals.extreme": None,
    # Half widths of the interval and of the extreme one.
    "widths": ("ring", "horizons", 2),
    "intervals.scored": None,
    "intervals.covered": None,
    "intervals.recent": None,
    # How many records were seen.
    "late.tick": None,
    "late.t": None,
}
"""In the order in which they were saved, by the names of today's parts; what they went over, where it was something
else. Rings went by the number of a record."""
Rows = dict[str, npt.NDArray[Any]]
"""By part, see `driftline.worker.parts`."""


class FormerBlendState(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series."""

    definition: str
    t: int
    arrays: bytes
    detectors: list[bytes]
    heard: int | None = None


def decoded(data: bytes) -> FormerBlendState:
    """Raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(data, type=FormerBlendState)


def former_signature(stream: StreamDefinition) -> str:
    """What that release wrote into the states of a stream of this definition."""
    settings = [stream.weighting.window, stream.drift.model_dump(), stream.patience, FORMER_ROWS]
    return f"{former_fingerprint(stream)}-{json.dumps(settings)}"


def migrate(saved: FormerBlendState, stream: StreamDefinition, parts: Parts, blank: BlendTables) -> BlendTables:
    """The state in today's tables of one slot, which `blank` gives, and which is changed; drift detectors are as they
    were. Raises UnreadableState."""
    if saved.definition != former_signature(stream):
        raise UnreadableState(f"found a state of {saved.definition}, expected {former_signature(stream)}")
    axes: Axes = {**axes_of(stream), "members": FORMER_MEMBERS, "rows": FORMER_ROWS}
    rows = former_rows(saved.arrays, ARRAYS, axes, parts)
    count = int(rows["ledger.count"])
    if count < 1:
        raise UnreadableState("found a state without a record")
    tick = tick_of(np.array([saved.t], dtype=np.int64), 0, stream.time.period * 1000)[0]
    rows |= {"ledger.tick": tick, "late.tick": tick}
    for name in ("ledger.members", "ledger.blends", "widths", "late.t"):
        rows[name] = by_tick(rows[name], count, int(tick))
    parts.copy(rows | _intervals(rows), axes, blank)
    _take_successive(blank.ledger, np.array(stream.horizon, dtype=np.float64))
    update_prior(blank.ledger, Rules.of(stream), np.array([0]))
    _take_losses(blank.intervals, blank.ledger)
    return blank


def _intervals(rows: Rows) -> Rows:
    usual, widths = rows["usual"], rows["widths"]
    # Both other means are of the first horizon.
    means = np.stack([usual, np.full_like(usual, usual[0]), np.full_like(usual, usual[0])], axis=-1)
    outer, inner = widths[..., 0], widths[..., 0] * FIRST[1] / FIRST[0]
    quantiles = [-outer, -inner, np.where(np.isnan(outer), np.nan, 0.0), inner, outer, widths[..., 1]]
    return {
        "intervals.usual": means,
        "intervals.wider": np.log(rows["quantile"] / FIRST[0]),
        "intervals.widths": np.stack(quantiles, axis=-1),
    }


def _take_successive(ledger: Ledger, steps: Floats) -> None:
    """steps: [horizons]."""
    # As if so many records had said it, so that those to come soon say more.
    scored = np.minimum(ledger.scored[0, :, MEMBER_COUNT + ONLINE], YOUNG)
    squares = scored * np.nan_to_num(ledger.scale[0])
    ledger.successive[0, :, 1] = (1.0 - 1.0 / steps) * squares
    ledger.successive[0, :, 2] = squares


def _take_losses(intervals: Intervals, ledger: Ledger) -> None:
    published = ROWS.index(PUBLISHED)
    scored, met = ledger.scored[0, :, published], intervals.scored[0]
    loss = NORMAL_LOSS * ledger.absolute[0, :, published] / np.maximum(scored, 1.0)
    intervals.pinball[0] = met * loss
    intervals.loss[0] = np.where(met > 0, loss, np.nan)
