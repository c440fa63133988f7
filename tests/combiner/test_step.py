"""The combiner's step: scored at the right record, weighed, restored bit by bit, one blend for each forecast."""

import math
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.bus.port import Envelope
from driftline.messages import Alert, Blend, Forecast
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.worker.keyed import KeyedStep
from driftline_combiner.scores import scores
from driftline_combiner.step import BlendStep, refuse

STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\ntarget: y\nhorizon: [1, 3]\nweighting: {window: 20}\n", "a.yaml"
)
HOUR_MS = 3_600_000


def forecast(n: int, observed: float | None, key: str = "k", **members: list[float | None]) -> Forecast:
    return Forecast("a", key, n * HOUR_MS, observed, [1, 3], dict(members), {}, 0.0)


def new_step(stream: StreamDefinition = STREAM, dropped=lambda _stream, _reason: None):
    stream_step = BlendStep(stream, lambda _stream, _kind: None)
    return stream_step, KeyedStep({stream.name: stream_step}, dropped)


def envelopes(forecasts: list[Forecast]) -> list[Envelope[Forecast]]:
    return [Envelope(0, n, 0.0, forecast) for n, forecast in enumerate(forecasts)]


def blends(step, forecasts: list[Forecast]) -> list[Blend]:
    return [output.message for output in step.step(envelopes(forecasts)) if isinstance(output.message, Blend)]


def sample(count: int, seed: int = 0, keys: int = 2) -> list[Forecast]:
    random = np.random.default_rng(seed)
    found = []
    for n in range(count):
        for key in range(keys):
            y = float(random.normal())
            rls = [y + 0.1, None] if n % 7 == 3 else [y + 0.1, y - 0.2]
            members = {"persistence": [y, y], "rls": rls} | ({"batch": [0.5 * y, 0.3 * y]} if n > 5 else {})
            found.append(forecast(n, None if n % 11 == 4 else y, f"k{key}", **members))
    return found


def test_each_horizon_is_scored_when_its_own_truth_comes():
    stream_step, step = new_step()
    step.step(envelopes([forecast(0, 10.0, persistence=[10.0, 10.0], rls=[11.0, 13.0])]))
    step.step(envelopes([forecast(n, 10.0 + n, persistence=[10.0 + n] * 2) for n in (1, 2, 3)]))
    one, three = scores(stream_step.sums("k"))
    assert (one["rls"].n, one["rls"].rmse) == (1, 0.0)
    assert (three["rls"].n, three["rls"].rmse) == (1, 0.0)
    assert (one["persistence"].n, one["persistence"].rmse) == (3, 1.0)
    assert (three["persistence"].n, three["persistence"].rmse) == (1, 3.0)
    assert one["rls"].skill == 1.0


def test_a_truth_that_is_missing_scores_nothing_and_breaks_nothing():
    stream_step, step = new_step()
    found = blends(step, [forecast(n, None if n == 2 else 1.0, persistence=[1.0, 1.0]) for n in range(6)])
    assert scores(stream_step.sums("k"))[0]["persistence"].n == 4
    assert all(blend.value == [1.0, 1.0] for blend in found)


def test_nobody_forecasts_and_the_blend_says_so():
    _, step = new_step()
    (found,) = blends(step, [forecast(0, None, persistence=[None, None])])
    assert all(math.isnan(value) for value in found.value)


def test_weights_are_of_those_who_took_part_and_sum_to_one():
    _, step = new_step()
    made = blends(step, sample(60))
    assert len(made) == len(sample(60)) > 0
    for blend in made:
        for h in range(2):
            total = sum(row[h] for row in blend.weights.values())
            assert total == pytest.approx(1.0, abs=1e-6)
            assert all(0 <= row[h] <= 1 for row in blend.weights.values())
            absent = [name for name, values in blend.members.items() if values[h] is None]
            assert all(blend.weights[name][h] == 0 for name in absent)


def test_what_was_seen_is_dropped_and_counted():
    counted = []
    _, step = new_step(dropped=lambda stream, reason: counted.append((stream, reason)))
    found = blends(step, [forecast(t, 1.0, persistence=[1.0, 1.0]) for t in (5, 5, 3, 6)])
    assert [blend.t for blend in found] == [5 * HOUR_MS, 6 * HOUR_MS]
    assert counted == [("a", "repeated"), ("a", "out_of_order")]


@given(st.lists(st.integers(0, 119), max_size=6))
@settings(max_examples=15, deadline=None)
def test_where_a_batch_is_cut_makes_no_difference(cuts: list[int]):
    forecasts = sample(60)
    whole = blends(new_step()[1], forecasts)
    _, step = new_step()
    bounds = [0, *sorted(cuts), len(forecasts)]
    parts = [blend for a, b in pairwise(bounds) for blend in blends(step, forecasts[a:b])]
    assert [(b.key, b.t) for b in sorted(parts, key=lambda b: (b.t, b.key))] == [(b.key, b.t) for b in whole]
    by_name = {(b.key, b.t): b for b in parts}
    for blend in whole:
        assert by_name[blend.key, blend.t].value == pytest.approx(blend.value, abs=1e-9, nan_ok=True)


