"""Inference's step: a forecast for each record, by all who can, with the version of each model."""

import math
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.bus.port import Envelope, Output
from driftline.messages import FORECASTS, Alert, Forecast, Record
from driftline.streams.definition_files import parse
from driftline.streams.features import Inputs
from driftline.streams.layout import Layout
from driftline.worker.keyed import KeyedStep
from driftline_inference.step import ForecastStep, refuse

STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {x: level}\nlags: 3\nhorizon: [1, 2]\n",
    "a.yaml",
)
WIDTH = Layout.of(STREAM).net_width


class Plus:
    """A model that says how far the value will move."""

    def __init__(self, version: str, by: float) -> None:
        self.version = version
        self.by = by
        self.rows: list[int] = []

    @property
    def skills(self) -> list[float]:
        return [0.25]

    def forecast(self, inputs: Inputs) -> np.ndarray:
        assert inputs.net.shape[1] == WIDTH
        self.rows.append(len(inputs.net))
        forecasts = np.repeat(inputs.last[:, None] + self.by, 2, axis=1)
        return np.where(inputs.ready[:, None], forecasts, np.nan)


def records(count: int, keys: int = 2, seed: int = 0) -> list[Record]:
    random = np.random.default_rng(seed)
    return [
        Record("a", f"k{key}", n * 3_600_000, {"y": None if n % 9 == 5 else float(random.normal()), "x": n % 5.0}, 0.0)
        for n in range(count)
        for key in range(keys)
    ]


def run(step, sent: list[Record]) -> list[Forecast]:
    return forecasts_of(step.step([Envelope(0, n, 0.0, record) for n, record in enumerate(sent)]))


def forecasts_of(outputs: Sequence[Output]) -> list[Forecast]:
    return [output.message for output in outputs if isinstance(output.message, Forecast)]


def new_step(models=None, dropped=lambda _stream, _reason: None) -> KeyedStep[Record]:
    return KeyedStep({"a": ForecastStep(STREAM, lambda: models or {})}, dropped)


def test_one_forecast_for_each_record_in_their_order():
    sent = records(20)
    found = run(new_step(), sent)
    assert [(f.key, f.t) for f in found] == [(r.key, r.t) for r in sent]
    assert [f.observed for f in found] == [r.values["y"] for r in sent]
    assert all(set(f.members) == {"persistence", "seasonal", "rls", "stack"} for f in found)


def test_without_the_target_nobody_forecasts():
    forecasts = run(new_step({("a", "batch"): Plus("v1", 1.0)}), records(20))
    assert {forecast.observed is None for forecast in forecasts} == {True, False}
    for found in forecasts:
        if found.observed is None:
            assert all(math.isnan(value) for values in found.members.values() for value in values)
        else:
            assert found.members["persistence"] == [found.observed] * 2
            assert all(math.isfinite(value) for value in found.members["rls"])


def test_a_model_forecasts_differences_once_its_lags_are_filled_and_names_its_version():
    found = [f for f in run(new_step({("a", "batch"): Plus("v7", 1.5)}), records(4, keys=1)) if f.observed is not None]
    assert [math.isfinite(f.members["batch"][0]) for f in found] == [False, False, True, True]
    assert found[-1].members["batch"] == pytest.approx([found[-1].observed + 1.5] * 2, abs=1e-5)
    assert {f.versions["batch"] for f in found} == {"v7"}


def test_over_no_models_the_stack_is_the_plain_filter():
    forecasts = run(new_step(), records(20))
    assert any(math.isfinite(forecast.members["rls"][0]) for forecast in forecasts)
    for found in forecasts:
        assert found.members["stack"] == pytest.approx(found.members["rls"], nan_ok=True)


@pytest.mark.parametrize("members", [("batch",), ("speed",), ("batch", "speed")])
def test_the_stack_begins_as_the_mean_of_the_models_that_are_there(members: tuple[str, ...]):
    models = {("a", member): Plus("v1", 1.0 + place) for place, member in enumerate(members)}
    found = next(f for f in run(new_step(models), records(4, keys=1)) if math.isfinite(f.members[members[0]][0]))
    mean = sum(model.by for model in models.values()) / len(models)
    assert found.members["stack"] == pytest.approx([found.observed + mean] * 2)


