"""The pure step of the combiner: forecasts in; blends and drift alerts out. First score, then weigh."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isnan
from typing import Any

import msgspec
import numpy as np

from driftline.arrays import Floats, Ints, Mask, shortened
from driftline.members import MEMBERS, PERSISTENCE
from driftline.messages import ALERTS, BLENDS, Blend, Forecast, Topic
from driftline.scoring import LEVELS, ROWS, STRATEGIES
from driftline.streams.definition import StreamDefinition
from driftline.streams.grid import tick_of
from driftline.streams.message_validation import refusal
from driftline.worker.keyed import KeyedStep
from driftline.worker.late_truths import LateTruths
from driftline.worker.parts import Body, Parts, SavedState
from driftline.worker.saved_series import Forms, SavedSeries
from driftline.worker.series_store import SeriesStore
from driftline.worker.slots import rounds
from driftline.worker.stream_step import Age, Emission
from driftline_combiner import migration
from driftline_combiner.alert_rules import AlertRules
from driftline_combiner.blending import MakeBlending
from driftline_combiner.intervals import Anomalies, Intervals
from driftline_combiner.kernel_blending import blending_of
from driftline_combiner.ledger import MEMBER_COUNT, Ledger, Rules, Scored, current_weights
from driftline_combiner.migration import FormerBlendState
from driftline_combiner.rounds import ForecastRows, ScoredRound, WeighedRound
from driftline_combiner.state import (
    NEWEST,
    STATE,
    BlendTables,
    SavedDetectors,
    axes_of,
    derive,
    settle,
    signature,
)
from driftline_combiner.totals import ScoreSums, Totals
from driftline_combiner.trust import Standings

OUT: Topic[Any] = BLENDS
ALERT: Topic[Any] = ALERTS
QUANTILES = tuple(str(level) for level in LEVELS)
"""The levels, as blends name them."""
BASE = MEMBERS.index(PERSISTENCE)
PACK, UNPACK = msgspec.msgpack.Encoder(enc_hook=float), msgspec.msgpack.Decoder(Blend)
WEIGHT_DIGITS = 7
"""Of weights in blends."""
TAKEN_UP = 256
"""Series that have changed and are put into the sums over all series at once: far cheaper than one by one."""


@dataclass(frozen=True)
class HorizonWeighting:
    """Who weighs what at one horizon. rivals: recent RMSE of the active strategy and of persistence, as the guard sees
    them."""

    weights: dict[str, dict[str, float]]
    present: frozenset[str]
    guarded: bool
    rivals: tuple[float, float]


class BlendStep:
    """All series of one stream; see `driftline.worker.stream_step.StreamStep`. on_alert: gets the stream and kind of
    each alert. left_behind: gets the stream, key and reason of a saved state that can't be taken up: its series
    begins again."""

    def __init__(
        self,
        stream: StreamDefinition,
        on_alert: Callable[[str, str], None],
        *,
        left_behind: Callable[[str, str, str], None] = lambda *_: None,
        blending: MakeBlending = blending_of,
    ) -> None:
        self.stream = stream
        self.replaying = False
        self._on_alert = on_alert
        self._rules = Rules.of(stream)
        self._period = stream.time.period * 1000
        self._store = SeriesStore(self._blank)
        self._tables = self._store.tables
        self._blending = blending(stream, self._tables)
        self._totals = Totals(len(stream.horizon))
        self._keys: list[str] = []
        """In order, so that a page of them costs no look at all of them."""
        self._outdated: set[int] = set()
        """Slots of series that are not in the sums as they are now."""
        self._alert_rules = AlertRules(stream, self._count_alert)
        self._latest: dict[str, bytes] = {}
        """As MessagePack, a sixth of the objects."""
        self.ahead = stream.time.tolerance
        self.longest_silence = stream.longest_silence
        self._signature = signature(stream)
        self._parts = parts = Parts(self._tables, axes_of(stream), NEWEST, unnamed=["rivals"])
        self._saved = SavedSeries(
            Forms(
                STATE,
                self._signature,
                decode_former=migration.decoded,
                migrate=lambda saved: migration.migrate(saved, stream, parts, self._blank(1)),
                settle=settle,
            ),
            parts,
            self._store,
            slot=self._slot,
            blank=self._blank,
            forget=self.forget,
            left_behind=lambda key, reason: left_behind(stream.name, key, reason),
        )

    def work(self, messages: Sequence[Forecast]) -> list[list[Emission]]:
        """One blend for each forecast, and an alert where its truth raised one."""
        by_round = list(rounds([message.key for message in messages]))
        order = list(chain.from_iterable(by_round))
        emissions: list[list[Emission]] = [[] for _ in messages]
        if order:
            in_order = self._work([messages[index] for index in order], [len(part) for part in by_round])
            for index, caused in zip(order, in_order, strict=True):
                emissions[index] = caused
        self._store.advance((message.key, message.t) for message in messages)
        return emissions

    def _count_alert(self, stream: str, kind: str) -> None:
        if not self.replaying:
            self._on_alert(stream, kind)

    def _work(self, messages: Sequence[Forecast], sizes: Sequence[int]) -> list[list[Emission]]:
        """Round by round. sizes: how many of the messages each of them has."""
        rows = self._rows(messages)
        scored, weighed = self._blending.work(rows, sizes)
        self._outdate(rows.slots.tolist())
        alerts = self._alerts(messages, scored)
        published = self._blends(messages, weighed)
        return [[(OUT, blend), *raised] for blend, raised in zip(published, alerts, strict=True)]

    def _rows(self, messages: Sequence[Forecast]) -> ForecastRows:
        return ForecastRows(
            messages,
            slots=np.array([self._slot(message.key) for message in messages]),
            t=np.array([message.t for message in messages], dtype=np.int64),
            tick=tick_of(np.array([_grid_t(message) for message in messages], dtype=np.int64), 0, self._period),
            missing=np.array([message.observed is None for message in messages]),
            observed=self._observed(messages),
            members=self._forecasts(messages),
        )

    def _alerts(self, part: Sequence[Forecast], scored: ScoredRound, *, late: bool = False) -> list[list[Emission]]:
        """By message the alerts that its truth raised. late: see `AlertRules.drifts`."""
        alerts = zip(
            self._alert_rules.drifts(part, Scored(scored.error, scored.scale), late=late),
            self._alert_rules.anomalies(part, Anomalies(scored.anomalous, scored.size)),
            self._alert_rules.behind(part, scored.rivals, scored.fallen),
            strict=True,
        )
        return [[(ALERT, alert) for kind in kinds for alert in kind] for kinds in alerts]

    def lacks(self, message: Forecast) -> bool:
        return message.observed is None

    def is_future(self, message: Forecast) -> bool:  # noqa: ARG002
        """No forecast is."""
        return False

    def foresee(self, message: Forecast) -> bool:  # noqa: ARG002
        return False

    def awaits(self, message: Forecast) -> bool:
        if self.lacks(message) or message.key not in self._store:
            return False
        return self._awaited_tick(message) is not None

    def _awaited_tick(self, message: Forecast) -> int | None:
        """The tick that waits for the truth."""
        slot, late = self._store[message.key], self._tables.late
        tick = late.tick_of(slot, message.t)
        if tick is not None:
            return tick
        own = self._tick(message)
        # What was forecast in its own time came in its own turn.
        return own if not message.members and late.skipped(slot, own) else None

    def _tick(self, message: Forecast) -> int:
        return int(tick_of(np.array([_grid_t(message)], dtype=np.int64), 0, self._period)[0])

    def complete(self, message: Forecast) -> list[Emission]:
        """Scores what was forecast of it; there is no new blend."""
        slot, late = self._store[message.key], self._tables.late
        tick = self._awaited_tick(message)
        assert tick is not None, "see awaits"  # noqa: S101
        if late.skipped(slot, tick):
            late.take_in(slot, tick, message.t, missing=False)
        else:
            late.settle(slot, message.t)
        scored = self._blending.score(np.array([slot]), np.array([tick]), self._observed([message]))
        self._outdate([slot])
        return self._alerts([message], scored, late=True)[0]

    def _forecasts(self, part: Sequence[Forecast]) -> Floats:
        """[n, horizons, members]."""
        absent = [None] * len(self.stream.horizon)
        raw = [[message.members.get(name, absent) for name in MEMBERS] for message in part]
        # A mean of possible values is possible, and no possible truth is further from what is brought into the range.
        return self.stream.within(np.swapaxes(np.array(raw, dtype=np.float64), 1, 2))

    def _observed(self, part: Sequence[Forecast]) -> Floats:
        """[n]: the truths, NaN where they are missing. A reading that is beyond the range is as good as its end: no
        forecast could be nearer to it, and no interval would have to be wider for it."""
        return self.stream.within(np.array([message.observed for message in part], dtype=np.float64))

    def _blends(self, part: Sequence[Forecast], weighed: WeighedRound) -> list[Blend]:
        strategies = weighed.blends.shape[2]
        quantiles = weighed.blends[:, :, -1:] + weighed.around
        # Shortened, a number may be beyond the range again.
        short = self.stream.within(shortened(np.concatenate([weighed.blends, quantiles], axis=2), weighed.usual))
        by_member = np.swapaxes(np.round(weighed.weights, WEIGHT_DIGITS), 1, 2).tolist()
        by_strategy = np.swapaxes(short[:, :, :strategies], 1, 2).tolist()
        by_quantile = np.swapaxes(short[:, :, strategies:], 1, 2).tolist()
        ranged = self.stream.range is not None
        published = []
        for message, member_rows, strategy_rows, by_level, held in zip(
            part, by_member, by_strategy, by_quantile, weighed.guarded.tolist(), strict=True
        ):
            grid_t = _grid_t(message)
            blend = Blend(
                stream=message.stream,
                key=message.key,
                t=message.t,
                observed=message.observed,
                horizon=message.horizon,
                value=strategy_rows[-1],
                strategy=self.stream.weighting.active,
                strategies=dict(zip(STRATEGIES, strategy_rows[:-1], strict=True)),
                weights={name: row for name, row in zip(MEMBERS, member_rows, strict=True) if name in message.members},
                members=self._members_within(message) if ranged else message.members,
                versions=message.versions,
                received=message.received,
                lower=by_level[0],
                upper=by_level[-1],
                guarded=held,
                grid_t=grid_t,
                times=[grid_t + h * self._period for h in message.horizon],
                quantiles=dict(zip(QUANTILES, by_level, strict=True)),
                traceparent=message.traceparent,
            )
            published.append(blend)
        newest = {blend.key: blend for blend in published}
        self._latest.update((key, PACK.encode(blend)) for key, blend in newest.items())
        return published

    def _members_within(self, message: Forecast) -> dict[str, list[float | None]]:
        rows = {name: np.array(row, dtype=np.float64) for name, row in message.members.items()}
        return {
            name: [None if isnan(value) else value for value in self.stream.within(row).tolist()]
            for name, row in rows.items()
        }

    def _blank(self, slots: int) -> BlendTables:
        horizon = self.stream.horizon
        patience = self.stream.patience
        return BlendTables(
            Ledger.empty(slots, horizon, patience),
            Intervals.empty(slots, horizon, patience),
            LateTruths.empty(slots, patience),
        )

    def _slot(self, key: str) -> int:
        if key in self._store:
            return self._store[key]
        before = self._store.capacity
        slot = self._store.slot(key)
        if more := self._store.capacity - before:
            self._totals.grow(more)
        insort(self._keys, key)
        self._alert_rules.add(key)
        return slot

    def last_t(self, key: str) -> int | None:
        return self._store.last_t(key)

    def group_of(self, key: str) -> str:  # noqa: ARG002
        """The states of two series have nothing to do with each other."""
        return ""

    def save(self, key: str, heard: int | None = None) -> bytes:
        slot, rings = self._store[key], self._rules.rings
        awaited = self._tables.late.awaited(slot, rings.steps, rings.longest)
        body = self._parts.dump(slot, self._alert_rules.dump(key), awaited)
        return msgspec.msgpack.encode(SavedState(STATE, self._signature, self._store.time_of(key), heard, body))

    def restore(self, key: str, data: bytes) -> Age:
        age = self._saved.restore(key, data, self._restore_more)
        if key in self._store:
            self._outdate([self._store[key]])
        return age

    def _restore_more(self, key: str, saved: Body | FormerBlendState) -> None:
        derive(self._tables.ledger, self._store[key])
        if isinstance(saved, Body):
            self._alert_rules.load(key, saved.said(SavedDetectors))
        else:
            self._alert_rules.load_former(key, saved.detectors)

    def forget(self, key: str) -> None:
        if key not in self._store:
            return
        slot = self._store[key]
        self._outdated.discard(slot)
        self._totals.drop(slot)
        del self._keys[bisect_left(self._keys, key)]
        self._store.forget(key)
        self._alert_rules.remove(key)
        self._latest.pop(key, None)

    def keys(self) -> list[str]:
        """The series that are owned here, in order."""
        return list(self._keys)

    @property
    def series(self) -> int:
        """How many they are."""
        return len(self._keys)

    def newest(self) -> int | None:
        """Time of the newest forecast that any of them has had; None where there are none."""
        return max((t for _, t in self._store.timed()), default=None)

    def behind(self, key: str | None) -> Iterator[str]:
        """The series behind a key, which need not be there, in order; all of them where it is None."""
        begin = 0 if key is None else bisect_right(self._keys, key)
        return (self._keys[index] for index in range(begin, len(self._keys)))

    def owns(self, key: str) -> bool:
        return key in self._store

    def latest(self, key: str) -> Blend | None:
        """The newest blend of a series, since this process owns it."""
        packed = self._latest.get(key)
        return None if packed is None else UNPACK.decode(packed)

    def sums(self, key: str | None = None) -> ScoreSums:
        """Those of one series, or of all; what all cost does not depend on how many they are."""
        if key is not None:
            return self._sums(np.array([self._store[key]])).of_one()
        if self._outdated:
            self._take_up()
        return self._totals.sums

    def standings(self, keys: Sequence[str], horizon: int) -> Standings:
        """How series that are owned here did of late. horizon: its place among the stream's."""
        slots = np.array([self._store[key] for key in keys], dtype=np.int64)
        return Standings.of(self._tables.ledger, self._rules.rings, self._tables.intervals, slots, horizon)

    def weighting(self, key: str) -> list[HorizonWeighting]:
        """Per horizon who weighs what now, as if all that forecast last took part again."""
        slot = np.array([self._store[key]])
        weights, present = self._current(slot)
        ledger = self._tables.ledger
        rivals = np.sqrt(ledger.rivals[slot[0]])
        return [
            HorizonWeighting(
                weights={row: _by_member(weights[0, h, s]) for s, row in enumerate(ROWS[MEMBER_COUNT:])},
                present=frozenset(name for name, is_present in zip(MEMBERS, present[0, h], strict=True) if is_present),
                guarded=bool(ledger.guarded[slot[0], h]),
                rivals=(float(rivals[h, 0]), float(rivals[h, 1])),
            )
            for h in range(len(self.stream.horizon))
        ]

    def _outdate(self, slots: Iterable[int]) -> None:
        """The sums are looked at far less often than series change."""
        self._outdated.update(slots)
        if len(self._outdated) >= TAKEN_UP:
            self._take_up()

    def _take_up(self) -> None:
        slots = np.array(sorted(self._outdated))
        self._outdated.clear()
        # Errors beyond all bounds are among what is summed up.
        with np.errstate(over="ignore", invalid="ignore"):
            self._totals.take(slots, self._sums(slots))

    def _sums(self, slots: Ints) -> ScoreSums:
        """Of n series, each."""
        weights, _ = self._current(slots)
        return ScoreSums.of(self._tables.ledger, self._tables.intervals, slots, weights[:, :, -1])

    def _current(self, slots: Ints) -> tuple[Floats, Mask]:
        """The weights of n series, [n, horizons, strategies + 1, members], and who forecast last, [n, horizons,
        members]."""
        ledger = self._tables.ledger
        now = self._rules.rings.places(ledger.tick[slots, None])
        present = np.isfinite(ledger.members[slots[:, None], now])
        return current_weights(ledger, self._rules, slots, present), present


