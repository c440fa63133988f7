"""A definition changes between save and restore: of a series all is kept but what is new in it."""

import math
import zlib
from collections.abc import Sequence
from itertools import product
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.arrays import Derived, PerHorizon, Symmetric
from driftline.members import MEMBERS
from driftline.messages import Blend, Forecast, Record
from driftline.scoring import ROWS
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.layout import Layout
from driftline.worker.parts import Axes, Body, Header, Part, Ring, SavedState, checked, decoded, read
from driftline_combiner import state as blend_states
from driftline_combiner.step import BlendStep
from driftline_inference import state as forecast_states
from driftline_inference.step import ForecastStep
from tests.upgrade.kept import Trend

PERIOD_MS = 3_600_000
BEGIN_MS = 1_700_006_400_000
COUNT = 90
COLUMNS = {"x": "level", "w": "level", "d": "angle"}
FUTURES = {"f": "level", "e": "angle"}
KEY = "k"


def definition(**changes: Any) -> StreamDefinition:
    content = {"horizon": [1, 3], "lags": 4, "patience": 5, "features": {"x": "level"}, "futures": {}, "season": ["1d"]}
    lines = "\n".join(f"{name}: {value}" for name, value in (content | changes).items())
    return parse(f"name: a\ntime: {{column: t, period: 1h}}\nkey: id\ntarget: y\n{lines}\n", "a.yaml")


DEFINITIONS = st.builds(
    definition,
    horizon=st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True).map(sorted),
    lags=st.integers(2, 9),
    patience=st.integers(1, 8),
    features=st.lists(st.sampled_from(sorted(COLUMNS)), unique=True).map(lambda names: {n: COLUMNS[n] for n in names}),
    futures=st.lists(st.sampled_from(sorted(FUTURES)), unique=True).map(lambda names: {n: FUTURES[n] for n in names}),
    season=st.sampled_from([[], ["1d"], ["1d", "7d"]]),
)


def messages(first: int = 0, count: int = COUNT) -> list[Record]:
    """With all columns; every 20th record has a future with it, and a few truths and records are missing."""
    random = np.random.default_rng(5)
    rows = np.round(random.normal(size=(first + count, 6)).cumsum(axis=0), 2).tolist()
    sent: list[Record] = []
    for n in range(first, first + count):
        t, (y, *others) = BEGIN_MS + n * PERIOD_MS, rows[n]
        if n % 17 == 3:
            continue
        values = dict(zip((*COLUMNS, *FUTURES), others, strict=True))
        sent.append(Record("a", KEY, t, {"y": None if n % 11 in {6, 7} else y, **values}, 0.0))
        if n % 20 == 9:
            sent += [Record("a", KEY, t + h * PERIOD_MS, values, 0.0, issued=t - 1000) for h in range(1, 12)]
    return sent


def forecast_step(stream: StreamDefinition, skills: list[float] | None = None) -> ForecastStep:
    models = {("a", "batch"): Wide(len(stream.horizon), [0.1] * len(stream.horizon) if skills is None else skills)}
    return ForecastStep(stream, lambda: models, left_behind=refuse)


def blend_step(stream: StreamDefinition) -> BlendStep:
    return BlendStep(stream, lambda _stream, _kind: None, left_behind=refuse)


def refuse(_stream: str, _key: str, reason: str) -> None:
    raise AssertionError(reason)


class Wide(Trend):
    """For so many horizons. reported: of its hold-out."""

    def __init__(self, horizons: int, reported: list[float]) -> None:
        self.horizons, self.reported = horizons, reported

    @property
    def skills(self) -> list[float]:
        return self.reported

    def forecast(self, inputs: Any) -> Any:
        return inputs.last[:, None] + np.full(self.horizons, 0.5)


def work(forecasting: ForecastStep, blending: BlendStep, sent: Sequence[Record]) -> list[tuple[Forecast, Blend]]:
    both = []
    for record in sent:
        if record.issued is not None:
            if forecasting.stream.futures:
                forecasting.foresee(record)
            continue
        for _, forecast in forecasting.work([record])[0]:
            if isinstance(forecast, Forecast):
                blend = blending.work([forecast])[0][0][1]
                assert isinstance(blend, Blend)
                both.append((forecast, blend))
    return both


def pair(stream: StreamDefinition, skills: list[float] | None = None) -> tuple[ForecastStep, BlendStep]:
    return forecast_step(stream, skills), blend_step(stream)


def restored(
    steps: Sequence[Any], stream: StreamDefinition, skills: list[float] | None = None
) -> tuple[ForecastStep, BlendStep]:
    forecasting, blending = pair(stream, skills)
    forecasting.restore(KEY, steps[0].save(KEY))
    blending.restore(KEY, steps[1].save(KEY))
    return forecasting, blending


