"""The pure step of inference: records in, every member's forecasts out, with the state of each series between.

A batch is worked off in rounds: a round holds at most one record of each series, so that arrays span the series. Where
kernels take one record after the other, a batch of series that don't see each other is one round.
Networks look at observed values only, so they run once over all rounds of a batch.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from driftline.arrays import Floats, Ints
from driftline.messages import ALERTS, FORECASTS, Alert, Record, Topic
from driftline.models.manifest import UsualValues
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import Inputs
from driftline.streams.grid import UNKNOWN, phase_of, tick_of, time_of
from driftline.streams.history import complete
from driftline.streams.layout import Layout
from driftline.streams.message_validation import refusal
from driftline.worker.parts import Body, Parts, SavedState
from driftline.worker.saved_series import Forms, SavedSeries
from driftline.worker.series_store import SeriesStore
from driftline.worker.stream_step import Age, Emission
from driftline_inference import migration
from driftline_inference.built_in import forecast_built_in
from driftline_inference.comparisons import Comparisons
from driftline_inference.data_quality import DataQuality
from driftline_inference.forecast_messages import forecast_messages, truth_message
from driftline_inference.grouping import Grouping, group_name
from driftline_inference.migration import FormerForecastState
from driftline_inference.record_intake import ObservedBatch, RecordIntake
from driftline_inference.rls import learn, recall
from driftline_inference.serving import Model, Serving, finite_forecasts, models_of
from driftline_inference.shadow import Shadow
from driftline_inference.state import NEWEST, STATE, ForecastTables, HeldBack, axes_of, settle, signature

OUT: Topic[Any] = FORECASTS
ALERT: Topic[Any] = ALERTS


class ForecastStep:
    """All series of one stream; see `driftline.worker.stream_step.StreamStep`.

    `serving` gives the models; it is asked once a batch, so a batch ends on the models that it began with. `shadows`
    gives the versions before them, which are compared for a while; `worse` gets the stream, member, version and
    reason when a new one turns out to be worse; `on_alert` the stream and kind of each alert;
    `left_behind` the stream, key and reason of a saved state that can't be taken up: its series begins again;
    `dropped` the stream and reason of each record that others of its tick follow while it waits for its group;
    `on_period` the stream and what is wrong with its period by the records that come, or None; `trained` gives what
    was usual of the columns in the records that a stream's models have learned from.
    """

    def __init__(
        self,
        stream: StreamDefinition,
        serving: Callable[[], Serving],
        *,
        shadows: Callable[[], Serving] = dict,
        worse: Callable[[str, str, str, str], None] = lambda *_: None,
        on_alert: Callable[[str, str], None] = lambda *_: None,
        left_behind: Callable[[str, str, str], None] = lambda *_: None,
        dropped: Callable[[str, str], None] = lambda *_: None,
        on_period: Callable[[str, str | None], None] = lambda *_: None,
        trained: Callable[[str], Mapping[str, UsualValues]] = lambda _: {},
    ) -> None:
        self.stream = stream
        self._serving = serving
        self._shadows = shadows
        self._worse = worse
        self._on_alert = on_alert
        self._dropped = dropped
        self.comparisons = Comparisons(stream.horizon[0])
        self._layout = layout = Layout.of(stream)
        self.ahead = stream.time.tolerance
        self.longest_silence = stream.longest_silence
        self.replaying = False
        self._store = SeriesStore(self._blank)
        self._tables = self._store.tables
        self._grouping = Grouping(stream, layout, self._store, tick=self._tick, let_go=self._let_go)
        self._intake = RecordIntake(
            stream,
            layout,
            self._store,
            self._grouping,
            trained=trained,
            on_period=lambda verdict: on_period(stream.name, verdict),
        )
        self._quality = DataQuality(stream)
        self._signature = signature(stream)
        self._parts = parts = Parts(self._tables, axes_of(stream), NEWEST)
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
            slot=self._store.slot,
            blank=self._blank,
            forget=self.forget,
            left_behind=lambda key, reason: left_behind(stream.name, key, reason),
        )

    def work(self, messages: Sequence[Record]) -> list[list[Emission]]:
        """One forecast for each record, caused by itself or by the last of its group."""
        emissions = list(chain.from_iterable(self._stretch(part) for part in self._grouping.stretches(messages)))
        self._store.advance((record.key, record.t) for record in messages)
        return emissions

    def _stretch(self, messages: Sequence[Record]) -> list[list[Emission]]:
        emissions: list[list[Emission]] = [[] for _ in messages]
        if messages and self._grouping.leaves(messages[0]):
            emissions[0] += self._change_group(messages[0])
        by_round = self._grouping.rounds(messages)
        # From here on everything is in the rounds' order; only the emissions go back to that of the messages.
        order = list(chain.from_iterable(by_round))
        if order:
            in_order = self._work([record for _, record in order], [len(part) for part in by_round])
            for (index, _), caused in zip(order, in_order, strict=True):
                emissions[index] += caused
        return emissions

    def _change_group(self, record: Record) -> list[Emission]:
        """A series goes to another group with this record. What of it waits in the former one is forecast before: later
        it would come after newer records of the series."""
        waiting = self._grouping.withdraw(record.key)
        emissions = self._work(waiting, [1] * len(waiting)) if waiting else []
        self._grouping.join(record.key, group_name(record))
        return list(chain.from_iterable(emissions))

    def _let_go(self, stream: str) -> None:
        if not self.replaying:
            self._dropped(stream, "repeated")

    def _tick(self, record: Record) -> int:
        """On the grid of its series, which its first record gives."""
        period, phase = self._layout.period, int(self._tables.history.phase[self._store[record.key]])
        t = np.array([record.t], dtype=np.int64)
        return int(tick_of(t, phase_of(t, period) if phase == UNKNOWN else phase, period)[0])

    def _work(self, records: Sequence[Record], sizes: Sequence[int]) -> list[list[Emission]]:
        """sizes: how many of the records each round has."""
        models = models_of(self.stream.name, self._serving())
        former = models_of(self.stream.name, self._shadows())
        observed = self._intake.take(records, sizes)
        inputs = observed.inputs
        members = {name: finite_forecasts(model, inputs) for name, model in models.items()}
        members |= forecast_built_in(self._tables, self._layout, observed.turns, inputs, members)
        tick = np.concatenate([turn.tick for turn in observed.turns])
        emissions = self._emissions(records, observed, tick, members, models)
        for member, old in former.items():
            # What was answered before has been compared, and its alert would go nowhere.
            if member in models and not self.replaying:
                emissions[-1] += self._compare(member, models[member], old, records, tick, inputs, members[member])
        return emissions

    def _emissions(
        self,
        records: Sequence[Record],
        observed: ObservedBatch,
        tick: Ints,
        members: Mapping[str, Floats],
        models: Mapping[str, Model],
    ) -> list[list[Emission]]:
        """Per record its forecast and its alerts. members: [n, horizons] each."""
        shifts, alerts = self._quality.judge(records, observed)
        self._count(alerts)
        phase = self._tables.history.phase[np.concatenate([turn.slots for turn in observed.turns])]
        on_grid = time_of(tick, phase, self._layout.period).tolist()
        forecasts = forecast_messages(self.stream, records, observed, on_grid, members, models, shifts)
        return [
            [(OUT, message), *((ALERT, alert) for alert in raised)]
            for message, raised in zip(forecasts, alerts, strict=True)
        ]

    def _count(self, alerts: Sequence[Sequence[Alert]]) -> None:
        for alert in chain.from_iterable(alerts) if not self.replaying else ():
            self._on_alert(alert.stream, alert.kind)

    def is_future(self, message: Record) -> bool:
        return message.issued is not None

    def foresee(self, message: Record) -> bool:
        """Kept where the series is known, and so far ahead of its newest record as `StreamDefinition.kept_ahead`."""
        if message.issued is None or message.issued > message.t or message.key not in self._store:
            return False
        slot, tick = self._store[message.key], self._tick(message)
        newest_tick = int(self._tables.history.tick[slot])
        if not newest_tick <= tick < newest_tick + self.stream.kept_ahead:
            return False
        values = np.array([message.values[name] for name in self.stream.futures], dtype=np.float64)
        self._tables.foreseen.add(slot, tick, message.issued, values)
        return True

    def lacks(self, message: Record) -> bool:
        return message.values[self.stream.target] is None

    def awaits(self, message: Record) -> bool:
        return message.key in self._store and self._awaited_tick(message) is not None

    def _awaited_tick(self, message: Record) -> int | None:
        """The tick that waits for the record, or for its truth."""
        slot, late = self._store[message.key], self._tables.late
        tick = None if self.lacks(message) else late.tick_of(slot, message.t)
        if tick is not None:
            return tick
        own = self._tick(message)
        return own if late.skipped(slot, own) else None

    def complete(self, message: Record) -> list[Emission]:
        """The built-in members learn from it, and the combiner gets what was observed. Nothing is forecast."""
        slot, late = self._store[message.key], self._tables.late
        tick = self._awaited_tick(message)
        assert tick is not None, "see awaits"  # noqa: S101
        slots, ticks = np.array([slot]), np.array([tick])
        values = np.array([[message.values[name] for name in self.stream.columns]], dtype=np.float64)
        complete(self._tables.history, self._layout, slots, ticks, values)
        if late.skipped(slot, tick):
            late.take_in(slot, tick, message.t, missing=self.lacks(message))
        else:
            late.settle(slot, message.t)
        if self.lacks(message):
            return []
        lesson = recall(self._tables.waiting, self._layout.steps, slots, ticks, values[:, 0])
        for filters in (self._tables.rls, self._tables.stack):
            learn(filters, slots, lesson)
        grid_t = int(time_of(ticks, self._tables.history.phase[slots], self._layout.period)[0])
        return [(OUT, truth_message(self.stream, message, grid_t))]

    def _compare(
        self,
        member: str,
        new: Model,
        old: Model,
        records: Sequence[Record],
        tick: Ints,
        inputs: Inputs,
        forecasts: Floats,
    ) -> list[Emission]:
        """Lets the version before forecast, too; reports and alerts when the new one is worse. tick: of each record."""
        shadow = self.comparisons.between(member, new.version, old.version)
        if shadow.over:
            return []
        pairs = list(zip(forecasts[:, 0].tolist(), finite_forecasts(old, inputs)[:, 0].tolist(), strict=True))
        truths = [record.values[self.stream.target] for record in records]
        shadow.add([record.key for record in records], tick.tolist(), truths, pairs)
        if not shadow.test.certain:
            return []
        reason = f"worse than {old.version} beyond the margin: evidence {shadow.test.evidence:.0f} after {shadow.seen}"
        self._worse(self.stream.name, member, new.version, reason)
        self._on_alert(self.stream.name, "rollback")
        last = records[-1]
        return [(ALERT, Alert(self.stream.name, last.key, last.t, "rollback", member, f"{new.version}: {reason}"))]

    def live(self) -> Inputs | None:
        """What the newest records of the stream's series are forecast from, of a good part of them where they are many;
        None without any."""
        return self._intake.live()

    def newest(self, keys: Sequence[str]) -> Inputs:
        """The same of these series, which have had records."""
        return self._intake.newest(keys)

    def shadow(self, member: str) -> Shadow | None:
        """How a model's newest version compares to the one before, while that forecasts in parallel."""
        return self.comparisons.newest(member)

    def _blank(self, slots: int) -> ForecastTables:
        return ForecastTables.empty(slots, self.stream, self._layout)

    def last_t(self, key: str) -> int | None:
        return self._store.last_t(key)

    def group_of(self, key: str) -> str:
        return self._grouping.of(key)

    def save(self, key: str, heard: int | None = None) -> bytes:
        slot, waiting = self._store[key], self._tables.waiting
        awaited = self._tables.late.awaited(slot, self._layout.steps, waiting.last.shape[1])
        body = self._parts.dump(slot, self._grouping.save(key), awaited)
        saved = SavedState(STATE, self._signature, self._store.time_of(key), heard, body)
        return msgspec.msgpack.encode(saved)

    def restore(self, key: str, data: bytes) -> Age:
        return self._saved.restore(key, data, self._restore_more)

    def _restore_more(self, key: str, saved: Body | FormerForecastState) -> None:
        self._grouping.restore(key, saved.said(HeldBack) if isinstance(saved, Body) else HeldBack())

    def forget(self, key: str) -> None:
        if key in self._store:
            self._store.forget(key)
            self._grouping.forget(key)

    @property
    def waiting(self) -> int:
        """Records that wait for others of their group."""
        return self._grouping.waiting


def refuse(streams: Mapping[str, StreamDefinition], record: Record) -> str | None:
    """Why a record can't be worked on, or None."""
    times = [record.t] if record.issued is None else [record.t, record.issued]
    return refusal(streams, record.stream, record.values, future=record.issued is not None, times=times)
