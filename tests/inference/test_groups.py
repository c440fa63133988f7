"""Series of one group: each sees what the others measured, and a whole group is forecast at once."""

from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.bus.port import Envelope
from driftline.messages import Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.worker.keyed import KeyedStep
from driftline_inference.groups import Assembly
from driftline_inference.step import ForecastStep
from tests.watching import WatchingModel

HOUR_MS = 3_600_000
TEXT = "name: a\ntime: {column: when, period: 1h}\nkey: k\ntarget: y\nlags: 3\nhorizon: [1, 2]\ngroup: all\n"
TOGETHER, IN_TURN = parse(f"{TEXT}together: true\n", "a"), parse(TEXT, "a")


def record(hour: int, key: str, value: float | None, group: str = "all") -> Record:
    return Record("a", key, hour * HOUR_MS, {"y": value}, 0.0, group)


def new_step(stream=TOGETHER, model=None) -> KeyedStep[Record]:
    serving = {("a", "batch"): model} if model else {}
    return KeyedStep({"a": ForecastStep(stream, lambda: serving)}, lambda _stream, _reason: None)


def run(step: KeyedStep[Record], sent: list[Record], first: int = 0) -> list[Forecast]:
    outputs = step.step([Envelope(0, first + n, 0.0, message) for n, message in enumerate(sent)])
    return [output.message for output in outputs if isinstance(output.message, Forecast)]


