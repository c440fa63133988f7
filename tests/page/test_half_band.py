"""The 50 % band of the fan, which the page makes from the newest truths: it holds half of them on real data."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Page

from driftline.arrays import Floats, Ints
from driftline.bus.port import Envelope
from driftline.messages import Blend, Forecast
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.tables import read_file
from driftline.worker.keyed import KeyedStep
from driftline_combiner.step import BlendStep
from tests.conftest import ROOT
from tests.page.test_dashboard import CHROMIUM, Served, opened

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it"),
    pytest.mark.asyncio(loop_scope="module"),
]
DAY = 144
"""Records."""
HORIZON = [1, 6, 36]
TARGETS = ("Ot_avg", "P_avg")
AT_ONCE = 500
SKIPPED, COUNT = 20_000, 1500
"""Records of one turbine: a spring's stretch, as much of it as a page may begin with."""
COVERAGE = """async (blends) => {
    const { HalfBands } = await import("/assets/half_band.js");
    const halves = new HalfBands(600), truths = new Map(blends.map((blend) => [blend.t, blend.observed]));
    for (const blend of blends) halves.add(blend);
    return blends[0].horizon.map((_, h) => {
        const met = blends.map((blend) => ({ blend, truth: truths.get(blend.times[h]), ...halves.of(blend)[h] }))
            .filter(({ truth, low }) => truth != null && low != null);
        const held = met.filter(({ truth, low, high }) => low <= truth && truth <= high);
        const nested = met.every(({ blend, low, high }) => blend.lower[h] <= low && high <= blend.upper[h]);
        return { count: met.length, share: held.length / met.length, nested };
    });
}"""
BANDS = """async (blends) => {
    const { HalfBands } = await import("/assets/half_band.js");
    const halves = new HalfBands(600);
    for (const blend of blends) halves.add(blend);
    return blends.map((blend) => halves.of(blend));
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page() -> AsyncIterator[Page]:
    combiner = Served()
    await combiner.start()
    async with opened(combiner) as page:
        yield page
    await combiner.stop()


@pytest.fixture(scope="module")
def la_haute_borne() -> dict[str, list[Blend]]:
    """By column what the combiner publishes of a turbine for which two simple members forecast."""
    stream = parse(
        f"name: wind\ntime: {{column: Date_time, zone: required, period: 10min}}\nkey: Wind_turbine_name\n"
        f"target: Ot_avg\nfeatures: {{P_avg: level}}\nhorizon: {HORIZON}\n",
        "wind.yaml",
    ).without_grid
    rows = read_file(ROOT / "data" / "la-haute-borne.parquet", stream).by_key()["R80711"]
    rows = rows.take(slice(SKIPPED - DAY, SKIPPED + COUNT))
    columns = [rows.values[:, stream.columns.index(target)] for target in TARGETS]
    forecasts = [
        _forecast(target, rows.t, column, n)
        for n in range(DAY, len(rows))
        for target, column in zip(TARGETS, columns, strict=True)
    ]
    blends = list(_blended(stream, forecasts))
    return {target: [blend for blend in blends if blend.key == target] for target in TARGETS}


def _forecast(key: str, times: Ints, values: Floats, n: int) -> Forecast:
    members = {"persistence": [values[n]] * len(HORIZON), "seasonal": [values[n - DAY + h] for h in HORIZON]}
    rows = {name: [_known(value) for value in row] for name, row in members.items()}
    return Forecast("wind", key, int(times[n]), _known(values[n]), HORIZON, rows, {}, 0.0)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _blended(stream: StreamDefinition, forecasts: list[Forecast]) -> Iterator[Blend]:
    step = KeyedStep({"wind": BlendStep(stream, lambda _stream, _kind: None)}, lambda _stream, _reason: None)
    for first in range(0, len(forecasts), AT_ONCE):
        part = enumerate(forecasts[first : first + AT_ONCE], first)
        outputs = step.step([Envelope(0, n, 0.0, forecast) for n, forecast in part])
        yield from (output.message for output in outputs if isinstance(output.message, Blend))


def as_on_the_wire(blends: list[Blend]) -> list[dict[str, Any]]:
    return msgspec.json.decode(msgspec.json.encode(blends), type=list[dict[str, Any]])


@pytest.mark.parametrize("target", TARGETS)
async def test_on_real_data_it_holds_half_of_the_truths(
    page: Page, la_haute_borne: dict[str, list[Blend]], target: str
):
    for horizon in await page.evaluate(COVERAGE, as_on_the_wire(la_haute_borne[target])):
        assert horizon["count"] > COUNT - DAY
        assert 0.45 <= horizon["share"] <= 0.55
        assert horizon["nested"]


def issued(n: int, observed: float | None, **rows: Any) -> dict[str, Any]:
    """A blend one step ahead with quantiles at -2, 0 and 4, whose 90 % interval is -3 to 6."""
    quantiles = {"0.05": [-3], "0.1": [-2], "0.5": [0], "0.9": [4], "0.95": [6]}
    wide = {"value": [0], "lower": [-3], "upper": [6], "quantiles": quantiles}
    return {"t": 600_000 * n, "observed": observed, "horizon": [1], **wide, **rows}


async def ends(page: Page, blends: list[dict[str, Any]]) -> list[Any]:
    return [(half["low"], half["high"]) for (half,) in await page.evaluate(BANDS, blends)]


async def test_it_is_that_of_a_normal_distribution_until_there_are_enough_truths(page: Page):
    truths = [1.0] * 60
    bands = await ends(page, [issued(n, truth) for n, truth in enumerate(truths)])
    normal = (pytest.approx(-2 * 0.526, abs=2e-3), pytest.approx(4 * 0.526, abs=2e-3))
    # The first record is no truth of a forecast; with the fiftieth truth the band goes just as far as all of them.
    assert bands[:50] == [normal] * 50
    assert bands[50:] == [(-0.5, 1.0)] * 10


async def test_it_follows_the_newest_truths_on_either_side_and_stays_within_the_wide_band(page: Page):
    calm, wild = [-0.2, 0.4] * 300, [-30.0, 60.0] * 300
    bands = await ends(page, [issued(n, truth) for n, truth in enumerate(calm + wild)])
    assert bands[599] == (pytest.approx(-0.2), pytest.approx(0.4))
    assert bands[-1] == (-3, 6)


async def test_what_is_not_known_leaves_it_open(page: Page):
    old = issued(0, 1.0, quantiles={})
    void = issued(1, None, value=[None], lower=[None], upper=[None], quantiles={"0.1": [None], "0.5": [None]})
    assert await ends(page, [old, void, issued(2, None), issued(3, 0.0)]) == [
        (None, None),
        (None, None),
        *[(pytest.approx(-1.052, abs=2e-3), pytest.approx(2.104, abs=2e-3))] * 2,
    ]


async def test_without_any_width_it_has_none(page: Page):
    flat = {"lower": [0], "upper": [0], "quantiles": {level: [0] for level in ("0.05", "0.1", "0.5", "0.9", "0.95")}}
    blends = [issued(n, truth, **flat) for n, truth in enumerate([0.0, 5.0] * 100)]
    assert set(await ends(page, blends)) == {(0, 0)}
