"""A unit or a scale that makes values absurd raises one alert, however the records come, and nothing else does."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.bus.port import Envelope
from driftline.messages import Alert, Record
from driftline.models.manifest import UsualValues
from driftline.streams.definition_files import parse
from driftline.worker.keyed import KeyedStep
from driftline_inference.plausibility import KNOWN, LearnedFrom, Usual, judge
from driftline_inference.sensor_health import STAYS
from driftline_inference.step import ForecastStep
from tests.conftest import ROOT
from tests.inference.conftest import new_models, put

STREAM = parse(
    "name: a\ntime: {column: when, period: 10min}\nkey: id\ntarget: y\nfeatures: {x: level, way: angle}\nlags: 2\n",
    "a.yaml",
)
PERIOD_MS = 600_000
USUAL = {"y": UsualValues(20.0, 1.0, 5.0), "x": UsualValues(50.0, 4.0, 20.0)}
SLOT = np.array([0])


def noise(count: int, seed: int = 0) -> np.ndarray:
    """[count, 3]: y about 20, x about 50, and a direction."""
    random = np.random.default_rng(seed)
    return np.stack([random.normal(20, 1, count), random.normal(50, 4, count), random.uniform(0, 360, count)], axis=1)


def records(values: np.ndarray, first: int = 0, key: str = "k") -> list[Record]:
    return [
        Record("a", key, (first + n) * PERIOD_MS, dict(zip(STREAM.columns, numbers(row), strict=True)), 0.0)
        for n, row in enumerate(values)
    ]


def numbers(row: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in row]


class Chain:
    """One step, and the alerts of scales that it has raised."""

    def __init__(self, usual: dict[str, UsualValues] | None = None) -> None:
        self.inner = ForecastStep(STREAM, dict, trained=lambda _: usual or {})
        self._step = KeyedStep({"a": self.inner}, lambda *_: None)

    def take(self, sent: Sequence[Record]) -> list[Alert]:
        outputs = self._step.step([Envelope(0, n, 0.0, record) for n, record in enumerate(sent)])
        messages = [output.message for output in outputs]
        return [message for message in messages if isinstance(message, Alert) and message.kind == "scale"]


def told(values: np.ndarray, usual: dict[str, UsualValues] | None = None) -> list[tuple[int, str]]:
    """Which record of a series raises an alert, and of which column."""
    return [(alert.t // PERIOD_MS, alert.subject) for alert in Chain(usual).take(records(values))]


def test_another_scale_raises_one_alert_that_names_it():
    values = noise(KNOWN + 200)
    values[KNOWN + 50 :, 1] *= 1000
    (alert,) = Chain().take(records(values))
    assert (alert.t // PERIOD_MS, alert.subject) == (KNOWN + 50 + STAYS - 1, "x")
    assert "usual deviations from its usual 4" in alert.detail
    assert "its unit, or its `scale` in the definition, may be wrong" in alert.detail


def test_a_series_that_is_wrong_from_its_first_record_on_is_compared_with_what_the_model_has_learned_from():
    values = noise(300)
    values[:, 0] *= 100
    assert told(values, USUAL) == [(STAYS - 1, "y")]
    assert told(values) == []
    assert told(noise(300), USUAL) == []


def test_a_glitch_raises_none_and_hides_nothing():
    values = noise(KNOWN + 300)
    values[KNOWN + 20, 0] = 1e9
    values[KNOWN + 30 : KNOWN + 32, 0] = -1e9
    values[KNOWN + 100 :, 0] *= 1000
    assert told(values) == [(KNOWN + 100 + STAYS - 1, "y")]


def test_an_onset_behind_missing_values_and_a_gap_is_seen():
    values = noise(KNOWN + 100)
    values[KNOWN + 10 :, 0] *= 1000
    values[KNOWN + 5 : KNOWN + 10, 0] = np.nan
    values[KNOWN + 11, 0] = np.nan
    assert told(values) == [(KNOWN + 10 + STAYS, "y")]
    chain = Chain()
    assert chain.take(records(values[: KNOWN + 10])) == []
    (alert,) = chain.take(records(values[KNOWN + 10 :], KNOWN + 500))
    assert alert.t == (KNOWN + 500 + STAYS) * PERIOD_MS


def test_what_was_always_the_same_has_no_usual_deviation():
    values = noise(KNOWN + 100)
    values[: KNOWN + 50, 0] = 0.0
    assert told(values) == []


def test_what_has_been_as_far_before_is_no_news_after_a_long_quiet():
    values = noise(KNOWN + 3000)
    values[:, 0] = 0.0
    values[100:110, 0], values[KNOWN + 2500 : KNOWN + 2600, 0] = 30.0, 40.0
    assert told(values) == []


def test_a_direction_jumps_for_no_reason():
    values = noise(KNOWN + 100)
    values[:, 2] = np.random.default_rng(1).normal(180, 0.01, len(values))
    values[KNOWN + 10 :, 2] += 90
    assert told(values) == []


@lru_cache(maxsize=1)
def learned_state() -> bytes:
    """Of a series whose usual values are known."""
    chain = Chain()
    assert chain.take(records(noise(KNOWN))) == []
    return chain.inner.save("k")


def after_the_usual() -> Chain:
    chain = Chain()
    chain.inner.restore("k", learned_state())
    return chain


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_batches_and_restarts_change_nothing(data: st.DataObject):
    values = noise(KNOWN + 60, seed=1)
    start = data.draw(st.integers(KNOWN, KNOWN + 40))
    values[start:, data.draw(st.sampled_from([0, 1]))] *= data.draw(st.sampled_from([-1000.0, 200.0, 1e12]))
    missing = data.draw(st.lists(st.integers(KNOWN, KNOWN + 59), max_size=10))
    values[missing] = np.nan
    sent = records(values)
    expected = after_the_usual().take(sent[KNOWN:])
    chain, alerts = after_the_usual(), []
    cuts = sorted(data.draw(st.lists(st.integers(KNOWN, len(sent)), max_size=8)))
    for begin, end in zip([KNOWN, *cuts], [*cuts, len(sent)], strict=True):
        if data.draw(st.booleans()):
            saved, chain = chain.inner.save("k"), Chain()
            chain.inner.restore("k", saved)
        alerts += chain.take(sent[begin:end])
    assert alerts == expected
    assert len(expected) <= 1


async def test_the_serving_models_say_what_was_usual(store, stream, versions):
    models = new_models(store, stream)
    assert models.registry.usual(stream.name) == {}
    await put(store, stream, versions[0])
    await models.reconcile()
    assert models.registry.usual(stream.name) == versions[0].usual
    assert set(versions[0].usual) == set(stream.columns)


@pytest.fixture(scope="module")
def turbines() -> np.ndarray:
    """[records, keys, columns] of the shipped data."""
    table = pq.read_table(ROOT / "data" / "la-haute-borne.parquet")
    names = table["Wind_turbine_name"].to_numpy(zero_copy_only=False)
    columns = [name for name in table.column_names if name.endswith("_avg")]
    values = np.stack([table[name].to_numpy(zero_copy_only=False).astype(float) for name in columns], axis=1)
    series = [values[names == name] for name in sorted(set(names))]
    shortest = min(map(len, series))
    return np.stack([part[:shortest] for part in series], axis=1)


def test_no_false_alarm_on_the_shipped_data_wherever_a_series_begins(turbines: np.ndarray):
    starts = np.arange(0, len(turbines) - 5000, 500)
    keys = turbines.shape[1]
    usual, slots = Usual.empty(len(starts) * keys, turbines.shape[2]), np.arange(len(starts) * keys)
    raised = 0
    for n in range(5000):
        values = turbines[starts + n].reshape(len(slots), -1)
        raised += len(judge(usual, slots, values).alerting)
    assert raised == 0
    # That it would be seen: the same values in another unit.
    for n in range(STAYS):
        raised += int((judge(usual, slots, 1e5 + 1e6 * turbines[starts + n].reshape(len(slots), -1))).deviations.any())
    assert raised > 0


def test_no_false_alarm_against_what_a_model_has_learned_from(turbines: np.ndarray):
    year = turbines[:52_560].reshape(-1, turbines.shape[2])
    names = [f"c{n}" for n in range(year.shape[1])]
    learned = {}
    for name, column in zip(names, year.T, strict=True):
        known = column[np.isfinite(column)]
        distances = np.abs(known - known.mean())
        learned[name] = UsualValues(float(known.mean()), float(known.std()), float(distances.max()))
    trained = LearnedFrom.of(names, learned)
    starts = np.arange(52_560, len(turbines) - 1000, 500)
    usual, slots = Usual.empty(len(starts), len(names)), np.arange(len(starts))
    for n in range(1000):
        assert not len(judge(usual, slots, turbines[starts + n, 0], trained).alerting)
