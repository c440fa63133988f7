"""The forecasting step in C does as it does with NumPy alone, whatever comes."""

from typing import Any

import msgspec
import pytest

from driftline.messages import Alert, Forecast, Record
from driftline.models.manifest import UsualValues
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_inference.rls import FOLLOW
from driftline_inference.step import ForecastStep
from tests.bench.prepared import real_data
from tests.e2e.stream_steps import records as of_rows
from tests.kernels.forecasting_cases import Said, arrays, assert_alike, assert_said, numpy_alone, records, run

pytestmark = pytest.mark.skipif(FOLLOW is None, reason="no library of kernels for this machine")
HEAD = "name: a\ntime: {column: when, period: 1h}\ntarget: y\n"
WIDE = "features: {x: level, w: angle, z: level}\nlags: 3\nhorizon: [1, 2, 30]\n"
DEFINITIONS = {
    "many columns": f"{HEAD}{WIDE}",
    "nothing but the target": f"{HEAD}horizon: [1]\nlags: 2\npatience: 1\n",
    "clocks that change": f"{HEAD}{WIDE}calendar: {{zone: Europe/Paris}}\n",
    "an angle": f"{HEAD}features: {{y: angle}}\nhorizon: [2, 5]\n",
    "too far apart for days": f"{HEAD.replace('1h', '3d')}horizon: [1, 4]\n",
    "neighbours": f"{HEAD}{WIDE}key: k\ngroup: all\n",
    "futures": f"{HEAD}{WIDE}futures: {{f: level}}\n",
}


def definition(name: str) -> StreamDefinition:
    return parse(DEFINITIONS[name], "a.yaml")


def with_numpy(
    stream: StreamDefinition, sent: list[Record], sizes: list[int], **more: Any
) -> tuple[ForecastStep, list[Said]]:
    with numpy_alone():
        step = ForecastStep(stream, dict, **more)
        return step, run(step, sent, sizes)


@pytest.mark.parametrize("name", list(DEFINITIONS))
def test_results_and_states_are_those_of_numpy(name: str):
    stream = definition(name)
    sent = records(stream, 1, group="all" if stream.group else "")
    step = ForecastStep(stream, dict)
    emitted = run(step, sent, [1, 7, 60])
    expected, said = with_numpy(stream, sent, [40])
    assert_alike(arrays(step), arrays(expected))
    assert_said(emitted, said)
    keys = sorted({record.key for record in sent})
    inputs = step.newest(keys)
    with numpy_alone():
        assert_alike(vars(inputs), vars(step.newest(keys)))


TRAINED = {"y": UsualValues(0.0, 1.0, 5.0), "x": UsualValues(0.0, 1.0, 5.0)}


def test_a_long_life_of_one_series():
    """Beyond the first hundreds, shifts, jumps and absurd values are judged."""
    stream = definition("many columns")
    sent = records(stream, 2, keys=1, count=1000)
    step = ForecastStep(stream, dict, trained=lambda _: TRAINED)
    emitted = run(step, sent, [300])
    expected, said = with_numpy(stream, sent, [1], trained=lambda _: TRAINED)
    assert_alike(arrays(step), arrays(expected))
    assert_said(emitted, said)
    kinds = {message.kind for message in emitted if isinstance(message, Alert)}
    assert kinds == {"drift", "gap", "scale", "stuck"}
    assert any(message.shifts for message in emitted if isinstance(message, Forecast))


@pytest.mark.parametrize("name", ["many columns", "clocks that change"])
def test_a_series_is_the_same_to_the_last_bit_however_batches_are_cut(name: str):
    stream = definition(name)
    sent = records(stream, 4)
    cut = [ForecastStep(stream, dict) for _ in range(3)]
    said = [run(step, sent, sizes) for step, sizes in zip(cut, ([1], [3, 50], [1000]), strict=True)]
    assert len({msgspec.json.encode(part) for part in said}) == 1
    alone = ForecastStep(stream, dict)
    run(alone, [record for record in sent if record.key == "k1"], [9])
    assert len({step.save("k1") for step in [*cut, alone]}) == 1


def test_tables_that_grow_within_a_batch():
    stream = definition("many columns")
    sent = records(stream, 5, keys=400, count=1500)
    step = ForecastStep(stream, dict)
    emitted = run(step, sent, [10, 700])
    expected, said = with_numpy(stream, sent, [1500])
    assert_said(emitted, said)
    for key in ("k0", "k399"):
        before, after = (s._store[key] for s in (expected, step))
        rows = [
            {name: array[slot] for name, array in arrays(s).items()} for s, slot in ((step, after), (expected, before))
        ]
        assert_alike(*rows)


def test_a_series_that_was_forgotten_begins_as_new():
    stream = definition("many columns")
    sent = records(stream, 6, keys=3, count=60)
    step, fresh = ForecastStep(stream, dict), ForecastStep(stream, dict)
    run(step, sent, [20])
    step.forget("k0")
    again = [record for record in sent if record.key == "k0"]
    assert msgspec.json.encode(run(step, again, [5])) == msgspec.json.encode(run(fresh, again, [5]))
    assert step.save("k0") == fresh.save("k0")


def test_a_state_goes_on_with_or_without_the_library():
    stream = definition("many columns")
    sent = [record for record in records(stream, 7) if record.key == "k0"]
    step = ForecastStep(stream, dict)
    run(step, sent[:60], [20])
    with numpy_alone():
        other = ForecastStep(stream, dict)
        other.restore("k0", step.save("k0"))
        expected = run(other, sent[60:], [20])
    assert_said(run(step, sent[60:], [20]), expected)


def test_late_truths_and_records_teach_the_same():
    stream = definition("many columns")
    sent = [record for record in records(stream, 8) if record.key == "k0"]
    late = next(record for record in sent[50:] if record.values["y"] is None)
    truth = type(late)(late.stream, late.key, late.t, dict(late.values, y=3.0), 0.0)

    def lived() -> tuple[ForecastStep, list[Said]]:
        step = ForecastStep(stream, dict)
        at = sent.index(late) + 2
        run(step, sent[:at], [20])
        caused = step.complete(truth) if step.awaits(truth) else []
        return step, [message for _, message in caused] + run(step, sent[at:], [20])

    step, emitted = lived()
    with numpy_alone():
        expected, said = lived()
    assert_alike(arrays(step), arrays(expected))
    assert_said(emitted, said)


def test_the_shipped_data():
    stream, rows = real_data()
    series = [(key, own.take(slice(0, 200))) for key, own in rows.by_key().items()]
    sent = [record for key, own in series for record in of_rows(stream, own.t, own.values, key)]
    emitted = run(ForecastStep(stream, dict), sent, [500])
    _, said = with_numpy(stream, sent, [500])
    assert_said(emitted, said)
