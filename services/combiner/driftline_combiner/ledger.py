"""What the combiner remembers of every series: what was forecast, how wrong it was, and what was learned from it.

Pure NumPy; one row ("slot") a series.
"""

from dataclasses import dataclass
from typing import Annotated, Self

import numpy as np

from driftline.arrays import Derived, Floats, Ints, Mask, Over, PerHorizon, Symmetric
from driftline.members import MEMBERS, MODELS, TRAINED
from driftline.scoring import ROWS, STRATEGIES
from driftline.streams.grid import NEVER
from driftline.streams.horizon_rings import HorizonRings

MEMBER_COUNT, STRATEGY_COUNT = len(MEMBERS), len(STRATEGIES)
ONLINE = STRATEGIES.index("online")
WINDOW = STRATEGIES.index("window")
STATIC = STRATEGIES.index("static")
UNTRAINED = 0.5
PRIOR = np.array([1.0 if name in TRAINED else UNTRAINED for name in MEMBERS])
"""The online weights of a new series: who was trained on history knows most before anything was scored."""


@dataclass(frozen=True)
class Ledger:
    """The state of all series."""

    count: Annotated[Ints, Over()]
    """[slots]: records seen."""
    since: Annotated[Ints, Over("horizons")]
    """[slots, horizons]: records seen before the horizon was there."""
    tick: Annotated[Ints, Over()]
    """[slots]: of the newest record, see `driftline.streams.grid`; NEVER before the first."""
    members: Annotated[Floats, Over(PerHorizon(), "members")]
    """[slots, places, members]: what was forecast, until its truth comes; for the places see `HorizonRings`."""
    blends: Annotated[Floats, Over(PerHorizon(), "blends")]
    """[slots, places, strategies + 1]: what every strategy made of it, and what was published."""
    window: Annotated[Floats, Over(2, "horizons", Symmetric("members"))]
    """[slots, 2, horizons, members, members]: `weights.Grams` of the newest errors: products and counts."""
    long: Annotated[Floats, Over(2, "horizons", Symmetric("members"))]
    """[slots, 2, horizons, members, members]: the same of a long memory."""
    fitted: Annotated[Floats, Over("horizons", "members")]
    """[slots, horizons, members]: weights of the window strategy."""
    first: Annotated[Floats, Over("horizons", "members")]
    """[slots, horizons, members]: weights that the online strategy begins from."""
    trust: Annotated[Floats, Over("horizons", 1)]
    """[slots, horizons, 1]: share of the online strategy's weights that is learned, not `first`."""
    regret: Annotated[Floats, Over("horizons", "members")]
    """[slots, horizons, members]: of the online strategy."""
    second: Annotated[Floats, Over("horizons", "members")]
    """[slots, horizons, members]: sum of its squared regrets."""
    bound: Annotated[Floats, Over("horizons", 1)]
    """[slots, horizons, 1]: largest of them."""
    skills: Annotated[Floats, Over("horizons", "models")]
    """[slots, horizons, models]: the newest that the models' hold-outs reported; NaN for none."""
    reported: Annotated[Floats, Derived]
    """[slots, horizons, members]: see `driftline_combiner.prior.from_reports`."""
    successive: Annotated[Floats, Over("horizons", 3)]
    """[slots, horizons, 3]: the online strategy's newest error, cut; sums of the products of successive ones and of
    their squares."""
    scale: Annotated[Floats, Over("horizons")]
    """[slots, horizons]: moving mean square of the online strategy's error; NaN before the first."""
    rivals: Annotated[Floats, Over("horizons", "rivals")]
    """[slots, horizons, 2]: moving mean squares of the active strategy's and of persistence's error; see
    `driftline_combiner.guard`."""
    compared: Annotated[Ints, Over("horizons")]
    """[slots, horizons]: records seen before these two were compared."""
    guarded: Annotated[Mask, Over("horizons")]
    """[slots, horizons]: whether persistence is published, since the active strategy has fallen behind it."""
    scored: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: records on which the row and persistence were scored."""
    squared: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: sum of squared errors on them."""
    absolute: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: sum of absolute errors on them."""
    naive: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: sum of persistence's squared errors on the same records."""
    recent: Annotated[Floats, Over("horizons", "rows")]
    """[slots, horizons, rows]: moving mean square error."""

    @classmethod
    def empty(cls, slots: int, horizon: tuple[int, ...], patience: int = 0) -> Self:
        """patience: records that a truth may be late."""
        horizons, places, rows = len(horizon), HorizonRings.of(horizon, patience).size, len(ROWS)
        return cls(
            count=np.zeros(slots, dtype=np.int64),
            since=np.zeros((slots, horizons), dtype=np.int64),
            tick=np.full(slots, NEVER, dtype=np.int64),
            members=np.full((slots, places, MEMBER_COUNT), np.nan),
            blends=np.full((slots, places, STRATEGY_COUNT + 1), np.nan),
            window=np.zeros((slots, 2, horizons, MEMBER_COUNT, MEMBER_COUNT)),
            long=np.zeros((slots, 2, horizons, MEMBER_COUNT, MEMBER_COUNT)),
            fitted=np.zeros((slots, horizons, MEMBER_COUNT)),
            first=np.broadcast_to(PRIOR, (slots, horizons, MEMBER_COUNT)).copy(),
            trust=np.zeros((slots, horizons, 1)),
            regret=np.zeros((slots, horizons, MEMBER_COUNT)),
            second=np.zeros((slots, horizons, MEMBER_COUNT)),
            bound=np.zeros((slots, horizons, 1)),
            skills=np.full((slots, horizons, len(MODELS)), np.nan),
            reported=np.full((slots, horizons, MEMBER_COUNT), np.nan),
            successive=np.zeros((slots, horizons, 3)),
            scale=np.full((slots, horizons), np.nan),
            rivals=np.zeros((slots, horizons, 2)),
            compared=np.zeros((slots, horizons), dtype=np.int64),
            guarded=np.zeros((slots, horizons), dtype=np.bool_),
            scored=np.zeros((slots, horizons, rows)),
            squared=np.zeros((slots, horizons, rows)),
            absolute=np.zeros((slots, horizons, rows)),
            naive=np.zeros((slots, horizons, rows)),
            recent=np.full((slots, horizons, rows), np.nan),
        )


def arrive(ledger: Ledger, rings: HorizonRings, slots: Ints, tick: Ints) -> None:
    """A forecast of each of n series comes: between its tick and the one before nothing was forecast."""
    rows, places = rings.skipped(ledger.tick[slots], tick)
    for ring in (ledger.members, ledger.blends):
        ring[slots[rows], places] = np.nan
    ledger.tick[slots] = tick
