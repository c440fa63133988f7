"""The pure step of inference: records in, every member's forecasts out, with the state of each series between.

A batch is worked off in rounds: a round holds at most one record of each series, so that arrays span the series.
Networks look at observed values only, so they run once over all rounds of a batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from driftline import slots as tables
from driftline.bus import Envelope, Output
from driftline.definition import StreamDefinition
from driftline.features import Floats, History, Inputs, Ints, Layout, observe
from driftline.messages import FORECASTS, Forecast, Record
from driftline.slots import Slots
from driftline_inference.rls import Filters, forecast, learn

BUILT_IN = ("persistence", "rls")


class Model(Protocol):
    """A model version that serves."""

    @property
    def version(self) -> str: ...

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[n, features] raw inputs to [n, horizons] differences to the last value."""


Serving = Mapping[tuple[str, str], Model]
"""The models that serve now, by (stream, member). Replaced as a whole by a swap, never changed."""


class SavedState(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series."""

    definition: str
    t: int
    arrays: bytes


@dataclass(frozen=True)
class _Round:
    """The n-th record of each series that has as many in the batch. Rows of all fields belong together."""

    order: list[int]
    """Where in the batch each record stands."""
    slots: Ints
    t: Ints
    values: Floats


class Lane:
    """All series of one stream."""

    def __init__(self, stream: StreamDefinition) -> None:
        self.stream = stream
        self._layout = Layout.of(stream)
        self._steps = np.array(stream.horizon, dtype=np.int64)
        self._slots = Slots()
        self._last_t: dict[str, int] = {}
        self._history, self._filters = self._blank(0)

    def last_t(self, key: str) -> int | None:
        """Time of the newest record seen of `key`."""
        return self._last_t.get(key)

    def work(self, records: Sequence[Record], models: Mapping[str, Model]) -> list[Forecast]:
        """One forecast for each record, in their order; times of a key must rise."""
        rounds = list(self._rounds(records))
        inputs = [self._observe(part) for part in rounds]
        members: dict[str, Floats] = {
            "persistence": np.concatenate([np.repeat(i.last[:, None], len(self._steps), axis=1) for i, _ in inputs]),
            "rls": np.concatenate([rls for _, rls in inputs]),
        }
        seen = _joined([i for i, _ in inputs])
        members |= {name: _run(model, seen) for name, model in models.items()}
        versions = {name: model.version for name, model in models.items()}
        order = [place for part in rounds for place in part.order]
        return self._messages(records, order, members, versions)

    def _blank(self, slots: int) -> tuple[History, Filters]:
        filters = Filters.empty(slots, self.stream.horizon, self._layout.rls_terms)
        return History.empty(slots, self._layout), filters

    def _slot(self, key: str) -> int:
        if key in self._slots:
            return self._slots[key]
        slot = self._slots.add(key)
        if self._slots.capacity > len(self._history.count):
            history, filters = self._blank(self._slots.capacity)
            self._history, self._filters = tables.grow(self._history, history), tables.grow(self._filters, filters)
        return slot

    def _rounds(self, records: Sequence[Record]) -> Iterator[_Round]:
        places: dict[str, list[int]] = {}
        for place, record in enumerate(records):
            places.setdefault(record.key, []).append(place)
        for column in zip_longest(*places.values()):
            order = [place for place in column if place is not None]
            values = [[records[place].values[name] for name in self.stream.columns] for place in order]
            slots = [self._slot(records[place].key) for place in order]
            t = [records[place].t for place in order]
            yield _Round(order, np.array(slots), np.array(t), np.array(values, dtype=np.float64))
        for record in records:
            self._last_t[record.key] = record.t

    def _observe(self, part: _Round) -> tuple[Inputs, Floats]:
        learn(self._filters, self._steps, part.slots, part.values[:, 0])
        inputs = observe(self._history, self._layout, part.slots, part.t, part.values)
        return inputs, forecast(self._filters, part.slots, inputs)

    def _messages(
        self, records: Sequence[Record], order: list[int], members: dict[str, Floats], versions: dict[str, str]
    ) -> list[Forecast]:
        rows = {name: values[np.argsort(order)].tolist() for name, values in members.items()}
        horizon, target = list(self.stream.horizon), self.stream.target
        return [
            Forecast(
                stream=record.stream,
                key=record.key,
                t=record.t,
                observed=record.values[target],
                horizon=horizon,
                members={name: row[place] for name, row in rows.items()},
                versions=versions,
                received=record.received,
            )
            for place, record in enumerate(records)
        ]

    def save(self, key: str) -> bytes:
        arrays = tables.dump(self._slots[key], self._history, self._filters)
        return msgspec.msgpack.encode(SavedState(self._signature, self._last_t[key], arrays))

    def restore(self, key: str, data: bytes) -> None:
        """Takes up what `save` gave; a state of another definition is left behind, and the series starts anew."""
        saved = msgspec.msgpack.decode(data, type=SavedState)
        if saved.definition == self._signature:
            tables.load(saved.arrays, self._slot(key), self._history, self._filters)
            self._last_t[key] = saved.t

    def forget(self, key: str) -> None:
        slot = self._slots[key]
        for table, blank in zip((self._history, self._filters), self._blank(1), strict=True):
            tables.reset(table, slot, blank)
        self._slots.remove(key)
        del self._last_t[key]

    @property
    def _signature(self) -> str:
        return f"{self.stream.fingerprint}-{self._layout.season}-{self._layout.rls_terms}"


def _joined(inputs: list[Inputs]) -> Inputs:
    if len(inputs) == 1:
        return inputs[0]
    names = ("net", "rls", "last", "scale", "ready")
    return Inputs(*(np.concatenate([getattr(part, name) for part in inputs]) for name in names))


def _run(model: Model, inputs: Inputs) -> Floats:
    """[n, horizons] forecasts of a model; NaN, which means that it sits out, where it can't or gives nonsense."""
    ready = inputs.ready
    if not ready.any():
        return np.full((len(ready), inputs.rls.shape[1]), np.nan)
    forecasts: Floats = model.run(inputs.net) + inputs.last[:, None]
    return np.where(ready[:, None] & np.isfinite(forecasts), forecasts, np.nan)


class InferenceStep:
    """Forecasts for the partitions that a worker owns; see `driftline.loop.Step`.

    `serving` gives the models; it is asked once a batch, so a batch ends on the models that it began with.
    `dropped` is told of each record that was seen before ("repeated") or comes too late ("out_of_order").
    """

    def __init__(
        self,
        streams: Mapping[str, StreamDefinition],
        serving: Callable[[], Serving],
        dropped: Callable[[str, str], None] = lambda _stream, _reason: None,
    ) -> None:
        self._lanes = {name: Lane(stream) for name, stream in streams.items()}
        self._serving = serving
        self._dropped = dropped
        self._owned: dict[int, set[tuple[str, str]]] = {}
        self._changed: dict[int, set[tuple[str, str]]] = {}

    def refuse(self, record: Record) -> str | None:
        """Why a record can't be worked on, or None."""
        lane = self._lanes.get(record.stream)
        if lane is None:
            return f"found stream {record.stream!r}, expected one of {sorted(self._lanes)}"
        missing = [name for name in lane.stream.columns if name not in record.values]
        return f"found no value for {missing[0]!r}, expected {list(lane.stream.columns)}" if missing else None

    def step(self, batch: Sequence[Envelope[Record]]) -> list[Output]:
        """The forecasts for the new records among `batch`, each on its record's partition."""
        serving = self._serving()
        fresh = self._fresh(batch)
        outputs: list[Output] = []
        for name, envelopes in fresh.items():
            models = {member: model for (stream, member), model in serving.items() if stream == name}
            forecasts = self._lanes[name].work([envelope.value for envelope in envelopes], models)
            outputs += [
                Output(envelope.partition, FORECASTS, forecast)
                for envelope, forecast in zip(envelopes, forecasts, strict=True)
            ]
        return outputs

    def _fresh(self, batch: Sequence[Envelope[Record]]) -> dict[str, list[Envelope[Record]]]:
        fresh: dict[str, list[Envelope[Record]]] = {}
        newest: dict[tuple[str, str], int] = {}
        for envelope in batch:
            record = envelope.value
            series = (record.stream, record.key)
            last = newest.get(series, self._lanes[record.stream].last_t(record.key))
            if last is not None and record.t <= last:
                self._dropped(record.stream, "repeated" if record.t == last else "out_of_order")
                continue
            newest[series] = record.t
            self._changed.setdefault(envelope.partition, set()).add(series)
            fresh.setdefault(record.stream, []).append(envelope)
        return fresh

    def restore(self, partition: int, states: Mapping[str, bytes]) -> None:
        """Takes up the checkpointed states of a partition."""
        owned = self._owned[partition] = set()
        for name, data in states.items():
            stream, key = name.split("/", 1)
            if stream in self._lanes:
                self._lanes[stream].restore(key, data)
                owned.add((stream, key))

    def snapshot(self, partition: int) -> dict[str, bytes]:
        """The states that changed since the last snapshot."""
        changed = self._changed.pop(partition, set())
        self._owned.setdefault(partition, set()).update(changed)
        return {f"{stream}/{key}": self._lanes[stream].save(key) for stream, key in changed}

    def resume_at(self, partition: int, consumed: int) -> int:  # noqa: ARG002
        """A restart reads on behind what was consumed: the state holds all that is needed."""
        return consumed

    def release(self, partition: int) -> None:
        """Forgets the series of a partition that somebody else owns now."""
        series = self._owned.pop(partition, set()) | self._changed.pop(partition, set())
        for stream, key in series:
            if self._lanes[stream].last_t(key) is not None:
                self._lanes[stream].forget(key)
