"""The pure step of inference: records in, every member's forecasts out, with the state of each series between.

A batch is worked off in rounds: a round holds at most one record of each series, so that arrays span the series. Where
kernels take one record after the other, a batch of series that don't see each other is one round.
Networks look at observed values only, so they run once over all rounds of a batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.arrays import Floats, Ints, shortened
from driftline.members import MODELS, PERSISTENCE, WEEKLY
from driftline.messages import ALERTS, FORECASTS, Alert, Forecast, Record, Topic
from driftline.models.manifest import UsualValues
from driftline.streams.definition import StreamDefinition
from driftline.streams.features import Inputs, inputs_of, newest, see
from driftline.streams.futures import Foreseen
from driftline.streams.grid import UNKNOWN, phase_of, tick_of, time_of
from driftline.streams.history import History, complete, on_grid
from driftline.streams.in_sequence import in_sequence
from driftline.streams.layout import Layout
from driftline.streams.message_validation import refusal
from driftline.streams.neighbours import Peers
from driftline.streams.period import LiveSteps
from driftline.streams.snapshots import Snapshot
from driftline.worker.late_truths import LateTruths
from driftline.worker.parts import Body, Parts, SavedState
from driftline.worker.saved_series import Forms, SavedSeries
from driftline.worker.series_store import SeriesStore
from driftline.worker.slots import rounds
from driftline.worker.stream_step import Age, Emission
from driftline_inference import migration
from driftline_inference.built_in import Turn, forecast_built_in
from driftline_inference.comparisons import Comparisons
from driftline_inference.groups import Assembly, Groups
from driftline_inference.migration import FormerForecastState
from driftline_inference.plausibility import Distances, LearnedFrom, Usual, judge, scale_alerts
from driftline_inference.rls import Filters, Waiting, learn, recall
from driftline_inference.sensor_health import Condition, SensorHealth, assess, health_alerts
from driftline_inference.shadow import Shadow
from driftline_inference.state import NEWEST, STATE, ForecastTables, HeldBack, axes_of, settle, signature

OUT: Topic[Any] = FORECASTS
ALERT: Topic[Any] = ALERTS
SKILLS_EVERY = 50
"""A forecast says what its models' hold-outs reported at the first so many ticks of its series, and at each so many."""
LIVE_LIMIT = 2000
"""Series that a new model is tried on at most: looking at 10,000 holds the loop up for 50 ms."""


class Model(Protocol):
    """A model version that serves."""

    @property
    def version(self) -> str: ...

    @property
    def skills(self) -> list[float]:
        """On its hold-out, one a horizon; nothing where they were not reported."""

    def forecast(self, inputs: Inputs) -> Floats:
        """[n, horizons] in the target's units; NaN where the model can't forecast: there it sits out."""


