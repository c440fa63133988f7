"""What comes at any time becomes one record for each period, whatever batches it comes in and whoever is killed."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from driftline.bus.port import Assignment, Envelope
from driftline.errors import InvalidDefinition
from driftline.messages import OBSERVATIONS, RECORDS, Observation, Record
from driftline.streams import tables
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline.streams.sources import joined
from driftline.streams.sources import records_of as parts_of
from driftline.worker.loop_settings import LoopSettings
from driftline_cli.replay import encode as encode_replay
from driftline_ingest.grid_step import LONGEST_SPAN, GridStep
from tests.core.crashing import Crash, Scenario, work_off
from tests.core.test_recovery import CRASHES, loops
from tests.ingest.test_same_everywhere import Doors

pytestmark = pytest.mark.unit

MINUTE = 60_000
START = 1_772_323_200_000
"""2026-03-01T00:00:00Z."""
PERIOD = 10 * MINUTE
BASE = "name: a\ntime: {column: when, period: 10min}\nkey: id\ntarget: y\n"
Values = dict[str, float | None]


def defined(grid: str, more: str = "") -> StreamDefinition:
    return parse(f"{BASE}{more}grid: {grid}\n", "a.yaml")


def at(minutes: float, value: float, key: str = "k", column: str = "y") -> Observation:
    """minutes: from START."""
    return Observation("a", key, START + round(minutes * MINUTE), {column: value}, 0.0)


def step_of(stream: StreamDefinition, dropped: list[str] | None = None, span: int = LONGEST_SPAN) -> GridStep:
    reasons = dropped if dropped is not None else []
    return GridStep({"a": stream}, lambda _, reason: reasons.append(reason), longest_span=span)


def envelopes(sent: Iterable[Observation], first: int = 0) -> list[Envelope[Observation]]:
    return [Envelope(0, n, 0.0, observation) for n, observation in enumerate(sent, first)]


def records_of(
    stream: StreamDefinition, sent: Iterable[Observation], dropped: list[str] | None = None
) -> list[tuple[str, float, Values]]:
    """Key, end of the period in minutes from START, values."""
    outputs = step_of(stream, dropped).step(envelopes(sent))
    records = [output.message for output in outputs if isinstance(output.message, Record)]
    return [(record.key, (record.t - START) / MINUTE, record.values) for record in records]


def of_one(stream: StreamDefinition, sent: Iterable[Observation]) -> list[tuple[float, float | None]]:
    return [(minute, values["y"]) for _, minute, values in records_of(stream, sent)]


@pytest.mark.parametrize(
    ("take", "expected"),
    [("mean", 3.0), ("last", 1.0), ("sum", 9.0), ("max", 6.0), ("min", 1.0)],
)
def test_a_period_takes_what_the_definition_says(take: str, expected: float):
    sent = [at(1, 2.0), at(4, 6.0), at(10, 1.0), at(12, 100.0)]
    assert of_one(defined(f"{{take: {take}, grace: 0}}"), sent) == [(10, expected)]


def test_every_column_may_take_another_and_an_angle_has_a_mean_of_directions():
    stream = defined("{take: {y: last}, grace: 0}", "features: {x: level, wind: angle}\n")
    sent = [
        at(n, value, column=c)
        for c, values in {"y": (1, 2), "x": (1, 2), "wind": (350, 20)}.items()
        for n, value in enumerate(values, 1)
    ]
    [(_, _, values)] = records_of(stream, [*sorted(sent, key=lambda o: o.t), at(11, 0.0)])
    assert (values["y"], values["x"]) == (2, 1.5)
    assert values["wind"] == pytest.approx(5)


def test_several_messages_of_a_device_become_one_record():
    stream = defined("{grace: 0}", "features: {humidity: level}\n")
    sent = [
        at(0, 12.1, "cellar"),
        at(1 / 30, 71.0, "cellar", "humidity"),
        at(1, 19.9, "attic"),
        at(5, 12.2, "cellar"),
        at(5.1, 44.0, "attic", "humidity"),
        at(10.02, 70.5, "cellar", "humidity"),
        at(10.7, 20.3, "attic"),
    ]
    assert records_of(stream, sent) == [
        ("cellar", 0, {"y": 12.1, "humidity": None}),
        ("attic", 10, {"y": 19.9, "humidity": 44.0}),
        ("cellar", 10, {"y": 12.2, "humidity": 71.0}),
    ]


def test_records_that_are_on_the_grid_come_out_as_they_went_in():
    sent = [at(10 * n, value) for n, value in enumerate((1.5, -2.25, 1e-9, 7.0))]
    assert of_one(defined("{}"), sent) == [(0, 1.5), (10, -2.25), (20, 1e-9)]


def test_a_period_waits_for_its_grace_and_what_comes_later_is_counted_as_late():
    dropped: list[str] = []
    stream = defined("{grace: 2}")
    sent = [at(5, 1.0), at(15, 2.0), at(25, 3.0), at(6, 3.0), at(30.1, 9.0), at(7, 100.0)]
    assert records_of(stream, sent, dropped) == [("k", 10, {"y": 2.0})]
    assert dropped == ["late"]


def test_a_silent_sensor_is_missing_or_keeps_its_value_until_hold():
    sent = [at(5, 1.0), at(6, 2.0), at(44, 4.0), at(55, 5.0)]
    assert of_one(defined("{grace: 0}"), sent) == [(10, 1.5), (50, 4.0)]
    kept = [(10, 1.5), (20, 2.0), (30, 2.0), (40, 2.0), (50, 4.0)]
    assert of_one(defined("{grace: 0, fill: last}"), sent) == kept
    assert of_one(defined("{grace: 0, fill: last, hold: 20min}"), sent) == [*kept[:2], kept[-1]]


def test_a_silent_sensor_keeps_its_value_while_others_speak():
    others = [at(10 * n + 1, 0.0, "other") for n in range(5)]
    kept = records_of(defined("{grace: 0, fill: last}"), [at(0.5, 7.0), *others])
    assert [minute for key, minute, _ in kept if key == "k"] == [10, 20, 30, 40]


def test_a_history_that_comes_key_by_key_and_the_memory_of_a_logger_are_counted_in():
    stream, dropped = defined("{grace: 0}"), list[str]()
    sent = [at(10 * n + m, float(n), key) for key in ("a", "b", "c") for n in range(30) for m in (3, 6)]
    taken = records_of(stream, [*sent, at(500, 0.0, "d"), at(520, 0.0, "d")], dropped)
    expected = {(key, 10.0 * n + 10) for key in ("a", "b", "c") for n in range(30)} | {("d", 500.0)}
    assert {(key, minute) for key, minute, _ in taken} == expected
    assert dropped == []


def counted(readings: Sequence[float], minutes: Sequence[float] | None = None) -> list[tuple[float, float | None]]:
    times = minutes or [10.0 * n for n in range(len(readings))]
    sent = [at(minute, value) for minute, value in zip(times, readings, strict=True)]
    return [(t, None if y is None else round(y, 6)) for t, y in of_one(defined("{take: difference, grace: 0}"), sent)]


def test_a_counter_gives_what_it_counted_in_a_period():
    assert counted([5.0, 5.2, 5.6, 5.6, 5.7]) == [(10, 0.2), (20, 0.4), (30, 0.0)]


@pytest.mark.parametrize("glitch", [0.0, 1e6, -1.0])
def test_one_glitch_of_a_counter_is_missing_and_no_spike(glitch: float):
    readings = [100 + 0.2 * n for n in range(12)]
    readings[6] = glitch
    expected = [(10.0 * n, 0.2) for n in range(1, 11) if n != 6]
    assert counted(readings) == expected


def test_a_reset_of_a_counter_is_no_spike():
    readings = [*(100 + 0.2 * n for n in range(6)), *(0.2 * n for n in range(6))]
    assert counted(readings) == [(10.0 * n, 0.2) for n in range(1, 11) if n != 6]


def test_a_counter_that_counts_far_more_from_now_on_is_believed_at_its_second_reading():
    readings = [*(100 + 0.01 * n for n in range(6)), *(150.0 + 50 * n for n in range(5))]
    assert counted(readings) == [*((10.0 * n, 0.01) for n in range(1, 6)), *((10.0 * n, 50.0) for n in range(7, 10))]


def test_what_was_counted_in_a_gap_is_the_mean_of_its_periods():
    assert counted([0.0, 1.0, 5.0, 6.0], [0, 10, 50, 60]) == [(10, 1.0), (50, 1.0)]


def test_a_counter_that_reports_on_change_counts_nothing_while_it_is_silent():
    sent = [at(0, 5.0), at(31, 6.0), at(41, 6.5)]
    assert of_one(defined("{take: difference, fill: last, grace: 0}"), sent) == [
        (10, 0.0),
        (20, 0.0),
        (30, 0.0),
        (40, 1.0),
    ]


@pytest.mark.parametrize("fill", ["null", "last"])
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.integers(1, 40),
    st.integers(0, 3),
    st.integers(1, 3),
)
@settings(max_examples=40, deadline=None)
def test_a_reset_within_a_period_is_no_spike_after_whatever_silence(
    fill: str, steps: list[int], silence: int, before: int, after: int
):
    """A counter that goes on by 1 in a period, is silent, and is reset in the period in which it speaks again."""
    minutes = [10.0 * n for n in range(12)]
    readings = [100.0 + n for n in range(12)]
    again = 110.0 + 10 * silence
    minutes += [again + 0.5 + 0.1 * n for n in range(before)]
    readings += [111.0 + silence] * before
    minutes += [again + 2 + 0.1 * n for n in range(after + 1)]
    readings += [0.01 * n for n in range(after + 1)]
    minutes += [again + 20 + 10 * n for n, _ in enumerate(steps)]
    readings += [0.1 + n for n, _ in enumerate(steps)]
    sent = [at(minute, value) for minute, value in zip(minutes, readings, strict=True)]
    counted_in = of_one(defined(f"{{take: difference, grace: 0, fill: {fill}}}"), sent)
    values = [value for _, value in counted_in if value is not None]
    # With `fill: last` what was counted in the silence is of its last period.
    assert max(values) <= (1.2 if fill == "null" else 1.2 + silence)


def of_source(name: str, columns: str, take: str) -> StreamDefinition:
    grid = f"{{grace: 0.5, fill: last, take: {take}}}"
    return parse(
        f"name: {name}\nsource: a\ntime: {{column: when, period: 10min}}\nkey: id\n{columns}grid: {grid}\n", name
    )


WARM = of_source("warm", "target: y\nfeatures: {x: level}\n", "{y: last}")
WET = of_source("wet", "target: z\nfeatures: {y: level}\n", "{z: max, y: last}")


def test_each_column_of_a_source_is_made_as_its_stream_says():
    source = joined([WARM, WET])
    sent = [at(m, value, column=c) for m, value in ((1, 2.0), (3, 8.0), (5, 5.0)) for c in ("x", "y", "z")]
    [(_, minute, values)] = records_of(source, [*sent, at(20, 0.0)])
    assert (minute, values) == (10, {"y": 5.0, "x": 5.0, "z": 8.0})
    record = Record("a", "k", START + PERIOD, values, 0.0)
    assert [(part.stream, part.values) for part in parts_of(record, [WARM, WET])] == [
        ("warm", {"y": 5.0, "x": 5.0}),
        ("wet", {"z": 8.0, "y": 5.0}),
    ]


@given(
    sent=st.lists(
        st.tuples(st.sampled_from("uvw"), st.floats(0, 120), st.floats(-9, 9), st.sampled_from("xyz")),
        min_size=8,
        max_size=60,
    ),
    share=st.floats(0.1, 0.9),
    is_restarted=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_stream_that_joins_while_periods_are_open_changes_no_other_column(
    sent: list[tuple[str, float, float, str]], share: float, *, is_restarted: bool
):
    observations = [at(minute, value, key, column) for key, minute, value, column in sorted(sent, key=lambda o: o[1])]
    observations += [at(300, 0.0, key) for key in "uvw"]
    cut = int(share * len(observations))
    streams = Streams({"warm": WARM})
    step = GridStep(streams.of_records, lambda *_: None)
    step.restore(0, {})
    step.begin(Assignment(0, 0))
    outputs = step.step(envelopes(observations[:cut]))
    streams.sources.add([WET])
    if is_restarted:
        states = {**step.begin_round(0, 0), **step.snapshot(0)}
        position = step.resume_at(0, cut)
        step = GridStep(streams.of_records, lambda *_: None)
        step.restore(0, states)
        step.begin(Assignment(0, position))
        # What the door had sent before knew no further column.
        early = [one for one in envelopes(observations[:cut]) if one.offset >= position and "z" not in one.value.values]
        assert step.step(early) == []
    outputs += step.step(envelopes(observations[cut:], cut))
    taken = [output.message for output in outputs if isinstance(output.message, Record)]
    alone = records_of(joined([WARM]), [one for one in observations if "z" not in one.values])
    both = {(record.key, record.t) for record in taken}
    own = {(key, START + round(minute * MINUTE)): values for key, minute, values in alone}
    assert len(both) == len(taken)
    for record in taken:
        kept = {name: record.values[name] for name in ("y", "x")}
        if any(value is not None for value in kept.values()):
            assert own.get((record.key, record.t), kept) == kept
    later = {record.values.get("z") for record in taken if "z" in record.values}
    assert later - {None} <= {value for _, _, value, column in sent if column == "z"}


def test_a_further_column_is_gridded_from_then_on():
    streams = Streams({"warm": WARM})
    step = GridStep(streams.of_records, lambda *_: None)
    step.step(envelopes([at(1, 1.0), at(4, 3.0)]))
    streams.sources.add([WET])
    outputs = step.step(envelopes([at(6, 7.0, column="z"), at(7, 2.0, column="z"), at(16, 4.0), at(26, 5.0)], 2))
    assert [output.message.values for output in outputs if isinstance(output.message, Record)] == [
        {"y": 3.0, "x": None, "z": 7.0},
        {"y": 4.0, "x": None, "z": 2.0},
    ]


def test_most_periods_without_an_observation_are_pointed_out():
    problems: list[str | None] = []
    step = GridStep({"a": defined("{}")}, lambda *_: None, lambda _, problem: problems.append(problem))
    step.step(envelopes(at(60 * n, 1.0) for n in range(150)))
    assert problems[-1] == "found most records 1 h apart, expected the definition's period of 10 min"


@pytest.mark.parametrize(
    ("grid", "more", "message"),
    [
        ("{every: 5min}", "", "grid.every: found 300 s, expected time.period, which is 600 s"),
        ("{take: {z: last}}", "", "grid.take: found 'z', expected one of y"),
        ("{take: median}", "", "grid"),
        ("{take: sum}", "features: {w: angle}\n", "grid.take: found sum of the angle 'w', expected mean or last"),
        ("{hold: 90d}", "", "expected at most 10,000 periods"),
        ("{fill: zero}", "", "fill"),
    ],
)
def test_a_grid_that_contradicts_the_definition_is_refused(grid: str, more: str, message: str):
    with pytest.raises(InvalidDefinition, match=re.escape(message)):
        defined(grid, more)


def test_the_issue_of_a_grid_as_people_write_it():
    stream = defined("{every: 10min, take: difference, grace: 2, fill: null}")
    assert stream.grid is not None
    assert (stream.grid.grace, stream.grid.fill, stream.grid.take_of("y")) == (2, None, "difference")
    assert stream.fingerprint != defined("{}").fingerprint == stream.without_grid.fingerprint


GRIDS = {
    "mean": defined("{grace: 0.5}", "features: {x: level}\n"),
    "held": defined("{fill: last, grace: 1, hold: 1h}", "features: {x: level}\n"),
    "counters": defined("{take: {y: difference, x: sum}, grace: 0, fill: last, hold: 40min}", "features: {x: level}\n"),
    "forgetful": defined("{take: difference, grace: 2}", "features: {x: level}\nforget: 1min\n"),
}


def course(seed: int) -> list[Observation]:
    """Of several devices, whose columns come in messages of their own, late, twice, or not for long; one brings a day
    of its memory, and a clock is wrong."""
    random = np.random.default_rng(seed)
    sent: list[tuple[float, Observation]] = []
    for key in ("u", "v", "w", "x"):
        total, offset = 0.0, float(random.choice([0, 0, 15]))
        silent = random.uniform(0, 300, 2)
        for minute in np.sort(random.uniform(0, 300, 70)):
            total += float(random.random())
            column = str(random.choice(["x", "y"]))
            late = float(random.choice([0, 0, 0, 8, 30]))
            observation = at(float(minute) + offset, round(total, 3), key, column)
            if abs(minute - silent[0]) < 30:
                late = float(silent[1])
            sent += [(float(minute) + late, observation)] * int(random.choice([1, 1, 1, 2]))
    return [observation for _, observation in sorted(sent, key=lambda one: one[0])]


QUIET = LoopSettings(checkpoint_every=0.1, state_every=0.0)


@pytest.mark.parametrize("name", GRIDS)
@given(st.integers(0, 2**32 - 1), loops(), CRASHES, st.sampled_from([20, 10_000]))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_records_are_the_same_in_any_batches_and_killed_anywhere(
    name: str, seed: int, loop: LoopSettings, crashes: list[Crash], span: int
):
    stream = GRIDS[name]
    scenario = Scenario(OBSERVATIONS, course(seed), lambda: step_of(stream, span=span), [RECORDS])
    expected = work_off(scenario, QUIET)
    outcome = work_off(scenario, replace(loop, state_every=0.0), crashes)
    assert len(expected.outputs) > 20
    assert set(outcome.outputs) == set(expected.outputs)
    names = [(record.key, record.t) for record in map(RECORDS.decode, set(outcome.outputs))]
    assert len(names) == len(set(names))
    if loop.exactly_once or not crashes:
        assert Counter(outcome.outputs) == Counter(expected.outputs)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_the_order_within_the_grace_changes_no_record(seed: int):
    random = np.random.default_rng(seed)
    stream = defined("{grace: 1}", "features: {x: level}\n")
    values: dict[tuple[str, int], object] = {}
    # Of two different readings of one time the first counts, whichever that is.
    sent = [one for one in course(seed) if values.setdefault((one.key, one.t), one.values) == one.values]
    sent.sort(key=lambda observation: observation.t)
    shaken = sorted(sent, key=lambda observation: observation.t + random.uniform(0, PERIOD))
    end = [at(1000, 0.0)]
    dropped: list[str] = []
    assert sorted(map(str, records_of(stream, [*shaken, *end], dropped))) == sorted(
        map(str, records_of(stream, [*sent, *end]))
    )
    assert dropped == []


@pytest.mark.parametrize("name", GRIDS)
@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_a_file_becomes_the_records_that_its_rows_would_be_when_they_came(name: str, seed: int):
    stream = GRIDS[name]
    sent = sorted(course(seed), key=lambda observation: observation.t)
    lines = ["when,id,y,x"] + [f"{_iso(o.t)},{o.key},{o.values.get('y', '')},{o.values.get('x', '')}" for o in sent]
    rows = tables.decode("\n".join(lines).encode(), stream, "a.csv")
    assert sorted(_taken(rows), key=str) == sorted(
        ((key, minute, values["y"], values["x"]) for key, minute, values in records_of(stream, sent)), key=str
    )


@pytest.mark.parametrize("name", GRIDS)
async def test_the_door_and_a_replay_bring_a_file_to_the_same_grid(name: str):
    stream = GRIDS[name]
    sent = sorted(course(5), key=lambda observation: observation.t)
    body = "\n".join(json.dumps({"when": _iso(o.t), "id": o.key, **o.values}) for o in sent).encode()
    content = tables.examine(body, stream, "a.ndjson")
    expected = sorted(_taken(content.records(stream)), key=str)
    assert expected
    for part, mapped in ((body, False), (encode_replay(content.rows, stream), True)):
        doors = Doors(stream)
        await doors.post("application/x-ndjson", part, mapped=mapped)
        observed = [envelope.value for envelope in await doors.bus.read(OBSERVATIONS)]
        assert not await doors.bus.read(RECORDS)
        records = records_of(stream, observed)
        assert sorted(((k, minute, v["y"], v["x"]) for k, minute, v in records), key=str) == expected


def _iso(t: int) -> str:
    return (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=t)).isoformat()


def _taken(rows: Rows) -> list[tuple[str, float, float | None, float | None]]:
    values = [[None if np.isnan(value) else float(value) for value in row] for row in rows.values]
    return [
        (str(key), (int(t) - START) / MINUTE, y, x) for key, t, (y, x) in zip(rows.keys, rows.t, values, strict=True)
    ]


def test_what_was_written_as_records_is_not_brought_onto_the_grid_again():
    stream = defined("{take: difference}")
    rows = Rows(np.array(["k"] * 3), START + PERIOD * np.arange(3), np.array([[1.0], [5.0], [2.0]]))
    assert tables.decode(tables.encode(rows, stream), stream, "a.parquet").values.tolist() == [[1.0], [5.0], [2.0]]


def test_a_damaged_state_is_left_behind_and_its_series_begins_again():
    left: list[str] = []
    step = GridStep({"a": defined("{grace: 0}")}, lambda *_: None, left_behind=left.append)
    step.restore(0, {"a/k": b"\xc1"})
    step.begin(Assignment(0, 0))
    assert left == ["a"]
    assert len(step.step(envelopes([at(5, 1.0), at(15, 2.0)]))) == 1


def test_a_stream_that_has_ended_does_not_hold_the_position_back():
    stream, other = defined("{grace: 0}"), defined("{grace: 0}").model_copy(update={"name": "b"})
    step = GridStep({"a": stream, "b": other}, lambda *_: None, longest_span=20)
    step.restore(0, {})
    step.begin(Assignment(0, 0))
    later = [structs.replace(at(minute, 1.0), stream="b") for minute in range(100)]
    step.step(envelopes([at(5, 1.0), *later]))
    step.begin_round(0, 0)
    assert step.resume_at(0, 101) > 80
    again = GridStep({"a": stream, "b": other}, lambda *_: None)
    again.restore(0, step.snapshot(0))
    again.begin(Assignment(0, 101))
    (output,) = again.step(envelopes([at(15, 2.0)], 101))
    assert output.message == Record("a", "k", START + PERIOD, {"y": 1.0}, 0.0)


def test_a_topic_that_is_made_anew_is_read_from_its_beginning():
    stream = defined("{grace: 0}")
    step = step_of(stream)
    step.restore(0, {})
    step.begin(Assignment(0, 0))
    step.step(envelopes([at(5, 1.0), at(15, 2.0)]))
    step.begin_round(0, 0)
    states = step.snapshot(0)
    again = step_of(stream)
    again.restore(0, states)
    assert again.begin(Assignment(0, 0, rewound=True))
    outputs = again.step(envelopes([at(16, 4.0), at(25, 2.0)]))
    assert [output.message.values for output in outputs if isinstance(output.message, Record)] == [{"y": 4.0}]
