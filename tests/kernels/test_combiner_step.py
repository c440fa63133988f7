"""The combiner's whole step on real temperatures: the same blends and alerts in C as in NumPy."""

from collections.abc import Sequence
from dataclasses import fields

import msgspec
import numpy as np
import pytest

from driftline.bus.port import Envelope
from driftline.messages import Alert, Blend, Forecast
from driftline.streams.definition import StreamDefinition
from driftline.streams.tables import read_file
from driftline.worker.keyed import KeyedStep
from driftline_combiner.blending import ArrayBlending, MakeBlending
from driftline_combiner.kernel_blending import WORK, KernelBlending
from driftline_combiner.step import BlendStep
from tests.conftest import ROOT
from tests.kernels.blending_cases import assert_alike

pytestmark = pytest.mark.skipif(WORK is None, reason="no library of kernels for this machine")
KEYS = ("R80711", "R80736")
COUNT = 300
DAY = 144


@pytest.fixture(scope="module")
def stream(temperature: StreamDefinition) -> StreamDefinition:
    return temperature.model_copy(update={"horizon": (1, 2, 6)})


@pytest.fixture(scope="module")
def sent(stream: StreamDefinition) -> list[Forecast]:
    """Of two turbines, with gaps, glitches, a model that reports, and truths that come late."""
    rows = read_file(ROOT / "data" / "la-haute-borne.parquet", stream).by_key()
    series = [_forecasts(stream, key, rows[key].t[-COUNT:], rows[key].values[-COUNT - DAY :, 0]) for key in KEYS]
    return [forecast for pair in zip(*series, strict=True) for part in pair for forecast in part]


def _forecasts(stream: StreamDefinition, key: str, t: np.ndarray, values: np.ndarray) -> list[list[Forecast]]:
    """At each time what comes; values: those of the day before, too."""
    found = []
    for n in range(COUNT):
        before, y = float(values[n + DAY - 1]), float(values[n + DAY])
        observed = None if n % 37 == 5 or np.isnan(y) else y + 60.0 * (n == 200)
        last = before if np.isnan(y) else y
        members = {
            "persistence": [last] * len(stream.horizon),
            "seasonal": [float(values[n])] * len(stream.horizon),
            "rls": [last + 0.3 * step * (last - before) for step in (1, 2, 3)],
        }
        skills = {}
        if n > 60:
            members["batch"] = [0.9 * last, 0.8 * last + 1.0, None]
            skills = {"batch": [0.2, 0.1, -0.3]} if n % 50 == 20 else {}
        shifts = {stream.target: (0.8, 1.0)} if n > 250 else {}
        time, horizon = int(t[n]), list(stream.horizon)
        parts = [Forecast(stream.name, key, time, observed, horizon, members, {}, 0.0, shifts, skills=skills)]
        if n % 37 == 8:
            parts.append(Forecast(stream.name, key, int(t[n - 3]), float(values[n + DAY - 3]), horizon, {}, {}, 0.0))
        found.append(parts if n % 41 else parts[1:])
    return found


def step_of(stream: StreamDefinition, make: MakeBlending) -> BlendStep:
    return BlendStep(stream, lambda _stream, _kind: None, blending=make)


def run(step: BlendStep, sent: Sequence[Forecast], at_once: int = 50) -> list[msgspec.Struct]:
    keyed = KeyedStep({step.stream.name: step}, lambda _stream, _reason: None)
    envelopes = [Envelope(0, n, 0.0, message) for n, message in enumerate(sent)]
    batches = (envelopes[start : start + at_once] for start in range(0, len(envelopes), at_once))
    return [output.message for batch in batches for output in keyed.step(batch)]


def numbers(blends: Sequence[Blend]) -> dict[str, np.ndarray]:
    """What is published, by name."""
    rows: dict[str, list[list[float | None]]] = {"value": [], "strategies": [], "weights": [], "quantiles": []}
    for blend in blends:
        rows["value"].append(blend.value)
        for name in ("strategies", "weights", "quantiles"):
            rows[name] += getattr(blend, name).values()
    return {name: np.array(row, dtype=np.float64) for name, row in rows.items()}


def states(step: BlendStep) -> dict[str, np.ndarray]:
    return {
        f"{type(table).__name__}.{field.name}": getattr(table, field.name)
        for table in step._tables
        for field in fields(table)
    }


def test_blends_alerts_and_states_are_those_of_numpy(stream: StreamDefinition, sent: list[Forecast]):
    kernels, arrays = step_of(stream, KernelBlending), step_of(stream, ArrayBlending)
    found, expected = run(kernels, sent), run(arrays, sent)
    alerts = [[message for message in told if isinstance(message, Alert)] for told in (found, expected)]
    assert alerts[0] == alerts[1]
    assert {alert.kind for alert in alerts[0]} >= {"drift", "anomaly"}
    blends = [[message for message in told if isinstance(message, Blend)] for told in (found, expected)]
    assert [blend.guarded for blend in blends[0]] == [blend.guarded for blend in blends[1]]
    # Published numbers are rounded to about a ten-millionth.
    assert_alike(numbers(blends[0]), numbers(blends[1]), share=2e-7)
    assert_alike(states(kernels), states(arrays))


def test_where_batches_are_cut_makes_no_difference(stream: StreamDefinition, sent: list[Forecast]):
    one, another = step_of(stream, KernelBlending), step_of(stream, KernelBlending)
    run(one, sent, at_once=7)
    run(another, sent, at_once=100)
    for key in KEYS:
        assert one.save(key) == another.save(key)


def test_one_goes_on_with_what_the_other_has_saved(stream: StreamDefinition, sent: list[Forecast]):
    before, after = sent[: len(sent) // 2], sent[len(sent) // 2 :]
    arrays, kernels = step_of(stream, ArrayBlending), step_of(stream, KernelBlending)
    run(arrays, before)
    for key in KEYS:
        kernels.restore(key, arrays.save(key))
    run(kernels, after)
    run(arrays, after)
    for key in KEYS:
        slots = kernels._store[key], arrays._store[key]
        found, expected = (
            {name: array[slot] for name, array in states(step).items()}
            for step, slot in zip((kernels, arrays), slots, strict=True)
        )
        rings = [name for name in found if name in {"Ledger.members", "Ledger.blends", "Intervals.widths"}]
        # Of rings nothing is saved of which the truth has come.
        for name in rings:
            del found[name], expected[name]
        assert_alike(found, expected)
