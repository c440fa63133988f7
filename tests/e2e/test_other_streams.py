"""Streams that nobody tuned anything for: other columns, periods and units, of turbines that no choice was made on.

Series go side by side, since one more costs next to nothing; none knows of the others.
"""

import numpy as np
import pytest

from driftline.arrays import Floats, Ints
from driftline.members import MEMBERS
from driftline.messages import Blend
from driftline.scoring import PUBLISHED, STRATEGIES
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline.streams.tables import read_file
from driftline_cli.evaluate import outcome, scores
from tests.conftest import ROOT
from tests.e2e.stream_steps import StreamSteps, records

HELD_OUT = ("R80736", "R80790")
COUNT = 25_000


@pytest.fixture(scope="module")
def turbines(temperature: StreamDefinition) -> dict[str, Rows]:
    rows = read_file(ROOT / "data" / "la-haute-borne.parquet", temperature).by_key()
    return {key: rows[key].take(slice(-COUNT, None)) for key in HELD_OUT}


def side_by_side(stream: StreamDefinition, series: dict[str, tuple[Ints, Floats]]) -> dict[str, list[Blend]]:
    """By key the blends of series that come at once."""
    found = [record for key, (t, values) in series.items() for record in records(stream, t, values, key)]
    blends, _ = StreamSteps(stream).run(sorted(found, key=lambda record: record.t))
    return {key: [blend for blend in blends if blend.key == key] for key in series}


def defined(name: str, target: str, period: str, features: str = "", lags: int = 12) -> StreamDefinition:
    text = f"name: {name}\ntime: {{column: when, period: {period}}}\ntarget: {target}\nlags: {lags}\nhorizon: [1, 6]\n"
    return parse(text + (f"features: {features}\n" if features else ""), f"{name}.yaml")


def of_turbine(
    stream: StreamDefinition, turbine: Rows, temperature: StreamDefinition, every: int
) -> tuple[Ints, Floats]:
    places = [temperature.columns.index(name) for name in stream.columns]
    return turbine.t[::every], turbine.values[::every][:, places]


def minutely(count: int = 20_000) -> tuple[Ints, Floats]:
    """A tank level by the minute: a daily course, a slow wander, and a sensor's noise."""
    random = np.random.default_rng(7)
    t = 1_600_000_000_000 + 60_000 * np.arange(count)
    wander = np.zeros(count)
    for n in range(1, count):
        wander[n] = 0.995 * wander[n - 1] + random.normal(scale=0.05)
    course = 3 * np.sin(2 * np.pi * np.arange(count) / 1440)
    return t, (40 + course + wander + random.normal(scale=0.03, size=count))[:, None]


def check(blends: list[Blend]) -> None:
    """The published blend is within 1.5 % of the best member and strategy from the first record on, and better than
    persistence."""
    for index in range(2):
        found = scores(outcome(blends, index))
        best = min(found[name].rmse for name in (*MEMBERS, *STRATEGIES) if name in found)
        assert found[PUBLISHED].rmse <= 1.015 * best
        assert found[PUBLISHED].skill > 0


@pytest.mark.parametrize(
    ("target", "features", "every", "period"),
    [
        ("Ws_avg", "{P_avg: level, Wa_avg: angle}", 1, "10min"),
        ("Ws_avg", "", 6, "1h"),
        ("Ba_avg", "{Ws_avg: level}", 1, "10min"),
        ("Ot_avg", "{Ws_avg: level}", 6, "1h"),
    ],
)
def test_the_blend_is_as_good_as_the_best(turbines, temperature, target: str, features: str, every: int, period: str):
    stream = defined("other", target, period, features)
    series = {key: of_turbine(stream, rows, temperature, every) for key, rows in turbines.items()}
    for blends in side_by_side(stream, series).values():
        check(blends)


def test_by_the_minute(temperature: StreamDefinition):
    stream = defined("tank", "level", "1min", lags=8)
    blends, _ = StreamSteps(stream).run(records(stream, *minutely()))
    check(blends)


def test_another_unit_gives_the_same_forecasts_in_that_unit(turbines: dict[str, Rows], temperature: StreamDefinition):
    stream = defined("power", "P_avg", "10min", "{Ws_avg: level}")
    series: dict[str, tuple[Ints, Floats]] = {}
    for key, rows in turbines.items():
        t, values = of_turbine(stream, rows.take(slice(0, 6000)), temperature, 1)
        series |= {f"{key} in kW": (t, values), f"{key} in W": (t, values * [1000.0, 1.0])}
    blends = side_by_side(stream, series)
    for key in turbines:
        for one, other in zip(blends[f"{key} in kW"], blends[f"{key} in W"], strict=True):
            found, expected = np.array(other.value, float), 1000 * np.array(one.value, float)
            # The last week lies in single precision, and what is put out is rounded to a millionth of the usual error.
            assert np.allclose(found, expected, rtol=2e-5, atol=1.0, equal_nan=True)
