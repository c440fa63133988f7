"""What Prometheus hears of errors and weights: of all series together, and of each only where it is configured."""

import numpy as np
import pytest

from driftline.metrics import TOLD
from driftline.streams.definition import StreamDefinition
from driftline_combiner.exporter import LaneMetrics
from tests.e2e.lanes import Lanes, records

KEYS = ("north", "south")


@pytest.fixture(scope="module")
def lanes(temperature: StreamDefinition) -> Lanes:
    found = Lanes(temperature)
    random = np.random.default_rng(0)
    for key in KEYS:
        t = np.arange(200) * temperature.time.period * 1000
        found.run(records(temperature, t, random.normal(size=(len(t), len(temperature.columns))).cumsum(axis=0), key))
    return found


def keys_told(lanes: Lanes, *, by_key: bool) -> dict[str, set[str]]:
    """By metric the values of its label `key`."""
    told = LaneMetrics({lanes.stream.name: lanes.blending}, by_key=by_key).collect()
    return {family.name: {sample.labels.get("key", "") for sample in family.samples} for family in told}


def test_keys_are_told_only_where_it_is_configured(lanes: Lanes):
    names = {f"driftline_{told.name}" for told in TOLD}
    expected = {name: {"all"} for name in names} | {"driftline_series": {""}}
    assert keys_told(lanes, by_key=False) == expected
    expected = {name: {"all", *KEYS} for name in names} | {"driftline_series": {""}}
    assert keys_told(lanes, by_key=True) == expected
