"""The pure step of the combiner: forecasts in; blends and drift alerts out. First score, then weigh."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from driftline.members import MEMBERS
from driftline.messages import ALERTS, BLENDS, Blend, Forecast, Topic
from driftline.streams.definition import StreamDefinition
from driftline.streams.message_validation import refusal
from driftline.worker.parts import Body, Parts, SavedState
from driftline.worker.saved_series import Forms, SavedSeries
from driftline.worker.series_store import SeriesStore
from driftline.worker.slots import rounds
from driftline.worker.stream_step import Age, Emission
from driftline_combiner import migration
from driftline_combiner.alert_rules import AlertRules
from driftline_combiner.blend_messages import blend_messages
from driftline_combiner.blending import MakeBlending
from driftline_combiner.current_sums import CurrentSums
from driftline_combiner.horizon_weighting import HorizonWeighting, horizon_weightings
from driftline_combiner.intervals import Anomalies
from driftline_combiner.kernel_blending import blending_of
from driftline_combiner.migration import FormerBlendState
from driftline_combiner.prequential import Scored
from driftline_combiner.rounds import ForecastRows, ScoredRound, WeighedRound, grid_ticks, grid_time, truths
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
from driftline_combiner.totals import ScoreSums
from driftline_combiner.trust import Standings
from driftline_combiner.weighting_rules import Rules

OUT: Topic[Any] = BLENDS
ALERT: Topic[Any] = ALERTS
PACK, UNPACK = msgspec.msgpack.Encoder(enc_hook=float), msgspec.msgpack.Decoder(Blend)


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
        self._store = SeriesStore(self._blank)
        self._tables = self._store.tables
        self._blending = blending(stream, self._tables)
        self._sums = CurrentSums(self._tables, self._rules)
        self._keys: list[str] = []
        """In order, so that a page of them costs no look at all of them."""
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
        slots = np.array([self._slot(message.key) for message in messages])
        rows = ForecastRows.of(self.stream, messages, slots)
        scored, weighed = self._blending.work(rows, sizes)
        self._sums.outdate(slots.tolist())
        alerts = self._alerts(messages, scored)
        published = self._blends(messages, weighed)
        return [[(OUT, blend), *raised] for blend, raised in zip(published, alerts, strict=True)]

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
        return int(grid_ticks(self.stream, [message])[0])

    def complete(self, message: Forecast) -> list[Emission]:
        """Scores what was forecast of it; there is no new blend."""
        slot, late = self._store[message.key], self._tables.late
        tick = self._awaited_tick(message)
        assert tick is not None, "see awaits"  # noqa: S101
        if late.skipped(slot, tick):
            late.take_in(slot, tick, message.t, missing=False)
        else:
            late.settle(slot, message.t)
        scored = self._blending.score(np.array([slot]), np.array([tick]), truths(self.stream, [message]))
        self._sums.outdate([slot])
        return self._alerts([message], scored, late=True)[0]

    def _blends(self, part: Sequence[Forecast], weighed: WeighedRound) -> list[Blend]:
        published = blend_messages(self.stream, part, weighed)
        newest = {blend.key: blend for blend in published}
        self._latest.update((key, PACK.encode(blend)) for key, blend in newest.items())
        return published

    def _blank(self, slots: int) -> BlendTables:
        return BlendTables.empty(slots, self.stream)

    def _slot(self, key: str) -> int:
        if key in self._store:
            return self._store[key]
        before = self._store.capacity
        slot = self._store.slot(key)
        if more := self._store.capacity - before:
            self._sums.grow(more)
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
            self._sums.outdate([self._store[key]])
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
        self._sums.drop(slot)
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
        return self._sums.of_all() if key is None else self._sums.of_one(self._store[key])

    def standings(self, keys: Sequence[str], horizon: int) -> Standings:
        """How series that are owned here did of late. horizon: its place among the stream's."""
        slots = np.array([self._store[key] for key in keys], dtype=np.int64)
        return Standings.of(self._tables.ledger, self._rules.rings, self._tables.intervals, slots, horizon)

    def weighting(self, key: str) -> list[HorizonWeighting]:
        """Per horizon who weighs what now."""
        return horizon_weightings(self._tables.ledger, self._rules, self._store[key])


def refuse(streams: Mapping[str, StreamDefinition], forecast: Forecast) -> str | None:
    """Why a forecast can't be worked on, or None."""
    if (unusable := refusal(streams, forecast.stream, times=[forecast.t])) is not None:
        return unusable
    stream = streams[forecast.stream]
    if abs(grid_time(forecast) - forecast.t) > stream.time.period * 1000:
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