def _grid_t(message: Forecast) -> int:
    return message.t if message.grid_t is None else message.grid_t


def _by_member(weights: Floats) -> dict[str, float]:
    return dict(zip(MEMBERS, weights.tolist(), strict=True))


def combiner_step(
    stream_steps: Mapping[str, BlendStep],
    dropped: Callable[[str, str], None],
    left_behind: Callable[[str, str, str], None] = lambda *_: None,
) -> KeyedStep[Forecast]:
    return KeyedStep(stream_steps, dropped, left_behind)


def refuse(streams: Mapping[str, StreamDefinition], forecast: Forecast) -> str | None:
    """Why a forecast can't be worked on, or None."""
    if (unusable := refusal(streams, forecast.stream, times=[forecast.t])) is not None:
        return unusable
    stream = streams[forecast.stream]
    if abs(_grid_t(forecast) - forecast.t) > stream.time.period * 1000:
        return f"found grid_t {forecast.grid_t}, expected a time less than a period from {forecast.t}"
    if tuple(forecast.horizon) != stream.horizon:
        return f"found horizon {forecast.horizon}, expected {list(stream.horizon)}"
    strange = [name for name in forecast.members if name not in MEMBERS]
    if strange:
        return f"found member {strange[0]!r}, expected one of {list(MEMBERS)}"
    rows = [(name, len(values)) for name, values in forecast.members.items()]
    rows += [(name, len(skills)) for name, skills in forecast.skills.items()]
    uneven = [name for name, length in rows if length != len(stream.horizon)]
    return f"found {uneven[0]!r} with another number of horizons than {len(stream.horizon)}" if uneven else None
