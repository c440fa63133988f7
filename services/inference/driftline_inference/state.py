"""What is kept of the series of a stream, what the places of its axes mean, and what is saved of one of them. Pure."""

import json
from typing import NamedTuple, Self

import msgspec
import numpy as np

from driftline.members import MODELS
from driftline.messages import Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.futures import Foreseen
from driftline.streams.history import History
from driftline.streams.layout import FILTER_NEIGHBOURS, MEMORIES, RLS_LAGS, Layout
from driftline.streams.neighbours import OFFSET_MEMORIES, moves_within
from driftline.worker.late_truths import LateTruths
from driftline.worker.parts import Axes, Axis, Ring, added
from driftline_inference.plausibility import Usual
from driftline_inference.rls import Filters, Waiting
from driftline_inference.sensor_health import SensorHealth

STATE = 5
"""Counted up when a part is kept in another way, or means something else: an array over other axes, or of another type.
A further part needs no other number."""
NEWEST = "history.tick"
"""The part that is the tick of the newest record."""
MODEL_TERMS = ("models", *(f"{name} from models" for name in MODELS[:-1]))
"""What `stack` has in addition: the models' mean, and how far each of them but the last is from it."""
Names = tuple[str, ...]


class ForecastTables(NamedTuple):
    """The state of all series of a stream, one row ("slot") each."""

    history: History
    waiting: Waiting
    rls: Filters
    stack: Filters
    health: SensorHealth
    plausible: Usual
    late: LateTruths
    foreseen: Foreseen
    """Empty where the stream has no futures."""

    @classmethod
    def empty(cls, slots: int, stream: StreamDefinition, layout: Layout) -> Self:
        horizon, terms, patience = stream.horizon, layout.rls_terms, stream.patience
        return cls(
            History.empty(slots, layout),
            Waiting.empty(slots, horizon, terms + len(MODELS), patience),
            Filters.empty(slots, horizon, terms),
            Filters.empty(slots, horizon, terms + len(MODELS), trusted=terms),
            SensorHealth.empty(slots, layout.columns, layout.period),
            Usual.empty(slots, layout.columns),
            LateTruths.empty(slots, patience),
            Foreseen.empty(slots, stream.kept_ahead, layout.futures),
        )


class HeldBack(msgspec.Struct, frozen=True, array_like=True):
    """What is saved of a series in a group. group: empty where it has none. records: those that wait for others."""

    group: str = ""
    records: tuple[Record, ...] = ()


def signature(stream: StreamDefinition) -> str:
    """What makes all that was saved of a series useless where it is another."""
    target = [stream.target, "angle" if stream.angles[0] else "level"]
    return json.dumps([*target, stream.time.period, stream.key])


def axes_of(stream: StreamDefinition) -> Axes:
    layout, patience = Layout.of(stream), stream.patience
    columns, terms = stream.columns, filter_terms(stream)
    stacked = (*terms, *MODEL_TERMS)
    moving = [f"average {memory}" for memory in MEMORIES]
    axes: dict[str, Axis] = {
        "horizons": stream.horizon,
        "columns": columns,
        "futures": tuple(stream.futures),
        "moving": (*moving, "step", *(f"{kind} {name}" for kind in ("mean", "square") for name in columns)),
        "usual": ("mean", "square", *stream.horizon),
        "offsets": tuple(_neighbours(stream)[: len(OFFSET_MEMORIES)]),
        "terms": terms,
        "waiting.terms": stacked,
        "stack.terms": stacked,
        "lags": Ring(stream.lags),
        "remembered": Ring(layout.remembered),
        "ring": Ring(stream.horizon[-1] + patience),
        "patience": Ring(patience),
        "ahead": Ring(stream.kept_ahead, ahead=True),
    }
    return axes


def filter_terms(stream: StreamDefinition) -> Names:
    """The filters' terms, in the order of `driftline.streams.features.Inputs.rls`."""
    layout = Layout.of(stream)
    lags = [f"lag {lag}" for lag in layout.all_lags[1 : 1 + RLS_LAGS]]
    averages = [f"average {memory}" for memory in MEMORIES]
    seasons = ["day ago"] * bool(layout.day) + ["week ago"] * bool(layout.week)
    moves = ["day on", "days on"] * bool(layout.day) + ["week on"] * bool(layout.week)
    # In another zone the same hours are others.
    hours = [f"{part} {stream.zone}" for part in ("sine day", "cosine day", "sine half", "cosine half")]
    columns = _levels_and_angles("column", stream.columns[1:], stream.angles[1:])
    futures = _levels_and_angles("future", tuple(stream.futures), stream.future_angles)
    around = _neighbours(stream)[:FILTER_NEIGHBOURS]
    return ("bias", *lags, *averages, *seasons, *around, *columns, *hours, *moves, *futures)


def _neighbours(stream: StreamDefinition) -> list[str]:
    """What is known of them: deviations from usual offsets first. At the same time they are others than before."""
    if stream.group is None:
        return []
    when = "now" if stream.together else "before"
    moves = [f"move {move}" for move in moves_within(stream.lags)]
    return [f"{part} {when}" for part in (*(f"offset {memory}" for memory in OFFSET_MEMORIES), *moves, "spread")]


def _levels_and_angles(kind: str, names: Names, angles: tuple[bool, ...]) -> list[str]:
    turned = [name for name, angle in zip(names, angles, strict=True) if angle]
    level = [f"{kind} {name}" for name, angle in zip(names, angles, strict=True) if not angle]
    return [*level, *(f"{part} {kind} {name}" for part in ("sine", "cosine") for name in turned)]


def settle(tables: ForecastTables, before: Axes, after: Axes) -> None:
    """What does not follow place by place when axes have changed. tables: of one slot, which are changed."""
    history = tables.history
    newest, lags = int(history.tick[0]), len(before["lags"])
    if added(before["columns"], after["columns"]):
        # A network waits until all lags are filled, of each column.
        history.start[0] = newest + 1
    elif len(after["lags"]) > lags:
        history.start[0] = np.maximum(history.start[0], newest - lags + 1)
    # From a new horizon nothing was forecast; a new term was as good as 0, which is what the filters begin with.
    rings = tables.waiting.rings(np.array(after["horizons"]))
    for horizon in added(before["horizons"], after["horizons"]):
        begin = rings.begins[horizon]
        tables.waiting.terms[0, begin : begin + rings.lengths[horizon]] = np.nan
    former, ring = len(before["remembered"]), len(after["remembered"])
    if former != ring:
        if 0 < former < ring:
            # What the newest record had replaced has a place of its own.
            history.season[0, (newest - former) % ring] = history.before[0]
        history.before[0] = np.nan
