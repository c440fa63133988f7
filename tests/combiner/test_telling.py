"""What Prometheus hears of errors and weights: of all series together, and of each only where it is configured."""

import numpy as np
import pytest

from driftline.metrics import EXPORTED
from driftline.streams.definition import StreamDefinition
from driftline_combiner.exporter import ScoreExporter
from tests.e2e.stream_steps import StreamSteps, records

KEYS = ("north", "south")


@pytest.fixture(scope="module")
def stream_steps(temperature: StreamDefinition) -> StreamSteps:
    found = StreamSteps(temperature)
    random = np.random.default_rng(0)
    for key in KEYS:
        t = np.arange(200) * temperature.time.period * 1000
        found.run(records(temperature, t, random.normal(size=(len(t), len(temperature.columns))).cumsum(axis=0), key))
    return found


def keys_told(stream_steps: StreamSteps, *, by_key: bool) -> dict[str, set[str]]:
    """By metric the values of its label `key`."""
    told = ScoreExporter({stream_steps.stream.name: stream_steps.blending}, by_key=by_key).collect()
    return {family.name: {sample.labels.get("key", "") for sample in family.samples} for family in told}


def test_keys_are_told_only_where_it_is_configured(stream_steps: StreamSteps):
    names = {f"driftline_{told.name}" for told in EXPORTED}
    expected = {name: {"all"} for name in names} | {"driftline_series": {""}}
    assert keys_told(stream_steps, by_key=False) == expected
    expected = {name: {"all", *KEYS} for name in names} | {"driftline_series": {""}}
    assert keys_told(stream_steps, by_key=True) == expected
