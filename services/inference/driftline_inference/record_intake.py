"""Takes the records of a batch into the tables of their series, and gives what is forecast from them. Pure."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.arrays import Ints
from driftline.messages import Record
from driftline.models.manifest import UsualValues
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import Inputs, inputs_of, newest, see
from driftline.streams.history import on_grid
from driftline.streams.layout import Layout
from driftline.streams.period import LiveSteps
from driftline.streams.snapshots import Snapshot
from driftline.worker.series_store import SeriesStore
from driftline_inference.built_in import Turn
from driftline_inference.grouping import Grouping
from driftline_inference.plausibility import Distances, LearnedFrom, judge
from driftline_inference.sensor_health import Condition, assess
from driftline_inference.state import ForecastTables

SKILLS_EVERY = 50
"""A forecast says what its models' hold-outs reported at the first so many ticks of its series, and at each so many."""
LIVE_LIMIT = 2000
"""Series that a new model is tried on at most: looking at 10,000 holds the loop up for 50 ms."""


class ObservedBatch(NamedTuple):
    """What was seen of the records of a batch. All but inputs: one a round."""

    turns: list[Turn]
    inputs: Inputs
    conditions: list[Condition]
    distances: list[Distances]
    """How far the columns are from their usual values."""


class RecordIntake:
    """trained: see `driftline_inference.step.ForecastStep`. on_period: gets what is wrong with the stream's period."""

    def __init__(
        self,
        stream: StreamDefinition,
        layout: Layout,
        store: SeriesStore[ForecastTables],
        grouping: Grouping,
        *,
        trained: Callable[[str], Mapping[str, UsualValues]],
        on_period: Callable[[str | None], None],
    ) -> None:
        self._stream = stream
        self._layout = layout
        self._store = store
        self._tables = store.tables
        self._grouping = grouping
        self._trained = trained
        self._live_steps = LiveSteps(stream, on_period)

    def take(self, records: Sequence[Record], sizes: Sequence[int]) -> ObservedBatch:
        """Takes the records in, round by round. sizes: how many of them each round has."""
        turns: list[Turn] = []
        seen: list[Snapshot] = []
        conditions: list[Condition] = []
        distances: list[Distances] = []
        columns = self._stream.columns
        learned_from = self._trained(self._stream.name)
        trained = LearnedFrom.of(columns, learned_from) if learned_from else None
        start = 0
        for size in sizes:
            rows = slice(start, start + size)
            part, start = records[rows], rows.stop
            slots = np.array([self._store.slot(record.key) for record in part])
            values = np.array([[r.values[name] for name in columns] for r in part], dtype=np.float64)
            t = np.array([record.t for record in part], dtype=np.int64)
            peers = self._grouping.peers([record.key for record in part], slots)
            ahead = self._ahead(slots, t)
            seen.append(see(self._tables.history, self._layout, slots, t, values, peers, ahead))
            tick = seen[-1].tick
            first = self._tables.late.expect(slots, tick, t, np.isnan(values[:, 0]))
            conditions.append(assess(self._tables.health, slots, t, values))
            distances.append(judge(self._tables.plausible, slots, values, trained))
            self._live_steps.add(conditions[-1].since)
            reporting = (seen[-1].count <= SKILLS_EVERY) | (tick % SKILLS_EVERY == 0)
            turns.append(Turn(rows, slots, tick, np.where(first, values[:, 0], np.nan), reporting))
        return ObservedBatch(turns, inputs_of(self._layout, Snapshot.joined(seen)), conditions, distances)

    def live(self) -> Inputs | None:
        """What the newest records of all series are forecast from, of LIVE_LIMIT series at most; None without any."""
        known = list(islice(self._store.timed(), LIVE_LIMIT))
        return self._newest(known) if known else None

    def newest(self, keys: Sequence[str]) -> Inputs:
        """The same of these series, which have had records."""
        return self._newest([(key, self._store.time_of(key)) for key in keys])

    def _newest(self, series: Sequence[tuple[str, int]]) -> Inputs:
        """series: at least one, with the times of their newest records."""
        keys = [key for key, _ in series]
        slots = np.array([self._store[key] for key in keys], dtype=np.int64)
        t = np.array([last for _, last in series], dtype=np.int64)
        peers = self._grouping.peers(keys, slots)
        return newest(self._tables.history, self._layout, slots, t, peers, self._ahead(slots, t))

    def _ahead(self, slots: Ints, t: Ints) -> npt.NDArray[np.float32] | None:
        """What was known at the times `t` of the futures; see `driftline.streams.features.see`."""
        if not self._layout.futures:
            return None
        _, tick = on_grid(self._tables.history, self._layout, slots, t)
        return self._tables.foreseen.at(slots, tick[:, None] + self._layout.looked_ahead, t)