def by_meaning(step: Any, axes: Axes) -> dict[tuple[Any, ...], float]:
    """Every number of the series, by its part and by what its place means on every axis."""
    numbers: dict[tuple[Any, ...], float] = {}
    slot = step._store[KEY]
    tick = int(step._tables[0].tick[slot])
    for table_name, table in step._tables._asdict().items():
        hints = get_type_hints(type(table), include_extras=True)
        for field, hint in hints.items():
            assert get_origin(hint) is Annotated
            said = get_args(hint)[1]
            if said is Derived:
                continue
            labels = [axis for over in said.axes for axis in _labels(over, table_name, axes, tick)]
            row = getattr(table, field)[slot]
            for places in product(*(range(len(axis)) for axis in labels)):
                meant = (axis[p] for axis, p in zip(labels, places, strict=True))
                parts = (part for label in meant for part in (label if isinstance(label, Forecasting) else (label,)))
                numbers[f"{table_name}.{field}", *parts] = float(row[places])
    return numbers


class Forecasting(NamedTuple):
    """What a place among the rings of all horizons is of."""

    tick: tuple[str, int]
    horizon: int


def _labels(over: str | int | Symmetric | PerHorizon, table: str, axes: Axes, tick: int) -> list[list[Any]]:
    if isinstance(over, int):
        return [list(range(over))]
    if isinstance(over, PerHorizon):
        horizons, ring = axes["horizons"], axes["ring"]
        assert not isinstance(horizons, Ring)
        lengths = [len(ring) - int(horizons[-1]) + int(horizon) for horizon in horizons]
        return [
            [
                Forecasting(("tick", k), int(horizon))
                for horizon, length in zip(horizons, lengths, strict=True)
                for k in sorted(range(tick - length + 1, tick + 1), key=lambda k: k % length)
            ]
        ]
    name = over.axis if isinstance(over, Symmetric) else over
    axis = axes.get(f"{table}.{name}", axes.get(name))
    assert axis is not None
    if isinstance(axis, Ring):
        held = range(tick, tick + len(axis)) if axis.ahead else range(tick - len(axis) + 1, tick + 1)
        return [[("tick", k) for k in sorted(held, key=lambda k: k % len(axis))]]
    if isinstance(over, str):
        return [list(axis)]
    if not over.halved:
        return [list(axis), list(axis)]
    return [[tuple(sorted((axis[i], axis[j]))) for i in range(len(axis)) for j in range(i, len(axis))]]


EXCEPT = {"history.start", "history.before", "ledger.since", "ledger.compared"}
"""What follows otherwise, see `settle`."""


def kept_and_new(module: Any, steps: Sequence[Any], after: StreamDefinition, changed: Any) -> None:
    """steps: before and blank."""
    before, blank = (by_meaning(step, module.axes_of(step.stream)) for step in steps)
    # In a blank state a place of a ring has no tick yet.
    new = {_without_ticks(meaning): number for meaning, number in blank.items()}
    now = by_meaning(changed, module.axes_of(after))
    fresh = set(after.horizon) - set(steps[0].stream.horizon)
    # What all horizons had together, whichever of them it was of.
    beyond = {(meaning[1], meaning[3]) for meaning in before if meaning[0] == "waiting.terms"}
    for meaning, number in now.items():
        if meaning[0] in EXCEPT:
            continue
        if meaning in before:
            expected = before[meaning]
        elif meaning[0] == "waiting.terms" and (meaning[2] in fresh or (meaning[1], meaning[3]) in beyond):
            # Nothing was forecast, or its truth could not come any more.
            expected = math.nan
        else:
            expected = new[_without_ticks(meaning)]
        assert number == expected or (math.isnan(number) and math.isnan(expected)), (meaning, number, expected)