def names(forecasts: list[Forecast]) -> list[tuple[int, str]]:
    return [(forecast.t // HOUR_MS, forecast.key) for forecast in forecasts]


def walk(hours: int, keys: str = "uvw", seed: int = 0) -> list[Record]:
    random = np.random.default_rng(seed)
    return [record(hour, key, float(random.normal())) for hour in range(hours) for key in keys]


def test_a_group_is_forecast_when_its_last_series_has_come():
    step = new_step()
    run(step, walk(2))
    assert names(run(step, [record(2, "w", 1.0), record(2, "u", 2.0)], 6)) == []
    assert names(run(step, [record(2, "v", 3.0)], 8)) == [(2, "u"), (2, "v"), (2, "w")]


def test_or_when_the_first_record_of_a_later_time_has_come_and_then_nobody_waits_for_the_missing():
    step = new_step()
    run(step, walk(2))
    run(step, [record(2, "u", 1.0), record(2, "v", 1.0)], 6)
    assert names(run(step, [record(3, "u", 1.0)], 8)) == [(2, "u"), (2, "v")]
    assert names(run(step, [record(3, "v", 1.0)], 9)) == [(3, "u"), (3, "v")]
    # It comes back: its record is forecast at once, and it is waited for from the next time on.
    assert names(run(step, [record(3, "w", 1.0)], 10)) == [(3, "w")]
    assert names(run(step, [record(4, "u", 1.0), record(4, "v", 1.0)], 11)) == []
    assert names(run(step, [record(4, "w", 1.0)], 13)) == [(4, "u"), (4, "v"), (4, "w")]


def test_each_knows_what_the_others_measured_at_the_same_time():
    model = WatchingModel(2)
    step = new_step(model=model)
    sent = walk(6)
    run(step, sent)
    last = {row.key: row.values["y"] for row in sent[-3:]}
    # Of a network's inputs the neighbours are the last: difference, two deviations, moves of 1 and 2, spread.
    for row, key in enumerate("uvw"):
        rest = [value for other, value in last.items() if other != key]
        inputs = model.inputs[-1].net[-3:][row]
        assert inputs[-6] == pytest.approx(np.mean(rest) - last[key], rel=1e-5)
        assert inputs[-1] == pytest.approx(np.std(rest), rel=1e-5)


def test_in_turn_each_sees_those_that_came_before_it():
    model = WatchingModel(2)
    step = new_step(IN_TURN, model)
    sent = walk(6)
    assert len(run(step, sent)) == len(sent)
    before, now = ({row.key: row.values["y"] for row in part} for part in (sent[-6:-3], sent[-3:]))
    second, third = model.inputs[-1].net[-2:, -6]
    assert second == pytest.approx(np.mean([now["u"], before["w"]]) - now["v"], rel=1e-5)
    assert third == pytest.approx(np.mean([now["u"], now["v"]]) - now["w"], rel=1e-5)


def some_missing(seed: int) -> list[Record]:
    """Records that are missing, come twice, or come late."""
    random = np.random.default_rng(seed)
    sent: list[Record] = []
    for row in walk(25, seed=seed):
        if random.random() < 0.15:
            continue
        value = None if random.random() < 0.1 else row.values["y"]
        sent.append(msgspec.structs.replace(row, values={"y": value}))
        if random.random() < 0.1:
            sent.append(msgspec.structs.replace(sent[-1], t=sent[-1].t + HOUR_MS // 4, values={"y": 2.0}))
    order = sorted(range(len(sent)), key=lambda n: n + 2.5 * random.random())
    return [sent[n] for n in order]


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=5), st.sampled_from([TOGETHER, IN_TURN]))
@settings(max_examples=25, deadline=None)
def test_where_a_batch_is_cut_makes_no_difference(seed: int, cuts: list[int], stream: StreamDefinition):
    sent = some_missing(seed)
    whole = run(new_step(stream), sent)
    step = new_step(stream)
    bounds = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    parts = [forecast for a, b in pairwise(bounds) for forecast in run(step, sent[a:b], a)]
    assert [repr(forecast) for forecast in sorted(parts, key=lambda f: (f.key, f.t))] == [
        repr(forecast) for forecast in sorted(whole, key=lambda f: (f.key, f.t))
    ]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_restored_it_goes_on_bit_by_bit_with_what_waits(seed: int, cut: int):
    sent = some_missing(seed)
    cut = min(cut, len(sent))
    first = new_step()
    expected = run(first, sent[:cut]) + run(first, sent[cut:], cut)
    stopped = new_step()
    before = run(stopped, sent[:cut])
    resumed = new_step()
    resumed.restore(0, stopped.snapshot(0))
    after = run(resumed, sent[cut:], cut)
    assert [repr(forecast) for forecast in before + after] == [repr(forecast) for forecast in expected]


@given(st.integers(0, 2**32 - 1), st.integers(5, 40))
@settings(max_examples=25, deadline=None)
def test_a_checkpoint_of_what_has_changed_is_all_that_a_restart_needs(seed: int, cut: int):
    """A record may release those of other series: their states have changed, too."""
    sent = some_missing(seed)
    step = new_step()
    states: dict[str, bytes | None] = {}
    for n, message in enumerate(sent[:cut]):
        run(step, [message], n)
        states |= step.snapshot(0)
    resumed = new_step()
    resumed.restore(0, states)
    assert [repr(f) for f in run(step, sent[cut:], cut)] == [repr(f) for f in run(resumed, sent[cut:], cut)]


def test_every_record_is_released_once_or_counted():
    let_go: list[str] = []
    assembly, random = Assembly(let_go.append), np.random.default_rng(3)
    sent = [record(int(random.integers(n // 4, n // 4 + 3)), f"k{random.integers(5)}", float(n)) for n in range(400)]
    released = [
        row.values["y"]
        for message in sent
        for part in assembly.add("all", message, message.t // HOUR_MS)
        for row in part
    ]
    assert len(released) == len(set(released)) == len(sent) - len(assembly) - len(let_go)
    assert len(let_go) == 5


def test_a_series_that_is_forgotten_is_waited_for_no_more():
    step = new_step()
    run(step, walk(2))
    step._stream_steps["a"].forget("w")
    assert names(run(step, [record(2, "u", 1.0), record(2, "v", 1.0)], 6)) == [(2, "u"), (2, "v")]


def test_what_waits_of_a_series_is_forecast_before_it_goes_to_another_group():
    stream_step = ForecastStep(TOGETHER, dict)
    step = KeyedStep({"a": stream_step}, lambda _stream, _reason: None)
    run(step, walk(2))
    assert names(run(step, [record(2, "w", 7.0)], 6)) == []
    assert names(run(step, [record(3, "w", 8.0, "other")], 7)) == [(2, "w"), (3, "w")]
    assert names(run(step, [record(2, "u", 1.0), record(2, "v", 1.0)], 8)) == [(2, "u"), (2, "v")]
    history = stream_step._tables.history
    assert history.tick[stream_step._store["w"]] == 3
    assert history.recent[stream_step._store["w"], [2 % 3, 3 % 3], 0].tolist() == [7.0, 8.0]


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=5), st.sampled_from([TOGETHER, IN_TURN]))
@settings(max_examples=25, deadline=None)
def test_nor_does_it_where_series_go_to_other_groups(seed: int, cuts: list[int], stream: StreamDefinition):
    random = np.random.default_rng(seed)
    sent = [msgspec.structs.replace(row, group="other") if random.random() < 0.1 else row for row in some_missing(seed)]
    whole, step = run(new_step(stream), sent), new_step(stream)
    bounds = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    parts = [forecast for a, b in pairwise(bounds) for forecast in run(step, sent[a:b], a)]
    assert sorted(map(repr, parts)) == sorted(map(repr, whole))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=60))
@settings(max_examples=60, deadline=None)
def test_who_is_waited_for_is_the_same_after_a_restart(calls: list[tuple[int, int, bool]]):
    """calls: a key, by how many hours its time goes on, and whether the series is forgotten then."""
    assembly, hours = Assembly(), dict.fromkeys("0123", 0)
    known: dict[str, int] = {}
    for number, more, forget in calls:
        key = str(number)
        if forget:
            assembly.drop("all", key)
            known.pop(key, None)
            continue
        hours[key] += more + 1
        for part in assembly.add("all", record(hours[key], key, 1.0), hours[key]):
            known |= {row.key: row.t // HOUR_MS for row in part}
    restarted = Assembly()
    for key, tick in known.items():
        restarted.released("all", key, tick)
    assert assembly._newest == restarted._newest


def test_after_a_time_that_cannot_be_a_group_is_forecast_at_once_again():
    step, now = new_step(), 500_000

    def send(hour: int, arrived: int) -> list[list[tuple[int, str]]]:
        sent = [Envelope(0, 0, arrived * 3600.0, record(hour, key, 1.0)) for key in "uvw"]
        messages = [[output.message for output in step.step([envelope])] for envelope in sent]
        return [names([message for message in part if isinstance(message, Forecast)]) for part in messages]

    send(now, arrived=now)
    assert send(now + 9000, arrived=now) == [[], [], [(now + 9000, "u"), (now + 9000, "v"), (now + 9000, "w")]]
    # Each begins again with a record of its own.
    assert send(now + 1, arrived=now + 1) == [[(now + 1, "u")], [(now + 1, "v")], [(now + 1, "w")]]
    assert send(now + 2, arrived=now + 2) == [[], [], [(now + 2, "u"), (now + 2, "v"), (now + 2, "w")]]


def test_nothing_is_remembered_of_a_group_whose_series_are_all_forgotten():
    assembly = Assembly()
    for n in range(100):
        assembly.add(f"g{n}", record(n, "u", 1.0, f"g{n}"), n)
        assembly.drop(f"g{n}", "u")
    assert (assembly._newest, assembly._waiting, assembly._ticks) == ({}, {}, {})


def test_of_a_series_that_sends_far_more_often_than_its_period_two_records_wait_and_the_rest_is_counted():
    dropped: list[tuple[str, str]] = []
    stream_step = ForecastStep(TOGETHER, dict, dropped=lambda *what: dropped.append(what))
    step = KeyedStep({"a": stream_step}, lambda _stream, _reason: None)
    run(step, walk(2))
    often = [msgspec.structs.replace(record(2, "w", float(n)), t=2 * HOUR_MS + n * 1000) for n in range(1000)]
    assert run(step, often, 6) == []
    assert stream_step.waiting == 2
    assert dropped == [("a", "repeated")] * 998
    released = run(step, [record(2, "u", 1.0), record(2, "v", 1.0)], 1006)
    assert [(forecast.key, forecast.observed) for forecast in released] == [
        ("u", 1.0),
        ("v", 1.0),
        ("w", 0.0),
        ("w", 999.0),
    ]
    assert stream_step._tables.history.recent[stream_step._store["w"], 2, 0] == 999.0
