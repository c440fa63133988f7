"""The pure step of the combiner: forecasts in; blends and drift alerts out. First score, then weigh."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np

from driftline import late
from driftline import slots as tables
from driftline.definition import STRATEGIES, StreamDefinition
from driftline.features import Floats, Ints
from driftline.keyed import KeyedStep, Told
from driftline.late import Awaited
from driftline.members import MEMBERS
from driftline.messages import ALERTS, BLENDS, Blend, Forecast, Topic
from driftline.slots import Slots, rounds
from driftline_combiner.intervals import Intervals, judge, widths
from driftline_combiner.ledger import (
    ROWS,
    Ledger,
    M,
    Rules,
    current_weights,
    score,
    weigh,
)
from driftline_combiner.watch import Watch
from driftline_combiner.weights import Mask

OUT: Topic[Any] = BLENDS
ALARM: Topic[Any] = ALERTS


class SavedState(msgspec.Struct, frozen=True, array_like=True):
    """The checkpoint of one series."""

    definition: str
    t: int
    arrays: bytes
    detectors: list[bytes]


@dataclass(frozen=True)
class RowScore:
    """How a member or strategy did. Errors in the target's units; NaN before anything was scored."""

    n: int
    rmse: float
    mae: float
    skill: float
    recent_rmse: float


@dataclass(frozen=True)
class Coverage:
    """Share of the truths that fell into the 90 % interval: of all `n`, and of about the last 500."""

    n: int
    share: float
    recent: float


@dataclass(frozen=True)
class Standing:
    """Who weighs what at one horizon. rivals: recent RMSE of the active strategy and of persistence, as the guard sees
    them."""

    weights: dict[str, dict[str, float]]
    present: frozenset[str]
    guarded: bool
    rivals: tuple[float, float]


class Tables(NamedTuple):
    """The state of all series of a stream, one row ("slot") each."""

    ledger: Ledger
    intervals: Intervals
    awaited: Awaited


