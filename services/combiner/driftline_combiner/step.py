"""The pure step of the combiner: forecasts in; blends and drift alerts out. First score, then weigh."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from driftline import slots as tables
from driftline.definition import STRATEGIES, StreamDefinition
from driftline.features import Floats, Ints
from driftline.keyed import KeyedStep, Told
from driftline.members import MEMBERS
from driftline.messages import ALERTS, BLENDS, Alert, Blend, Forecast, Topic
from driftline.slots import Slots, rounds
from driftline_combiner.drift import DriftDetector
from driftline_combiner.ledger import CUT, ROWS, Ledger, M, Scored, score, weigh

OUT: Topic[Any] = BLENDS
ALARM: Topic[Any] = ALERTS


class SavedState(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series."""

    definition: str
    t: int
    arrays: bytes
    detector: bytes


@dataclass(frozen=True)
class RowScore:
    """How a member or strategy did. Errors in the target's units; NaN before anything was scored."""

    n: int
    rmse: float
    mae: float
    skill: float
    recent_rmse: float


class BlendLane:
    """All series of one stream; see `driftline.keyed.Lane`. `alarmed` is told the stream of each drift alarm."""

    def __init__(self, stream: StreamDefinition, alarmed: Callable[[str], None]) -> None:
        self.stream = stream
        self._alarmed = alarmed
        self._steps = np.array(stream.horizon, dtype=np.int64)
        self._active = STRATEGIES.index(stream.weighting.active)
        fixed = stream.weighting.static or dict.fromkeys(MEMBERS, 1.0)
        self._static = np.array([fixed.get(name, 0.0) for name in MEMBERS])
        self._slots = Slots()
        self._ledger = self._blank(0)
        self._detectors: dict[str, DriftDetector] = {}
        self._latest: dict[str, Blend] = {}
        self._last_t: dict[str, int] = {}
        self._signature = f"{stream.fingerprint}-{stream.weighting.window}-{stream.drift.delta}-{'-'.join(ROWS)}"

    def work(self, messages: Sequence[Forecast]) -> list[list[Told]]:
        """One blend for each forecast, and an alert where its truth gave an alarm."""
        told: list[list[Told]] = [[] for _ in messages]
        for places in rounds([message.key for message in messages]):
            part = [messages[place] for place in places]
            for place, caused in zip(places, self._round(part), strict=True):
                told[place] = caused
        self._last_t |= {message.key: message.t for message in messages}
        return told

    def _round(self, part: Sequence[Forecast]) -> list[list[Told]]:
        slots = np.array([self._slot(message.key) for message in part])
        truth = np.array([message.observed for message in part], dtype=np.float64)
        scored = score(self._ledger, self._steps, slots, truth)
        forecasts = self._forecasts(part)
        weights, blends = weigh(self._ledger, slots, forecasts, self._static)
        return [
            [(OUT, blend), *self._alerts(message, alarm)]
            for message, blend, alarm in zip(
                part, self._blends(part, weights, blends), self._drift(part, scored), strict=True
            )
        ]

    def _forecasts(self, part: Sequence[Forecast]) -> Floats:
        """[n, horizons, members]."""
        absent = [None] * len(self._steps)
        raw = [[message.members.get(name, absent) for name in MEMBERS] for message in part]
        return np.swapaxes(np.array(raw, dtype=np.float64), 1, 2)

    def _blends(self, part: Sequence[Forecast], weights: Floats, blends: Floats) -> list[Blend]:
        by_member = np.swapaxes(weights[:, :, self._active], 1, 2).tolist()
        by_strategy = np.swapaxes(blends, 1, 2).tolist()
        found = []
        for message, member_rows, strategy_rows in zip(part, by_member, by_strategy, strict=True):
            made = Blend(
                stream=message.stream,
                key=message.key,
                t=message.t,
                observed=message.observed,
                horizon=message.horizon,
                value=strategy_rows[self._active],
                strategy=self.stream.weighting.active,
                strategies=dict(zip(STRATEGIES, strategy_rows, strict=True)),
                weights={name: row for name, row in zip(MEMBERS, member_rows, strict=True) if name in message.members},
                members=message.members,
                versions=message.versions,
                received=message.received,
            )
            self._latest[message.key] = made
            found.append(made)
        return found

    def _drift(self, part: Sequence[Forecast], scored: Scored) -> list[float | None]:
        """Per series the new mean of its scaled error, where that has changed for certain."""
        error = np.abs(scored.error[:, 0, M + self._active])
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.minimum(error / (CUT * np.sqrt(scored.scale[:, 0])), 1.0)
        found: list[float | None] = []
        for message, value in zip(part, scaled.tolist(), strict=True):
            detector = self._detectors[message.key]
            former = detector.mean
            found.append(former if value == value and detector.update(value) else None)  # noqa: PLR0124 - NaN
        return found

    def _alerts(self, message: Forecast, former: float | None) -> list[Told]:
        if former is None:
            return []
        self._alarmed(self.stream.name)
        detail = f"the blend's error has changed for certain; its mean was {former * CUT:.2f} usual errors before"
        return [(ALARM, Alert(message.stream, message.key, message.t, "drift", "blend", detail))]

    def _blank(self, slots: int) -> Ledger:
        return Ledger.empty(slots, self.stream.horizon, self.stream.weighting.window)

    def _slot(self, key: str) -> int:
        if key in self._slots:
            return self._slots[key]
        slot = self._slots.add(key)
        self._detectors[key] = DriftDetector(self.stream.drift.delta)
        if self._slots.capacity > len(self._ledger.count):
            self._ledger = tables.grow(self._ledger, self._blank(self._slots.capacity))
        return slot

    def last_t(self, key: str) -> int | None:
        return self._last_t.get(key)

    def save(self, key: str) -> bytes:
        arrays = tables.dump(self._slots[key], self._ledger)
        return msgspec.msgpack.encode(
            SavedState(self._signature, self._last_t[key], arrays, self._detectors[key].dump())
        )

    def restore(self, key: str, data: bytes) -> None:
        saved = msgspec.msgpack.decode(data, type=SavedState)
        if saved.definition == self._signature:
            tables.load(saved.arrays, self._slot(key), self._ledger)
            self._detectors[key].load(saved.detector)
            self._last_t[key] = saved.t

    def forget(self, key: str) -> None:
        tables.reset(self._ledger, self._slots[key], self._blank(1))
        self._slots.remove(key)
        del self._detectors[key], self._last_t[key]
        self._latest.pop(key, None)

    def keys(self) -> list[str]:
        """The series that are owned here."""
        return sorted(self._slots)

    def latest(self, key: str) -> Blend | None:
        """The newest blend of a series, since this process owns it."""
        return self._latest.get(key)

    def scores(self, keys: Sequence[str]) -> list[dict[str, RowScore]]:
        """Per horizon and row, over all records of `keys`."""
        slots = np.array([self._slots[key] for key in keys], dtype=np.int64)
        ledger = self._ledger
        sums = [table[slots].sum(axis=0) for table in (ledger.scored, ledger.squared, ledger.absolute, ledger.naive)]
        moving = ledger.recent[slots]
        known = np.isfinite(moving)
        total = np.where(known, moving, 0.0).sum(axis=0)
        recent = np.sqrt(np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan))
        return [
            {name: _row_score([part[h, row] for part in sums], recent[h, row]) for row, name in enumerate(ROWS)}
            for h in range(len(self._steps))
        ]

    def weights(self, key: str) -> list[dict[str, dict[str, float]]]:
        """Per horizon and strategy the members' weights, as if all that forecast last took part again."""
        slot = np.array([self._slots[key]])
        now = (self._ledger.count[slot] - 1) % self._ledger.members.shape[1]
        forecasts = self._ledger.members[slot, now]
        found = _peek(self._ledger, slot, forecasts, self._static)[0]
        return [
            {strategy: dict(zip(MEMBERS, found[h, s].tolist(), strict=True)) for s, strategy in enumerate(STRATEGIES)}
            for h in range(len(self._steps))
        ]