@given(st.integers(1, 119))
@settings(max_examples=15, deadline=None)
def test_restored_it_goes_on_bit_by_bit(cut: int):
    forecasts = sample(60)
    _, first = new_step()
    expected = blends(first, forecasts[:cut]) + blends(first, forecasts[cut:])
    _, stopped = new_step()
    before = blends(stopped, forecasts[:cut])
    states = stopped.snapshot(0)
    _, resumed = new_step()
    resumed.restore(0, states)
    after = blends(resumed, forecasts[cut:])
    assert [repr(b) for b in before + after] == [repr(b) for b in expected]


def test_a_state_is_small():
    _, step = new_step(parse("name: a\ntime: {column: when, period: 1h}\ntarget: y\nhorizon: [1, 3]\n", "a"))
    blends(step, sample(30))
    assert max(len(state) for state in step.snapshot(0).values()) <= 2 * 20_000


def test_a_released_series_begins_anew():
    stream_step, step = new_step()
    blends(step, sample(20))
    step.release(0)
    assert stream_step.keys() == []
    assert [repr(b) for b in blends(step, sample(20))] == [repr(b) for b in blends(new_step()[1], sample(20))]


def test_an_error_that_grows_raises_an_alarm_and_a_calm_one_does_not():
    random = np.random.default_rng(5)
    calm = [forecast(n, float(random.normal()), persistence=[0.0, 0.0]) for n in range(2000)]
    wild = [forecast(2000 + n, float(5 * random.normal()), persistence=[0.0, 0.0]) for n in range(300)]
    _, step = new_step()
    assert not [o for o in step.step(envelopes(calm)) if isinstance(o.message, Alert)]
    alerts = [o.message for o in step.step(envelopes(wild)) if isinstance(o.message, Alert)]
    assert alerts
    assert alerts[0].kind == "drift"
    assert alerts[0].t < 2100 * HOUR_MS


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stream": "b"}, "found stream 'b', expected one of ['a']"),
        ({"horizon": [1]}, "found horizon [1], expected [1, 3]"),
        ({"members": {"oracle": [1.0, 1.0]}}, "found member 'oracle'"),
        ({"members": {"rls": [1.0]}}, "found 'rls' with another number of horizons than 2"),
        ({"t": 10**18}, "found the time 1000000000000000000, expected milliseconds from 1970 on, before the year 2100"),
        ({"t": -5}, "found the time -5"),
        ({"grid_t": 2**63}, "found grid_t 9223372036854775808, expected a time less than a period from 0"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], reason: str):
    good = Forecast("a", "k", 0, 1.0, [1, 3], {}, {}, 0.0)
    assert refuse({"a": STREAM}, good) is None
    assert reason in refuse({"a": STREAM}, msgspec.structs.replace(good, **change))


def test_a_series_that_a_time_from_the_future_silenced_begins_anew():
    _, step = new_step()
    arrived, future = 1_772_366_400.0, 4_102_358_400_000
    t = round(arrived * 1000)
    sent = [
        Envelope(0, n, arrived, msgspec.structs.replace(forecast(0, 1.0, persistence=[1.0, 1.0]), t=at))
        for n, at in enumerate((future, t, t + HOUR_MS))
    ]
    outputs = [*step.step(sent[:1]), *step.step(sent[1:])]
    assert [output.message.t for output in outputs if isinstance(output.message, Blend)] == [future, t, t + HOUR_MS]


def weighed_by(active: str) -> StreamDefinition:
    static = "static: {persistence: 0.0, rls: 1.0}" if active == "static" else ""
    weighting = ", ".join(part for part in (f"active: {active}", static) if part)
    return parse(
        f"name: a\ntime: {{column: when, period: 1h}}\ntarget: y\nhorizon: [1]\nweighting: {{{weighting}}}\n", "a"
    )


def with_bad_filter(first: int, count: int) -> list[Forecast]:
    random = np.random.default_rng(first)
    y = random.normal(size=count).tolist()
    return [
        Forecast("a", "k", (first + n) * HOUR_MS, y[n], [1], {"persistence": [y[n]], "rls": [y[n] + 20.0]}, {}, 0.0)
        for n in range(count)
    ]


def test_a_new_strategy_is_not_judged_by_the_errors_of_the_one_before():
    former, step = new_step(weighed_by("static"))
    step.step(envelopes(with_bad_filter(0, 300)))
    assert former.weighting("k")[0].guarded
    stream_step, step = new_step(weighed_by("online"))
    stream_step.restore("k", former.save("k"))
    assert not stream_step.weighting("k")[0].guarded
    assert stream_step.weighting("k")[0].rivals == (0.0, 0.0)
    step.step(envelopes(with_bad_filter(300, 200)))
    mine, naive = stream_step.weighting("k")[0].rivals
    assert mine == pytest.approx(naive, rel=0.1)


def test_and_the_guard_judges_it_once_it_has_seen_enough_of_it():
    former, step = new_step(weighed_by("online"))
    step.step(envelopes(with_bad_filter(0, 300)))
    stream_step, step = new_step(weighed_by("static"))
    stream_step.restore("k", former.save("k"))
    step.step(envelopes(with_bad_filter(300, 50)))
    assert not stream_step.weighting("k")[0].guarded
    step.step(envelopes(with_bad_filter(350, 1)))
    assert stream_step.weighting("k")[0].guarded


def test_without_such_a_change_the_guard_goes_on():
    former, step = new_step(weighed_by("static"))
    step.step(envelopes(with_bad_filter(0, 300)))
    stream_step, _ = new_step(weighed_by("static"))
    stream_step.restore("k", former.save("k"))
    assert stream_step.weighting("k") == former.weighting("k")