def _without_ticks(meaning: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(label for label in meaning if not (isinstance(label, tuple) and label[0] == "tick"))


def blank_of(step: Any, stream: StreamDefinition) -> Any:
    """A step of one new series."""
    step._store.slot(KEY)
    return step


@given(DEFINITIONS, DEFINITIONS)
@settings(max_examples=10, deadline=None)
def test_all_is_kept_but_what_is_new(first: StreamDefinition, second: StreamDefinition):
    steps = pair(first)
    work(*steps, messages())
    same = restored(steps, first)
    assert [step.save(KEY) for step in same] == [step.save(KEY) for step in steps]
    changed = restored(steps, second)
    modules = (forecast_states, blend_states)
    for module, before, blank, after in zip(modules, same, pair(second), changed, strict=True):
        kept_and_new(module, (before, blank_of(blank, second)), second, after)
    # It goes on, and what is saved then is of the new definition alone.
    work(*changed, messages(COUNT, 20))
    again = restored(changed, second)
    assert [step.save(KEY) for step in again] == [step.save(KEY) for step in changed]


def test_the_terms_of_the_filters_are_as_many_as_there_are():
    for more in ({}, {"features": COLUMNS, "futures": FUTURES}, {"group": "all"}, {"group": "all", "lags": 2}):
        for season in ([], ["1d"], ["7d"], ["1d", "7d"]):
            stream = definition(season=season, **more)
            terms = forecast_states.filter_terms(stream)
            assert len(set(terms)) == len(terms) == Layout.of(stream).rls_terms


def rows(both: Sequence[tuple[Forecast, Blend]], steps: Sequence[int]) -> list[tuple[Any, ...]]:
    """What was forecast and published for these horizons."""
    said = []
    for forecast, blend in both:
        for step in steps:
            at = forecast.horizon.index(step)
            members = {name: values[at] for name, values in forecast.members.items() if name != "batch"}
            said.append(
                (step, repr(members), repr(blend.value[at]), repr({q: v[at] for q, v in blend.quantiles.items()}))
            )
    return said


@pytest.mark.parametrize(
    ("change", "steps"),
    [({"horizon": [1, 3, 8]}, (1, 3)), ({"horizon": [1]}, (1,)), ({"patience": 9}, (1, 3)), ({"lags": 9}, ())],
)
def test_what_does_not_depend_on_the_change_goes_on_bit_by_bit(change: dict[str, Any], steps: tuple[int, ...]):
    # What a model reports of a new horizon would have the others looked at sooner.
    steps_before, sent = pair(definition(), []), messages(COUNT, 40)
    work(*steps_before, messages())
    changed = restored(steps_before, definition(**change), [])
    expected, said = work(*steps_before, sent), work(*changed, sent)
    assert len(said) == len(expected) > 30
    assert rows(said, steps) == rows(expected, steps)


def test_a_further_horizon_is_guarded_and_measured_as_in_a_new_series():
    steps = pair(definition())
    work(*steps, messages(0, 400))
    _, blending = restored(steps, definition(horizon=[1, 3, 8]))
    ledger, slot = blending._tables.ledger, blending._store[KEY]
    assert (ledger.count[slot] - ledger.since[slot]).tolist() == [ledger.count[slot], ledger.count[slot], 0]


def test_a_further_column_warms_up_before_it_is_judged():
    steps = pair(definition())
    work(*steps, messages(0, 400))
    forecasting, blending = restored(steps, definition(features={"x": "level", "w": "level"}))
    shifts = {name for forecast, _ in work(forecasting, blending, messages(400, 200)) for name in forecast.shifts}
    assert "w" not in shifts
    health, slot = forecasting._tables.health, forecasting._store[KEY]
    assert health.usual[slot, 2] > 0
    assert health.count[slot, 0] > health.count[slot, 2]


def test_detectors_begin_again_where_drift_is_found_in_another_way():
    steps = pair(definition())
    work(*steps, messages())
    new, other = blend_step(definition()), blend_step(definition(drift={"delta": 0.01}))
    new._slot(KEY)
    other.restore(KEY, steps[1].save(KEY))
    assert list(other._alert_rules.dump(KEY).states) == ["error 1", "column y", "column x"]
    assert other._alert_rules.dump(KEY).states != steps[1]._alert_rules.dump(KEY).states
    assert other.sums(KEY).scored.sum() == steps[1].sums(KEY).scored.sum() > 0


def test_of_a_member_that_there_was_not_nothing_is_known_and_of_the_others_all():
    steps = pair(definition())
    work(*steps, messages(0, 300))
    blending = blend_step(definition())
    blending.restore(KEY, without_member(steps[1].save(KEY), "rls"))
    before, after = steps[1].sums(KEY), blending.sums(KEY)
    rls = ROWS.index("rls")
    assert before.scored[0, rls] > after.scored[0, rls] == 0
    assert np.delete(after.scored, rls, axis=1).tolist() == np.delete(before.scored, rls, axis=1).tolist()
    ledger, slot = blending._tables.ledger, blending._store[KEY]
    assert ledger.regret[slot][:, MEMBERS.index("rls")].tolist() == [0.0, 0.0]
    assert ledger.bound[slot].tolist() == steps[1]._tables.ledger.bound[0].tolist()
    assert ledger.reported[slot].tolist() == steps[1]._tables.ledger.reported[0].tolist()
    work(pair(definition())[0], blending, messages(300, 20))


def without_member(data: bytes, member: str) -> bytes:
    """As a release without it would have saved it."""
    stream = definition()
    saved = decoded(data)
    assert saved is not None
    body = checked(saved, blend_states.STATE, blend_states.signature(stream))
    header = msgspec.msgpack.decode(body.header, type=Header)
    parts = {name: blend_step(stream)._parts[name] for name in header.names}
    arrays = read(body.rows, {name: (part.dtype, part.shape(header.axes)) for name, part in parts.items()})
    axes = {**header.axes, "members": _dropped(MEMBERS, member), "rows": _dropped(ROWS, member)}
    smaller = {name: _smaller(part, part.whole(arrays[name], header.axes), member) for name, part in parts.items()}
    header_bytes = msgspec.msgpack.encode(Header(header.parts, axes))
    return _saved(saved, Body(header_bytes, b"".join(row.tobytes() for row in smaller.values()), body.more))


def _dropped(names: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)


def _smaller(part: Part, row: Any, member: str) -> Any:
    for number, over in enumerate(part.over):
        if over == "members":
            row = np.delete(row, MEMBERS.index(member), axis=number)
        elif over == "rows":
            row = np.delete(row, ROWS.index(member), axis=number)
    if part.symmetric is None:
        return row
    for axis in (-1, -2):
        row = np.delete(row, MEMBERS.index(member), axis=axis)
    return row[(..., *np.triu_indices(row.shape[-1]))]


def _saved(saved: SavedState, body: Body) -> bytes:
    packed = zlib.compress(msgspec.msgpack.encode(body), 1)
    return msgspec.msgpack.encode(msgspec.structs.replace(saved, body=packed))


def test_names_are_a_small_part_of_a_state():
    stream = definition(horizon=[1, 6, 36], lags=12, season=["1d", "7d"])
    steps = pair(stream)
    work(*steps, messages(0, 400))
    sizes = [size_of(module, step) for module, step in zip((forecast_states, blend_states), steps, strict=True)]
    whole, names = (sum(part) for part in zip(*sizes, strict=True))
    assert names < 0.04 * whole, sizes


def size_of(module: Any, step: Any) -> tuple[int, int]:
    """Bytes of a state, and those of them that say what the rest is."""
    saved = decoded(step.save(KEY))
    assert saved is not None
    body = checked(saved, module.STATE, module.signature(step.stream))
    whole, bare = (len(_saved(saved, part)) for part in (body, msgspec.structs.replace(body, header=b"")))
    return whole, whole - bare


def test_a_week_without_the_hour_before_it_goes_on_through_a_change_of_the_clocks():
    """As states were saved before the same local time was looked back on, which needs a longer ring."""
    before, after = definition(season=["1d", "7d"]), definition(season=["1d", "7d"], calendar={"zone": "Europe/Paris"})
    first = 1_698_541_200_000 - 9 * 24 * PERIOD_MS
    sent = [Record("a", KEY, first + n * PERIOD_MS, {"y": n % 97.0, "x": 1.0}, 0.0) for n in range(400)]
    kept, expected = forecast_step(before), forecast_step(after)
    kept.work(sent[:200])
    expected.work(sent[:200])
    assert len(kept._tables.history.season[0]) == 168
    changed = forecast_step(after)
    changed.restore(KEY, kept.save(KEY))
    assert np.isfinite(changed._tables.history.season[0]).sum() == 169
    goes_on = [seasons_of(step.work(sent[200:])) for step in (changed, expected)]
    assert goes_on[0] == goes_on[1] != seasons_of(kept.work(sent[200:]))


def seasons_of(caused: Sequence[Sequence[Any]]) -> list[list[float]]:
    forecasts = [message for emissions in caused for _, message in emissions if isinstance(message, Forecast)]
    assert len(forecasts) == 200
    return [[*forecast.members["seasonal"], *forecast.members["weekly"]] for forecast in forecasts]


def test_a_state_that_does_not_name_the_guards_rivals_is_of_those_of_today():
    former, step = BlendStep(definition(), lambda *_: None), BlendStep(definition(), lambda *_: None)
    names = {"persistence": [1.0, 1.0], "rls": [2.0, 2.0]}
    former.work([Forecast("a", KEY, BEGIN_MS, 1.0, [1, 3], {}, {}, 0.0)])
    former.work([Forecast("a", KEY, BEGIN_MS + n * PERIOD_MS, 1.0, [1, 3], names, {}, 0.0) for n in range(1, 9)])
    saved = decoded(former.save(KEY))
    assert saved is not None
    body = checked(saved, blend_states.STATE, blend_states.signature(definition()))
    header = msgspec.msgpack.decode(body.header, type=Header)
    axes = {name: axis for name, axis in header.axes.items() if name != "rivals"}
    unnamed = msgspec.structs.replace(body, header=msgspec.msgpack.encode(msgspec.structs.replace(header, axes=axes)))
    packed = zlib.compress(msgspec.msgpack.encode(unnamed))
    step.restore(KEY, msgspec.msgpack.encode(msgspec.structs.replace(saved, body=packed)))
    assert step.weighting(KEY)[0].rivals == former.weighting(KEY)[0].rivals != (0.0, 0.0)