def test_the_stack_learns_from_where_the_models_begin_and_not_before():
    serving: dict[tuple[str, str], Plus] = {}
    step = KeyedStep({"a": ForecastStep(STREAM, lambda: serving)}, lambda _stream, _reason: None)
    sent = records(400, keys=1)
    run(step, sent[:300])
    serving = {("a", "batch"): Plus("v1", 1.0)}
    first = next(f for f in run(step, sent[300:]) if f.observed is not None)
    assert first.members["stack"] == pytest.approx([first.observed + 1.0] * 2, abs=1e-5)


def test_a_model_runs_once_for_a_whole_batch():
    model = Plus("v1", 0.0)
    run(new_step({("a", "batch"): model}), records(50, keys=3))
    assert model.rows == [150]


def test_a_model_of_another_stream_is_not_asked():
    model = Plus("v1", 0.0)
    run(new_step({("b", "batch"): model}), records(5))
    assert model.rows == []


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf")])
def test_a_model_that_gives_nonsense_sits_out(nonsense: float):
    forecasts = run(new_step({("a", "batch"): Plus("v1", nonsense)}), records(10))
    assert len(forecasts) == len(records(10))
    for found in forecasts:
        assert all(math.isnan(value) for value in found.members["batch"])


def test_a_swap_between_batches_changes_version_with_the_next_batch():
    serving = {("a", "batch"): Plus("v1", 0.0)}
    step = KeyedStep({"a": ForecastStep(STREAM, lambda: serving)}, lambda _stream, _reason: None)
    sent = records(20)
    first = run(step, sent[:20])
    serving = {("a", "batch"): Plus("v2", 0.0)}
    second = run(step, sent[20:])
    assert {f.versions["batch"] for f in first} == {"v1"}
    assert {f.versions["batch"] for f in second} == {"v2"}


def test_what_was_seen_is_dropped_and_counted():
    counted = []
    step = new_step(dropped=lambda _, reason: counted.append(reason))
    sent = records(3, keys=1)
    assert len(run(step, [sent[0], sent[0], sent[1], sent[2], sent[1]])) == 3
    assert len(run(step, sent)) == 0
    assert counted == ["repeated", "out_of_order", "out_of_order", "out_of_order", "repeated"]


@given(st.lists(st.integers(0, 80), max_size=6))
@settings(max_examples=15, deadline=None)
def test_where_a_batch_is_cut_makes_no_difference(cuts: list[int]):
    sent = records(40)
    whole = {(f.key, f.t): f.members["rls"] for f in run(new_step(), sent)}
    step, bounds = new_step(), [0, *sorted(cuts), len(sent)]
    for begin, end in pairwise(bounds):
        for found in run(step, sent[begin:end]):
            assert found.members["rls"] == pytest.approx(whole[found.key, found.t], abs=1e-9, nan_ok=True)


@given(st.integers(1, 79))
@settings(max_examples=15, deadline=None)
def test_restored_it_goes_on_bit_by_bit(cut: int):
    sent = records(40)
    expected = run(new_step(), sent[:cut])
    continued = new_step()
    run(continued, sent[:cut])
    expected += run(continued, sent[cut:])
    stopped, resumed = new_step(), new_step()
    found = run(stopped, sent[:cut])
    resumed.restore(0, stopped.snapshot(0))
    found += run(resumed, sent[cut:])
    assert [repr(f) for f in found] == [repr(f) for f in expected]


def test_a_state_of_another_period_is_left_behind():
    step, sent, left = new_step(), records(10), list[tuple[str, str, str]]()
    run(step, sent)
    other = STREAM.model_copy(update={"time": STREAM.time.model_copy(update={"period": 1800})})
    stream_step = ForecastStep(other, dict, left_behind=lambda *said: left.append(said))
    renewed = KeyedStep({"a": stream_step}, lambda _stream, _reason: None)
    renewed.restore(0, step.snapshot(0))
    assert [(stream, key) for stream, key, _ in left] == [("a", "k0"), ("a", "k1")]
    assert len(run(renewed, sent)) == len(sent)


def test_what_does_not_fit_is_refused():
    streams = {"a": STREAM}
    assert refuse(streams, records(1)[0]) is None
    assert refuse(streams, Record("b", "k", 0, {}, 0.0)) == "found stream 'b', expected one of ['a']"
    assert refuse(streams, Record("a", "k", 0, {"y": 1.0}, 0.0)) == "found no value for 'x', expected ['y', 'x']"


