"""Streams that nobody tuned anything for: other columns, periods and units, of turbines that no choice was made on."""

import numpy as np
import pytest

from driftline.definition import STRATEGIES, StreamDefinition, parse
from driftline.features import Floats, Ints
from driftline.members import MEMBERS
from driftline.messages import Blend
from driftline.tables import Rows, read_file
from driftline_cli.evaluate import PUBLISHED, outcome, scores
from tests.conftest import ROOT
from tests.e2e.lanes import Lanes, records

HELD_OUT = ("R80736", "R80790")
COUNT = 25_000


@pytest.fixture(scope="module", params=HELD_OUT)
def turbine(request, temperature: StreamDefinition) -> Rows:
    rows = read_file(ROOT / "data" / "la-haute-borne.parquet", temperature)
    return rows.by_key()[request.param].take(slice(-COUNT, None))


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
    """The published blend is within 1 % of the best member and strategy, and better than persistence."""
    for index in range(2):
        found = scores(outcome(blends, index))
        best = min(found[name].rmse for name in (*MEMBERS, *STRATEGIES) if name in found)
        assert found[PUBLISHED].rmse <= 1.01 * best
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
def test_the_blend_is_as_good_as_the_best(turbine, temperature, target: str, features: str, every: int, period: str):
    stream = defined("other", target, period, features)
    t, values = of_turbine(stream, turbine, temperature, every)
    blends, _ = Lanes(stream).run(records(stream, t, values))
    check(blends)


def test_by_the_minute(temperature: StreamDefinition):
    stream = defined("tank", "level", "1min", lags=8)
    blends, _ = Lanes(stream).run(records(stream, *minutely()))
    check(blends)


def test_another_unit_gives_the_same_forecasts_in_that_unit(turbine: Rows, temperature: StreamDefinition):
    stream = defined("power", "P_avg", "10min", "{Ws_avg: level}")
    t, values = of_turbine(stream, turbine, temperature, 1)
    t, values = t[:6000], values[:6000]
    kilowatts, _ = Lanes(stream).run(records(stream, t, values))
    watts, _ = Lanes(stream).run(records(stream, t, values * [1000.0, 1.0]))
    for one, other in zip(kilowatts, watts, strict=True):
        found, expected = np.array(other.value, float), 1000 * np.array(one.value, float)
        assert np.allclose(found, expected, rtol=1e-6, atol=1e-3, equal_nan=True)
