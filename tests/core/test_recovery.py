"""Killed anywhere, any number of times: what is put out is what an undisturbed run puts out, to the last bit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from driftline.arrays import Floats
from driftline.bus.port import Assignment, Checkpoint, Envelope, Output
from driftline.messages import ALERTS, BLENDS, FORECASTS, RECORDS, Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.features import Inputs
from driftline.worker.keyed import KeyedStep
from driftline.worker.loop_settings import LoopSettings
from driftline.worker.observer import Unobserved
from driftline.worker.partition_states import TIMES
from driftline.worker.saved_states import HEAD, MARK, OffsetState
from driftline_combiner.step import BlendStep
from driftline_inference.step import ForecastStep
from tests.core.crashing import Crash, Scenario, work_off
from tests.core.test_silence import KEYS, Counting
from tests.watching import WatchingModel

pytestmark = pytest.mark.unit

HOUR_MS = 3_600_000
TEXT = "name: a\ntime: {column: when, period: 1h}\nkey: k\ntarget: y\nlags: 3\nhorizon: [1, 2]\nforget: 10h\n"
ALONE = parse(TEXT, "a")
FORESEEING = parse(f"{TEXT}futures: {{f: level}}\n", "a")
IN_TURN = parse(f"{TEXT}group: site\n", "a")
TOGETHER = parse(f"{TEXT}futures: {{f: level}}\ngroup: site\ntogether: true\n", "a")
STREAMS = {"alone": ALONE, "foreseeing": FORESEEING, "in turn": IN_TURN, "together": TOGETHER}
GROUPS = {"u": "left", "v": "left", "w": "right", "x": "right"}

CRASHES = st.lists(st.builds(Crash, st.integers(1, 60), st.booleans()), max_size=4)


@st.composite
def loops(draw: st.DrawFn) -> LoopSettings:
    """Checkpoints, rounds and slices of any size."""
    interval = draw(st.sampled_from([0.01, 0.1, 0.5]))
    return LoopSettings(
        batch_limit=draw(st.integers(1, 9)),
        checkpoint_every=interval,
        exactly_once=draw(st.booleans()),
        exactly_once_every=interval,
        held_limit=draw(st.sampled_from([3, 2000])),
        state_every=draw(st.sampled_from([0.0, 0.2, 1.0, 3.0, 60.0])),
        replay_limit=draw(st.sampled_from([5, 30, 5000])),
        states_at_once=draw(st.sampled_from([1, 3, 500])),
    )


QUIET = LoopSettings(checkpoint_every=0.1)
many = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def compare(scenario: Scenario, loop: LoopSettings, crashes: Sequence[Crash]) -> None:
    expected, outcome = work_off(scenario, QUIET), work_off(scenario, loop, crashes)
    assert set(outcome.outputs) == set(expected.outputs)
    assert set(outcome.letters) == set(expected.letters)
    if loop.exactly_once or not crashes:
        assert Counter(outcome.outputs) == Counter(expected.outputs)


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 60)), min_size=20, max_size=90), loops(), CRASHES)
@many
def test_counts_of_series_that_fall_silent_and_come_back(
    sent: list[tuple[str, int]], loop: LoopSettings, crashes: list[Crash]
):
    records = [Record("s", key, t, {}, 0.0) for key, t in sent]
    scenario = Scenario(
        RECORDS,
        records,
        lambda: KeyedStep({"s": Counting()}, lambda *_: None),
        [ALERTS],
        refuse=lambda record: "found a time that is 7" if record.t == 7 else None,
    )
    compare(scenario, loop, crashes)


def course(stream: StreamDefinition, seed: int) -> list[Record]:
    """Records that are missing, come twice, late, without their truth or with it later, and futures; a series is silent
    for long enough to be forgotten."""
    random = np.random.default_rng(seed)
    sent: list[Record] = []
    silent = random.choice(list(GROUPS))
    for hour in range(45):
        for key, group in GROUPS.items():
            if random.random() < 0.1 or (key == silent and 12 < hour < 30):
                continue
            value = float(random.normal())
            record = Record("a", key, hour * HOUR_MS, {"y": value}, 0.0, group if stream.group_columns else "")
            lacks = random.random() < 0.15
            sent.append(structs.replace(record, values={"y": None}) if lacks else record)
            if lacks or random.random() < 0.05:
                sent.append(record)
            if stream.futures:
                ahead = hour + int(random.integers(0, 4))
                values = {"f": float(random.normal())}
                sent.append(structs.replace(record, t=ahead * HOUR_MS, values=values, issued=hour * HOUR_MS))
    order = sorted(range(len(sent)), key=lambda n: n + 3 * random.random())
    return [sent[n] for n in order]


def inference(stream: StreamDefinition, model: WatchingModel | None = None) -> KeyedStep[Record]:
    serving = {("a", "batch"): model} if model else {}
    return KeyedStep({"a": ForecastStep(stream, lambda: serving)}, lambda _stream, _reason: None)


@pytest.mark.parametrize("name", STREAMS)
@given(st.integers(0, 2**32 - 1), loops(), CRASHES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_forecasts(name: str, seed: int, loop: LoopSettings, crashes: list[Crash]):
    stream = STREAMS[name]
    scenario = Scenario(RECORDS, course(stream, seed), lambda: inference(stream, WatchingModel(2)), [FORECASTS, ALERTS])
    compare(scenario, loop, crashes)


def with_moves(sent: Sequence[Record], seed: int) -> list[Record]:
    """The same where series go to other groups, and some come back."""
    random = np.random.default_rng(seed)
    groups, moved = dict(GROUPS), []
    for record in sent:
        if random.random() < 0.05:
            groups[record.key] = str(random.choice(["left", "right", "middle"]))
        moved.append(structs.replace(record, group=groups[record.key]))
    return moved


@pytest.mark.parametrize("name", ["in turn", "together"])
@given(st.integers(0, 2**32 - 1), loops(), CRASHES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_forecasts_of_series_that_go_to_other_groups(name: str, seed: int, loop: LoopSettings, crashes: list[Crash]):
    stream = STREAMS[name]
    # A move to another partition is another thing: partitions have no order among each other.
    scenario = Scenario(
        RECORDS,
        with_moves(course(stream, seed), seed),
        lambda: inference(stream, WatchingModel(2)),
        [FORECASTS, ALERTS],
        partitions=1,
    )
    compare(scenario, loop, crashes)


def forecasts(seed: int) -> list[Forecast]:
    scenario = Scenario(RECORDS, course(ALONE, seed), lambda: inference(ALONE), [FORECASTS])
    return [FORECASTS.decode(payload) for payload in work_off(scenario, QUIET).outputs]


@given(st.integers(0, 2**32 - 1), loops(), CRASHES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_blends_and_alerts(seed: int, loop: LoopSettings, crashes: list[Crash]):
    scenario = Scenario(
        FORECASTS,
        forecasts(seed),
        lambda: KeyedStep({"a": BlendStep(ALONE, lambda *_: None)}, lambda *_: None),
        [BLENDS, ALERTS],
    )
    compare(scenario, loop, crashes)


class Replays(Unobserved):
    def __init__(self) -> None:
        self.count = 0

    def replayed(self, messages: int) -> None:
        self.count += messages


SLOW = LoopSettings(batch_limit=5, checkpoint_every=0.1, state_every=3.0, states_at_once=1)


def test_such_runs_read_again_what_was_answered():
    """Otherwise the tests above would prove little."""
    scenario, replays = Scenario(RECORDS, course(ALONE, 1), lambda: inference(ALONE), [FORECASTS]), Replays()
    work_off(scenario, SLOW, [Crash(40, after=True), Crash(40, after=False)], replays)
    assert replays.count > 50


def groups_of(checkpoint: Checkpoint) -> Counter[str]:
    """Of how many series of each group the state is in it."""
    return Counter(GROUPS[name.partition("/")[2]] for name in checkpoint.states if name.startswith("a/"))


def test_series_of_a_group_that_changed_are_saved_together_and_one_group_at_a_time():
    scenario = Scenario(RECORDS, course(TOGETHER, 1), lambda: inference(TOGETHER), [FORECASTS], partitions=1)
    loop = replace(SLOW, state_every=0.5)
    saved = [counts for checkpoint in work_off(scenario, loop).checkpoints if (counts := groups_of(checkpoint))]
    assert len(saved) > 4
    assert all(set(counts.values()) == {2} for counts in saved)
    assert {len(counts) for counts in saved[:-1]} == {1}


def envelopes(records: Sequence[Record]) -> list[Envelope[Record]]:
    return [Envelope(0, n, 0.0, record) for n, record in enumerate(records)]


def state_of(step: KeyedStep[Record]) -> dict[str, bytes | None]:
    step.begin_round(0, 0)
    return {name: state for name, state in step.snapshot(0).items() if name != TIMES}


def wire(outputs: Sequence[Output]) -> list[bytes]:
    return sorted(output.topic.encode(output.message) for output in outputs)


def test_states_of_the_release_before_have_no_offset_and_take_in_everything_that_is_read():
    sent = envelopes(course(ALONE, 3)[:60])
    before, after = inference(ALONE), inference(ALONE)
    before.step(sent[:20])
    states = {name: OffsetState.decode(state).data for name, state in state_of(before).items() if state is not None}
    after.restore(0, states)
    # That release said the position alone, and its states were as of there.
    assert not after.begin(Assignment(0, 20, silent_until=20))
    assert wire(after.step(sent[20:])) == wire(before.step(sent[20:]))


def test_states_that_go_by_offsets_of_a_former_topic_are_saved_before_the_first_message():
    former, after = inference(ALONE), inference(ALONE)
    former.step(envelopes(course(ALONE, 3)[:60]))
    states = state_of(former)
    after.restore(0, states)
    assert after.begin(Assignment(0, 0, rewound=True))
    renewed = {name: OffsetState.decode(state) for name, state in state_of(after).items() if state is not None}
    assert {state.offset for state in renewed.values()} == {0}
    # A crash in the midst of that leaves some of them as they were: they are known by an offset beyond the position.
    again = inference(ALONE)
    again.restore(0, {**states, "a/u": renewed["a/u"].encode()})
    assert again.begin(Assignment(0, 0))
    assert set(state_of(again)) == set(states) - {"a/u"}


def test_a_topic_that_is_made_anew_under_a_running_worker_has_all_states_saved():
    step = inference(ALONE)
    step.step(envelopes(course(ALONE, 3)[:60]))
    before = state_of(step)
    assert state_of(step) == {}
    step.begin_again(0, 0)
    renewed = state_of(step)
    assert renewed.keys() == before.keys()
    assert {OffsetState.decode(state).offset for state in renewed.values() if state is not None} == {0}


def by_key(outputs: Sequence[Output]) -> dict[str, list[str]]:
    forecasts = [output.message for output in outputs if isinstance(output.message, Forecast)]
    return {key: [repr(forecast) for forecast in forecasts if forecast.key == key] for key in GROUPS}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (HEAD.pack(MARK, 2, 7) + b"?", "found a saved state of version 2, expected 1"),
        (MARK + b"\1", "unpack_from requires a buffer"),
    ],
)
def test_a_state_of_a_later_release_and_a_damaged_one_are_left_behind(state: bytes, reason: str):
    sent = envelopes(course(ALONE, 3)[:60])
    before, left = inference(ALONE), []
    before.step(sent[:20])
    states = state_of(before)
    step = KeyedStep(
        {"a": ForecastStep(ALONE, dict)}, lambda *_: None, lambda stream, key, why: left.append((stream, key, why))
    )
    step.restore(0, {**states, "a/u": state})
    assert [(stream, key) for stream, key, _ in left] == [("a", "u")]
    assert reason in left[0][2]
    assert not step.begin(Assignment(0, 20, silent_until=20))
    # What nothing is known of begins again with its next record; the others go on.
    known, renewed = by_key(before.step(sent[20:])), by_key(step.step(sent[20:]))
    assert renewed.pop("u") != known.pop("u")
    assert renewed == known


class Louder(WatchingModel):
    """Forecasts more than there is."""

    version = "v2"

    def forecast(self, inputs: Inputs) -> Floats:
        return 2.0 * super().forecast(inputs)


def members(outputs: Sequence[Output]) -> list[dict[str, list[float]]]:
    return [dict(output.message.members) for output in outputs if isinstance(output.message, Forecast)]


def test_a_model_that_was_swapped_in_meanwhile_changes_what_the_stack_has_learned_and_nothing_else():
    """What is read again is forecast by the model that serves now."""
    serving: dict[tuple[str, str], WatchingModel] = {("a", "batch"): WatchingModel(2)}
    sent = envelopes([record for record in course(ALONE, 3) if record.values["y"] is not None])
    whole, recovered = (KeyedStep({"a": ForecastStep(ALONE, lambda: serving)}, lambda *_: None) for _ in range(2))
    whole.step(sent[:100])
    serving[("a", "batch")] = Louder(2)
    recovered.replay(sent[:100])
    expected, found = members(whole.step(sent[100:])), members(recovered.step(sent[100:]))
    assert expected != found
    for forecast in (*expected, *found):
        forecast.pop("stack", None)
    assert [repr(forecast) for forecast in found] == [repr(forecast) for forecast in expected]


def test_in_silence_nothing_is_counted_and_no_model_is_judged():
    serving, former = {("a", "batch"): Louder(2)}, {("a", "batch"): WatchingModel(2)}
    counted: list[str] = []
    stream_step = ForecastStep(
        ALONE,
        lambda: serving,
        shadows=lambda: former,
        worse=lambda *_: counted.append("worse"),
        on_alert=lambda _, kind: counted.append(kind),
    )
    step = KeyedStep({"a": stream_step}, lambda _, reason: counted.append(reason))
    # A sensor that sticks, and at last a repeat.
    values = [float(hour * 7 % 11) for hour in range(100)] + [3.0] * 100
    sent = [Record("a", "u", hour * HOUR_MS, {"y": value}, 0.0) for hour, value in enumerate(values)]
    step.replay(envelopes([*sent, sent[-1]]))
    assert counted == []
    assert stream_step.shadow("batch") is None
    step.release(0)
    step.step(envelopes([*sent, sent[-1]]))
    assert {"repeated", "stuck"} <= set(counted)
    assert stream_step.shadow("batch") is not None