def test_a_new_version_that_is_worse_than_the_one_before_is_told_once_with_an_alert():
    told: list[tuple[str, ...]] = []
    stream_step = ForecastStep(
        STREAM,
        lambda: {("a", "batch"): Plus("v2", 50.0)},
        shadows=lambda: {("a", "batch"): Plus("v1", 0.0)},
        worse=lambda *what: told.append(what),
    )
    sent = records(200)
    outputs = KeyedStep({"a": stream_step}, lambda _stream, _reason: None).step(
        [Envelope(0, n, 0.0, record) for n, record in enumerate(sent)]
    )
    alerts = [output.message for output in outputs if isinstance(output.message, Alert)]
    assert [(stream, member, version) for stream, member, version, _ in told] == [("a", "batch", "v2")]
    assert [(alert.kind, alert.subject) for alert in alerts] == [("rollback", "batch")]
    assert "v2: worse than v1" in alerts[0].detail
    assert len(outputs) == len(sent) + 1


def test_a_new_version_that_is_no_worse_goes_on():
    told: list[tuple[str, ...]] = []
    stream_step = ForecastStep(
        STREAM,
        lambda: {("a", "batch"): Plus("v2", 0.0)},
        shadows=lambda: {("a", "batch"): Plus("v1", 0.5)},
        worse=lambda *what: told.append(what),
    )
    run(KeyedStep({"a": stream_step}, lambda _stream, _reason: None), records(600))
    assert told == []


BEGIN = 1_772_366_400.0
FUTURE = 4_102_358_400_000


def arriving(*times: int, at: float = BEGIN) -> list[Envelope[Record]]:
    return [Envelope(0, n, at, Record("a", "k", t, {"y": 1.0, "x": 0.0}, at)) for n, t in enumerate(times)]


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_series_that_a_time_from_the_future_silenced_begins_anew(cut: int):
    t = round(BEGIN * 1000)
    sent, step = arriving(t - 3_600_000, FUTURE, t, t + 3_600_000), new_step()
    outputs = [*step.step(sent[:cut]), *step.step(sent[cut:])]
    found = [forecast.t for forecast in forecasts_of(outputs)]
    assert found == [envelope.value.t for envelope in sent]
    last, whole = (forecasts_of(batch)[-1] for batch in (outputs, new_step().step(sent)))
    assert FORECASTS.encode(last) == FORECASTS.encode(whole), "wherever a batch is cut"
    restored = new_step()
    restored.restore(0, step.snapshot(0))
    assert restored.step(arriving(t + 3_600_000)) == []


def test_a_series_that_was_silenced_before_a_restart_begins_anew():
    poisoned, renewed, t = new_step(), new_step(), round(BEGIN * 1000)
    poisoned.step(arriving(FUTURE))
    renewed.restore(0, poisoned.snapshot(0))
    (output,) = renewed.step(arriving(t))
    assert [forecast.t for forecast in forecasts_of([output])] == [t]


def test_neither_a_clock_set_back_nor_a_repeat_from_the_future_makes_a_series_forget():
    t = round(BEGIN * 1000)
    dropped: list[str] = []
    for late in ([Envelope(0, 9, BEGIN - 20 * 86_400, arriving(t - 1)[0].value)], arriving(t - 1, at=5.0)):
        step = new_step(dropped=lambda _stream, reason: dropped.append(reason))
        step.step(arriving(t))
        assert step.step(late) == []
    step.step(arriving(FUTURE))
    assert step.step(arriving(FUTURE, FUTURE - 1)) == []
    assert dropped == ["out_of_order", "out_of_order", "repeated", "out_of_order"]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"t": 10**18}, 10**18), ({"t": 2**63}, 2**63), ({"t": -5}, -5), ({"issued": 2**62}, 2**62), ({"issued": -1}, -1)],
)
def test_a_time_that_no_record_can_have_is_refused(change: dict[str, int], named: int):
    """A worker that tried it would die of it, read it again, and die again."""
    stream = parse(
        "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nhorizon: [1]\nfutures: {f: level}\n", "a"
    )
    record = Record("a", "k", 0, {"y": 1.0, "f": 1.0}, 0.0, issued=0)
    assert refuse({"a": stream}, record) is None
    reason = refuse({"a": stream}, msgspec.structs.replace(record, **change))
    assert reason == f"found the time {named}, expected milliseconds from 1970 on, before the year 2100"