def _peek(ledger: Ledger, slots: Ints, forecasts: Floats, static: Floats) -> Floats:
    """The weights as they stand, without remembering anything."""
    copy = Ledger(**{name: getattr(ledger, name)[slots] for name in Ledger.__dataclass_fields__})
    return weigh(copy, np.arange(len(slots)), forecasts, static)[0]


def _row_score(sums: Sequence[float], recent: float) -> RowScore:
    n, squared, absolute, naive = (float(value) for value in sums)
    if not n:
        return RowScore(0, np.nan, np.nan, np.nan, np.nan)
    skill = 1 - (squared / naive) ** 0.5 if naive else 0.0
    return RowScore(int(n), (squared / n) ** 0.5, absolute / n, skill, float(recent))


def combiner_step(lanes: Mapping[str, BlendLane], dropped: Callable[[str, str], None]) -> KeyedStep[Forecast]:
    return KeyedStep(lanes, dropped)


def refuse(streams: Mapping[str, StreamDefinition], forecast: Forecast) -> str | None:
    """Why a forecast can't be worked on, or None."""
    stream = streams.get(forecast.stream)
    if stream is None:
        return f"found stream {forecast.stream!r}, expected one of {sorted(streams)}"
    if tuple(forecast.horizon) != stream.horizon:
        return f"found horizon {forecast.horizon}, expected {list(stream.horizon)}"
    strange = [name for name in forecast.members if name not in MEMBERS]
    if strange:
        return f"found member {strange[0]!r}, expected one of {list(MEMBERS)}"
    uneven = [name for name, values in forecast.members.items() if len(values) != len(stream.horizon)]
    return f"found {uneven[0]!r} with another number of horizons than {len(stream.horizon)}" if uneven else None