class BlendLane:
    """All series of one stream; see `driftline.keyed.Lane`. `alarmed` is told the stream and kind of each alert."""

    def __init__(self, stream: StreamDefinition, alarmed: Callable[[str, str], None]) -> None:
        self.stream = stream
        self._rules = Rules.of(stream)
        self._slots = Slots()
        self._tables = self._blank(0)
        self._watch = Watch(stream, alarmed)
        self._latest: dict[str, Blend] = {}
        self.ahead = stream.time.tolerance
        self._last_t: dict[str, int] = {}
        settings = [stream.weighting.window, stream.drift.model_dump(), stream.patience, ROWS]
        self._signature = f"{stream.fingerprint}-{json.dumps(settings)}"

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
        count = self._tables.ledger.count[slots]
        alerts = self._score(part, slots, count)
        forecasts = self._forecasts(part)
        weights, blends = weigh(self._tables.ledger, self._rules, slots, forecasts)
        half = widths(self._tables.intervals, slots, count)
        made = self._blends(part, weights, blends, half, self._tables.ledger.guarded[slots])
        missing = np.array([message.observed is None for message in part])
        late.expect(self._tables.awaited, slots, np.array([message.t for message in part]), missing)
        return [[(OUT, blend), *found] for blend, found in zip(made, alerts, strict=True)]

    def _score(self, part: Sequence[Forecast], slots: Ints, number: Ints, *, late: bool = False) -> list[list[Told]]:
        """Scores what was forecast of the observed records, which have these numbers, and gives the alerts."""
        truth = np.array([message.observed for message in part], dtype=np.float64)
        ledger, intervals, _ = self._tables
        before = ledger.guarded[slots]
        scored = score(ledger, self._rules, slots, number, truth)
        judged = judge(intervals, self._rules.steps, slots, number, scored.error[:, :, -1])
        alerts = zip(
            self._watch.drifts(part, scored, late=late),
            self._watch.anomalies(part, judged),
            self._watch.behind(part, ledger.rivals[slots], ledger.guarded[slots] & ~before),
            strict=True,
        )
        return [[(ALARM, alert) for kind in kinds for alert in kind] for kinds in alerts]

    def lacks(self, message: Forecast) -> bool:
        return message.observed is None

    def awaits(self, message: Forecast) -> bool:
        if self.lacks(message) or message.key not in self._slots:
            return False
        return late.number(self._tables.awaited, self._slots[message.key], message.t) is not None

    def complete(self, message: Forecast) -> list[Told]:
        """Scores what was forecast of it; there is no new blend."""
        slot = self._slots[message.key]
        number = late.number(self._tables.awaited, slot, message.t)
        assert number is not None, "see awaits"  # noqa: S101
        late.settle(self._tables.awaited, slot, message.t)
        return self._score([message], np.array([slot]), np.array([number]), late=True)[0]

    def _forecasts(self, part: Sequence[Forecast]) -> Floats:
        """[n, horizons, members]."""
        absent = [None] * len(self.stream.horizon)
        raw = [[message.members.get(name, absent) for name in MEMBERS] for message in part]
        return np.swapaxes(np.array(raw, dtype=np.float64), 1, 2)

    def _blends(
        self, part: Sequence[Forecast], weights: Floats, blends: Floats, half: Floats, guarded: Mask
    ) -> list[Blend]:
        by_member = np.swapaxes(weights[:, :, -1], 1, 2).tolist()
        by_strategy = np.swapaxes(blends, 1, 2).tolist()
        value = blends[:, :, -1]
        ends = zip((value - half).tolist(), (value + half).tolist(), guarded.tolist(), strict=True)
        found = []
        for message, member_rows, strategy_rows, (lower, upper, held) in zip(
            part, by_member, by_strategy, ends, strict=True
        ):
            made = Blend(
                stream=message.stream,
                key=message.key,
                t=message.t,
                observed=message.observed,
                horizon=message.horizon,
                value=strategy_rows[-1],
                strategy=self.stream.weighting.active,
                strategies=dict(zip(STRATEGIES, strategy_rows[:-1], strict=True)),
                weights={name: row for name, row in zip(MEMBERS, member_rows, strict=True) if name in message.members},
                members=message.members,
                versions=message.versions,
                received=message.received,
                lower=lower,
                upper=upper,
                guarded=held,
            )
            self._latest[message.key] = made
            found.append(made)
        return found

    def _blank(self, slots: int) -> Tables:
        horizon = self.stream.horizon
        patience = self.stream.patience
        return Tables(
            Ledger.empty(slots, horizon, patience),
            Intervals.empty(slots, horizon, patience),
            Awaited.empty(slots, patience),
        )

    def _slot(self, key: str) -> int:
        if key in self._slots:
            return self._slots[key]
        slot = self._slots.add(key)
        self._watch.add(key)
        if self._slots.capacity > len(self._tables.ledger.count):
            blank = self._blank(self._slots.capacity)
            self._tables = Tables._make(tables.grow(old, new) for old, new in zip(self._tables, blank, strict=True))
        return slot

    def last_t(self, key: str) -> int | None:
        return self._last_t.get(key)

    def save(self, key: str) -> bytes:
        arrays = tables.dump(self._slots[key], *self._tables)
        return msgspec.msgpack.encode(SavedState(self._signature, self._last_t[key], arrays, self._watch.dump(key)))

    def restore(self, key: str, data: bytes) -> None:
        saved = msgspec.msgpack.decode(data, type=SavedState)
        if saved.definition == self._signature:
            tables.load(saved.arrays, self._slot(key), *self._tables)
            self._watch.load(key, saved.detectors)
            self._last_t[key] = saved.t

    def forget(self, key: str) -> None:
        slot = self._slots[key]
        for table, blank in zip(self._tables, self._blank(1), strict=True):
            tables.reset(table, slot, blank)
        self._slots.remove(key)
        self._watch.remove(key)
        del self._last_t[key]
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
        ledger = self._tables.ledger
        sums = [table[slots].sum(axis=0) for table in (ledger.scored, ledger.squared, ledger.absolute, ledger.naive)]
        moving = ledger.recent[slots]
        known = np.isfinite(moving)
        total = np.where(known, moving, 0.0).sum(axis=0)
        recent = np.sqrt(np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan))
        return [
            {name: _row_score([part[h, row] for part in sums], recent[h, row]) for row, name in enumerate(ROWS)}
            for h in range(len(self.stream.horizon))
        ]

    def coverage(self, keys: Sequence[str]) -> list[Coverage]:
        """Per horizon, over all truths of `keys` that met an interval."""
        slots = np.array([self._slots[key] for key in keys], dtype=np.int64)
        intervals = self._tables.intervals
        scored, covered = (table[slots].sum(axis=0) for table in (intervals.scored, intervals.covered))
        met = intervals.scored[slots] > 0
        recent = np.where(met, intervals.recent[slots], 0.0).sum(axis=0) / np.maximum(met.sum(axis=0), 1)
        return [
            Coverage(int(n), float(c / n) if n else np.nan, float(r) if n else np.nan)
            for n, c, r in zip(scored, covered, recent, strict=True)
        ]

    def standing(self, key: str) -> list[Standing]:
        """Per horizon who weighs what now, as if all that forecast last took part again."""
        ledger, slot = self._tables.ledger, np.array([self._slots[key]])
        now = (ledger.count[slot] - 1) % ledger.members.shape[1]
        present = np.isfinite(ledger.members[slot, now])
        weights = current_weights(ledger, self._rules, slot, present)[0]
        rivals = np.sqrt(ledger.rivals[slot[0]])
        return [
            Standing(
                weights={row: _by_member(weights[h, s]) for s, row in enumerate(ROWS[M:])},
                present=frozenset(name for name, there in zip(MEMBERS, present[0, h], strict=True) if there),
                guarded=bool(ledger.guarded[slot[0], h]),
                rivals=(float(rivals[h, 0]), float(rivals[h, 1])),
            )
            for h in range(len(self.stream.horizon))
        ]


def _by_member(weights: Floats) -> dict[str, float]:
    return dict(zip(MEMBERS, weights.tolist(), strict=True))


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
