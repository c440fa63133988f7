"""What is kept of the series of a stream, what the places of its axes mean, and what is saved of one of them. Pure."""

import json
from typing import NamedTuple, Self

import msgspec
import numpy as np

from driftline.members import MEMBERS, MODELS, PERSISTENCE
from driftline.scoring import LEVELS, PUBLISHED, ROWS, STRATEGIES
from driftline.streams.definition import StreamDefinition
from driftline.worker.late_truths import LateTruths
from driftline.worker.parts import Axes, Axis, Ring, added
from driftline_combiner.intervals import Intervals
from driftline_combiner.ledger import Ledger
from driftline_combiner.prior import from_reports

STATE = 4
"""Counted up when a part is kept in another way, or means something else: an array over other axes, or of another type.
A further part needs no other number."""
NEWEST = "ledger.tick"
"""The part that is the tick of the newest record."""


class BlendTables(NamedTuple):
    """The state of all series of a stream, one row ("slot") each."""

    ledger: Ledger
    intervals: Intervals
    late: LateTruths

    @classmethod
    def empty(cls, slots: int, stream: StreamDefinition) -> Self:
        horizon, patience = stream.horizon, stream.patience
        return cls(
            Ledger.empty(slots, horizon, patience),
            Intervals.empty(slots, horizon, patience),
            LateTruths.empty(slots, patience),
        )


class SavedDetectors(msgspec.Struct, frozen=True, array_like=True):
    """The drift detectors of a series. settings: of all of them, and river's version. states: by what they look at."""

    settings: str
    states: dict[str, bytes]


def signature(stream: StreamDefinition) -> str:
    """What makes all that was saved of a series useless where it is another."""
    return json.dumps([stream.target, stream.time.period, stream.key])


def axes_of(stream: StreamDefinition) -> Axes:
    first = stream.horizon[0]
    axes: dict[str, Axis] = {
        "horizons": stream.horizon,
        "members": MEMBERS,
        "models": MODELS,
        "blends": (*STRATEGIES, PUBLISHED),
        "rows": ROWS,
        "rivals": (stream.weighting.active, PERSISTENCE),
        "widths": (*(str(level) for level in LEVELS), "extreme"),
        # All horizons follow the errors of the first one.
        "errors": ("usual", f"usual {first}", f"quick {first}"),
        "ring": Ring(stream.horizon[-1] + stream.patience),
        "patience": Ring(stream.patience),
    }
    return axes


def settle(tables: BlendTables, before: Axes, after: Axes) -> None:
    """What does not follow place by place when axes have changed. tables: of one slot, which are changed."""
    ledger = tables.ledger
    ledger.since[0, added(before["horizons"], after["horizons"])] = ledger.count[0]
    ledger.compared[0] = np.maximum(ledger.compared[0], ledger.since[0])
    if added(before["rivals"], after["rivals"]):
        # The guard judges no strategy by another one's errors, nor the two by different records.
        ledger.rivals[0], ledger.guarded[0], ledger.compared[0] = 0.0, False, ledger.count[0]
    derive(ledger, 0)


def derive(ledger: Ledger, slot: int) -> None:
    """What is not saved, since it follows from the rest."""
    ledger.reported[slot] = from_reports(ledger.skills[slot])