Shifts = dict[str, tuple[float, float]]
Serving = Mapping[tuple[str, str], Model]
"""The models that serve now, by (stream, member). Replaced as a whole by a swap, never changed."""


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
        self._trained = trained
        self._shadows = shadows
        self._worse = worse
        self._on_alert = on_alert
        self._dropped = dropped
        self.comparisons = Comparisons(stream.horizon[0])
        self._layout = Layout.of(stream)
        self._live_steps = LiveSteps(stream, lambda verdict: on_period(stream.name, verdict))
        self._in_sequence = in_sequence(self._layout)
        self._steps = np.array(stream.horizon, dtype=np.int64)
        self.ahead = stream.time.tolerance
        self.longest_silence = stream.longest_silence
        self.replaying = False
        self._store = SeriesStore(self._blank)
        self._tables = self._store.tables
        self._groups = Groups()
        self._assembly = Assembly(self._let_go)
        self._levels = [column for column, angle in enumerate(stream.angles) if not angle]
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
        emissions = list(chain.from_iterable(self._stretch(part) for part in self._stretches(messages)))
        self._store.advance((record.key, record.t) for record in messages)
        return emissions

    def _stretches(self, messages: Sequence[Record]) -> Iterator[Sequence[Record]]:
        """Parts in which no series goes to another group but with the first record: those before see it in the former
        one, wherever a batch was cut."""
        begin = 0
        groups: dict[str, str] = {}
        for index, record in enumerate(messages if self._layout.grouped else ()):
            group = _group(record)
            if groups.get(record.key, self._groups.find(record.key) or group) != group and index > begin:
                yield messages[begin:index]
                begin = index
            groups[record.key] = group
        yield messages[begin:]

    def _stretch(self, messages: Sequence[Record]) -> list[list[Emission]]:
        emissions: list[list[Emission]] = [[] for _ in messages]
        if messages and self._layout.grouped:
            emissions[0] += self._leave_group(messages[0])
        by_round = self._rounds(messages)
        # From here on everything is in the rounds' order; only the emissions go back to that of the messages.
        order = list(chain.from_iterable(by_round))
        if order:
            in_order = self._work([record for _, record in order], [len(part) for part in by_round])
            for (index, _), caused in zip(order, in_order, strict=True):
                emissions[index] += caused
        return emissions

    def _leave_group(self, record: Record) -> list[Emission]:
        """Where a series goes to another group with this record, it leaves the former one. What of it waits there is
        forecast before: later it would come after newer records of the series."""
        former, group = self._groups.find(record.key), _group(record)
        if former is None or former == group:
            return []
        waiting = self._assembly.of(former, record.key)
        self._assembly.drop(former, record.key)
        emissions = self._work(waiting, [1] * len(waiting)) if waiting else []
        self._join(record.key, group)
        return list(chain.from_iterable(emissions))

    def _join(self, key: str, group: str) -> None:
        """A series belongs to a group from now on, with its newest record."""
        slot = self._store[key]
        self._groups.join(key, group, slot)
        if self.stream.together:
            self._assembly.released(group, key, int(self._tables.history.tick[slot]))

    def _let_go(self, stream: str) -> None:
        if not self.replaying:
            self._dropped(stream, "repeated")

    def _rounds(self, messages: Sequence[Record]) -> list[list[tuple[int, Record]]]:
        """Records to work on at once, each with the place of the message that caused it."""
        if self._in_sequence:
            return [list(enumerate(messages))]
        if not self._layout.grouped:
            return [
                [(index, messages[index]) for index in part] for part in rounds([record.key for record in messages])
            ]
        groups = [_group(record) for record in messages]
        for record, group in zip(messages, groups, strict=True):
            self._groups.join(record.key, group, self._store.slot(record.key))
        if not self.stream.together:
            # One record of a group at a time: the next one sees it.
            return [[(index, messages[index]) for index in part] for part in rounds(groups)]
        return self._assembled(messages, groups)

    def _assembled(self, messages: Sequence[Record], groups: Sequence[str]) -> list[list[tuple[int, Record]]]:
        """The records of groups that are complete; those of different groups are worked on at once."""
        by_group: dict[str, list[list[tuple[int, Record]]]] = {}
        for index, (record, group) in enumerate(zip(messages, groups, strict=True)):
            for part in self._assembly.add(group, record, self._tick(record)):
                by_group.setdefault(group, []).append([(index, released) for released in part])
        return [list(chain.from_iterable(parts)) for parts in zip_longest(*by_group.values(), fillvalue=[])]

    def _tick(self, record: Record) -> int:
        """On the grid of its series, which its first record gives."""
        period, phase = self._layout.period, int(self._tables.history.phase[self._store[record.key]])
        t = np.array([record.t], dtype=np.int64)
        return int(tick_of(t, phase_of(t, period) if phase == UNKNOWN else phase, period)[0])

    def _work(self, records: Sequence[Record], sizes: Sequence[int]) -> list[list[Emission]]:
        """sizes: how many of the records each round has."""
        models = self._mine(self._serving())
        former = self._mine(self._shadows())
        turns, inputs, conditions, distances = self._observe(records, sizes)
        members = {name: _forecast(model, inputs) for name, model in models.items()}
        members |= forecast_built_in(self._tables, self._layout, turns, inputs, members)
        versions = {name: model.version for name, model in models.items()}
        shifts, alerts = self._conditions(records, turns, conditions, distances)
        tick = np.concatenate([turn.tick for turn in turns])
        phase = self._tables.history.phase[np.concatenate([turn.slots for turn in turns])]
        on_grid = time_of(tick, phase, self._layout.period).tolist()
        reported = {name: model.skills for name, model in models.items() if model.skills}
        reporting = np.concatenate([turn.reporting for turn in turns]).tolist()
        skills = [reported if reports else {} for reports in reporting]
        forecasts = self._messages(records, on_grid, members, inputs.scale[:, None], versions, shifts, skills)
        emissions: list[list[Emission]] = [
            [(OUT, message), *((ALERT, alert) for alert in raised)]
            for message, raised in zip(forecasts, alerts, strict=True)
        ]
        for member, old in former.items():
            # What was answered before has been compared, and its alert would go nowhere.
            if member in models and not self.replaying:
                emissions[-1] += self._compare(member, models[member], old, records, tick, inputs, members[member])
        return emissions

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
        lesson = recall(self._tables.waiting, self._steps, slots, ticks, values[:, 0])
        for filters in (self._tables.rls, self._tables.stack):
            learn(filters, slots, lesson)
        completed = Forecast(
            stream=message.stream,
            key=message.key,
            t=message.t,
            observed=message.values[self.stream.target],
            horizon=list(self.stream.horizon),
            members={},
            versions={},
            received=message.received,
            traceparent=message.traceparent,
            grid_t=int(time_of(ticks, self._tables.history.phase[slots], self._layout.period)[0]),
        )
        return [(OUT, completed)]

    def _mine(self, models: Serving) -> dict[str, Model]:
        return {member: model for (stream, member), model in models.items() if stream == self.stream.name}

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
        pairs = list(zip(forecasts[:, 0].tolist(), _forecast(old, inputs)[:, 0].tolist(), strict=True))
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
        return newest(self._tables.history, self._layout, slots, t, self._peers(keys, slots), self._ahead(slots, t))

    def _ahead(self, slots: Ints, t: Ints) -> npt.NDArray[np.float32] | None:
        """What was known at the times `t` of the futures; see `observe`."""
        if not self._layout.futures:
            return None
        _, tick = on_grid(self._tables.history, self._layout, slots, t)
        return self._tables.foreseen.at(slots, tick[:, None] + self._layout.looked_ahead, t)

    def _peers(self, keys: Sequence[str], slots: Ints) -> Peers | None:
        return self._groups.peers(keys, slots) if self._layout.grouped else None

    def shadow(self, member: str) -> Shadow | None:
        """How a model's newest version compares to the one before, while that forecasts in parallel."""
        return self.comparisons.newest(member)

    def _observe(
        self, records: Sequence[Record], sizes: Sequence[int]
    ) -> tuple[list[Turn], Inputs, list[Condition], list[Distances]]:
        """Takes the records in, round by round, and gives what all of them are forecast from, and per round what
        condition the columns are in, and how far they are from their usual values."""
        turns: list[Turn] = []
        seen: list[Snapshot] = []
        conditions: list[Condition] = []
        distances: list[Distances] = []
        columns = self.stream.columns
        learned_from = self._trained(self.stream.name)
        trained = LearnedFrom.of(columns, learned_from) if learned_from else None
        start = 0
        for size in sizes:
            rows = slice(start, start + size)
            part, start = records[rows], rows.stop
            slots = np.array([self._store.slot(record.key) for record in part])
            values = np.array([[r.values[name] for name in columns] for r in part], dtype=np.float64)
            t = np.array([record.t for record in part], dtype=np.int64)
            peers = self._peers([record.key for record in part], slots)
            ahead = self._ahead(slots, t)
            seen.append(see(self._tables.history, self._layout, slots, t, values, peers, ahead))
            tick = seen[-1].tick
            first = self._tables.late.expect(slots, tick, t, np.isnan(values[:, 0]))
            conditions.append(assess(self._tables.health, slots, t, values))
            distances.append(judge(self._tables.plausible, slots, values, trained))
            self._live_steps.add(conditions[-1].since)
            reporting = (seen[-1].count <= SKILLS_EVERY) | (tick % SKILLS_EVERY == 0)
            turns.append(Turn(rows, slots, tick, np.where(first, values[:, 0], np.nan), reporting))
        return turns, inputs_of(self._layout, Snapshot.joined(seen)), conditions, distances

    def _conditions(
        self,
        records: Sequence[Record],
        turns: Sequence[Turn],
        conditions: Sequence[Condition],
        distances: Sequence[Distances],
    ) -> tuple[list[Shifts], list[list[Alert]]]:
        """Per record the columns that have shifted, and the alerts of gaps, runs and absurd values."""
        shifts: list[Shifts] = [{} for _ in records]
        alerts: list[list[Alert]] = [[] for _ in records]
        names = self.stream.columns
        for turn, condition, far in zip(turns, conditions, distances, strict=True):
            for row, level in zip(*np.nonzero(condition.shift[:, self._levels]), strict=True):
                column = self._levels[level]
                size, moved = float(condition.shift[row, column]), float(condition.moved[row, column])
                shifts[turn.rows.start + row][names[column]] = (round(size, 3), float(f"{moved:.4g}"))
            for row in condition.alerting:
                index = turn.rows.start + row
                alerts[index] = health_alerts(names, self._levels, records[index], condition, row)
            for row in far.alerting:
                index = turn.rows.start + row
                alerts[index] += scale_alerts(names, self._levels, records[index], far, row)
        for alert in chain.from_iterable(alerts) if not self.replaying else ():
            self._on_alert(alert.stream, alert.kind)
        return shifts, alerts

    def _messages(
        self,
        records: Sequence[Record],
        on_grid: Sequence[int],
        members: dict[str, Floats],
        scale: Floats,
        versions: dict[str, str],
        shifts: Sequence[Shifts],
        skills: Sequence[dict[str, list[float]]],
    ) -> list[Forecast]:
        # Persistence stays what was observed, to the last digit: it is what others are compared with.
        others = [name for name in members if name != PERSISTENCE]
        short = shortened(np.stack([members[name] for name in others]), scale)
        rows = {PERSISTENCE: members[PERSISTENCE].tolist(), **dict(zip(others, short.tolist(), strict=True))}
        horizon, target = list(self.stream.horizon), self.stream.target
        # Most young series have no week behind them: their messages are shorter without it.
        weekly = members.get(WEEKLY, np.empty((0, 1)))
        with_week = set(np.flatnonzero(np.isfinite(weekly).any(axis=1)).tolist())
        return [
            Forecast(
                stream=record.stream,
                key=record.key,
                t=record.t,
                observed=record.values[target],
                horizon=horizon,
                members={name: row[index] for name, row in rows.items() if name != WEEKLY or index in with_week},
                versions=versions,
                received=record.received,
                shifts=shifts[index],
                grid_t=on_grid[index],
                skills=skills[index],
                traceparent=record.traceparent,
            )
            for index, record in enumerate(records)
        ]

    def _blank(self, slots: int) -> ForecastTables:
        horizon, terms = self.stream.horizon, self._layout.rls_terms
        return ForecastTables(
            History.empty(slots, self._layout),
            Waiting.empty(slots, horizon, terms + len(MODELS), self.stream.patience),
            Filters.empty(slots, horizon, terms),
            Filters.empty(slots, horizon, terms + len(MODELS), trusted=terms),
            SensorHealth.empty(slots, self._layout.columns, self._layout.period),
            Usual.empty(slots, self._layout.columns),
            LateTruths.empty(slots, self.stream.patience),
            Foreseen.empty(slots, self.stream.kept_ahead, self._layout.futures),
        )

    def last_t(self, key: str) -> int | None:
        return self._store.last_t(key)

    def group_of(self, key: str) -> str:
        return self._groups.of(key) if self._layout.grouped else ""

    def save(self, key: str, heard: int | None = None) -> bytes:
        slot, waiting = self._store[key], self._tables.waiting
        awaited = self._tables.late.awaited(slot, self._steps, waiting.last.shape[1])
        group = self._groups.of(key) if self._layout.grouped else ""
        held_back = HeldBack(group, self._assembly.of(group, key))
        body = self._parts.dump(slot, held_back, awaited)
        saved = SavedState(STATE, self._signature, self._store.time_of(key), heard, body)
        return msgspec.msgpack.encode(saved)

    def restore(self, key: str, data: bytes) -> Age:
        return self._saved.restore(key, data, self._restore_more)

    def _restore_more(self, key: str, saved: Body | FormerForecastState) -> None:
        held_back = saved.said(HeldBack) if isinstance(saved, Body) else HeldBack()
        if self._layout.grouped:
            self._restore_group(key, held_back)

    def _restore_group(self, key: str, held_back: HeldBack) -> None:
        # A state from before there were groups says none: its next record does.
        group = held_back.group or key
        self._join(key, group)
        if self.stream.together:
            for record in held_back.records:
                self._assembly.restore(group, [self._completed(record)], self._tick(record))

    def _completed(self, record: Record) -> Record:
        """A record from before the definition had other columns: of a new one it has no value."""
        return msgspec.structs.replace(record, values=dict.fromkeys(self.stream.columns) | record.values)

    def forget(self, key: str) -> None:
        if key in self._store:
            self._store.forget(key)
            if self._layout.grouped:
                # A state that can't be taken up to its end has not joined one.
                if (group := self._groups.find(key)) is not None:
                    self._assembly.drop(group, key)
                self._groups.leave(key)

    @property
    def waiting(self) -> int:
        """Records that wait for others of their group."""
        return len(self._assembly)


def _group(record: Record) -> str:
    """A series that names none is one by itself."""
    return record.group or record.key


def _forecast(model: Model, inputs: Inputs) -> Floats:
    """[n, horizons]; NaN where a model can't forecast, and where it gives nonsense."""
    forecasts = model.forecast(inputs)
    return np.where(np.isfinite(forecasts), forecasts, np.nan)


def refuse(streams: Mapping[str, StreamDefinition], record: Record) -> str | None:
    """Why a record can't be worked on, or None."""
    times = [record.t] if record.issued is None else [record.t, record.issued]
    return refusal(streams, record.stream, record.values, future=record.issued is not None, times=times)
