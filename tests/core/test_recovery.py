"""Killed anywhere, any number of times: what is put out is what an undisturbed run puts out, to the last bit."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.messages import ALERTS, BLENDS, FORECASTS, RECORDS, Forecast, Record
from driftline.streams.definition import StreamDefinition, parse
from driftline.worker.keyed import KeyedStep
from driftline.worker.loop import LoopSettings
from driftline_combiner.step import BlendStep, combiner_step
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
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
            sent.append(replace(record, values={"y": None}) if lacks else record)
            if lacks or random.random() < 0.05:
                sent.append(record)
            if stream.futures:
                ahead = hour + int(random.integers(0, 4))
                values = {"f": float(random.normal())}
                sent.append(replace(record, t=ahead * HOUR_MS, values=values, issued=hour * HOUR_MS))
    order = sorted(range(len(sent)), key=lambda n: n + 3 * random.random())
    return [sent[n] for n in order]


def inference(stream: StreamDefinition, model: WatchingModel | None = None) -> KeyedStep[Record]:
    serving = {("a", "batch"): model} if model else {}
    return KeyedStep({"a": ForecastStep(stream, lambda: serving)}, lambda _stream, _reason: None)


@pytest.mark.parametrize("name", STREAMS)
@given(st.integers(0, 2**32 - 1), loops(), CRASHES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_forecasts(name: str, seed: int, loop: LoopSettings, crashes: list[Crash]):
    stream = STREAMS[name]
    scenario = Scenario(RECORDS, course(stream, seed), lambda: inference(stream, WatchingModel(2)), [FORECASTS, ALERTS])
    compare(scenario, loop, crashes)


def forecasts(seed: int) -> list[Forecast]:
    scenario = Scenario(RECORDS, course(ALONE, seed), lambda: inference(ALONE), [FORECASTS])
    return [FORECASTS.decode(payload) for payload in work_off(scenario, QUIET).outputs]


@given(st.integers(0, 2**32 - 1), loops(), CRASHES)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_blends_and_alerts(seed: int, loop: LoopSettings, crashes: list[Crash]):
    scenario = Scenario(
        FORECASTS,
        forecasts(seed),
        lambda: combiner_step({"a": BlendStep(ALONE, lambda *_: None)}, lambda *_: None),
        [BLENDS, ALERTS],
    )
    compare(scenario, loop, crashes)
