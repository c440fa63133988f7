"""What stands beside the charts is whole and true: labels of any size, units, ages, and no line over a gap."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import expect

from driftline.messages import FORECASTS, Forecast
from tests.page.browser import window
from tests.page.test_dashboard import CHROMIUM, SOON, Served, forecasts

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")
LARGE = 1e5
BEYOND = """() => {
    window.beyond = [];
    window.written = [];
    const draw = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, x, ...rest) {
        const left = this.textAlign === "right" ? x - this.measureText(text).width : x;
        if (this.textAlign === "right" && left < 0) window.beyond.push(text);
        window.written.push(text);
        return draw.call(this, text, x, ...rest);
    };
}"""
"""Remembers what is written into charts, and what begins outside of them."""
OUTSIDE = """() => [...document.querySelectorAll("#chart text")]
    .filter((text) => text.getBBox().x < 0).map((text) => text.textContent)"""
WORDS = """async (calls) => {
    const words = await import("/assets/words.js");
    return calls.map(([name, ...given]) => words[name](...given));
}"""
ALIGNED = """async ([times, h]) => {
    const { aligned } = await import("/assets/series.js");
    const blends = times.map((t) => ({ t: 1000 * t, observed: t, value: [t], horizon: [1] }));
    const { axis, truth, row, count } = aligned(blends, 0, 1, 600);
    return { axis, truth, value: row((blend) => blend.value), count };
}"""


def large(first: int, last: int) -> list[Forecast]:
    """As of a meter that counts watt hours."""
    return [
        Forecast(
            one.stream,
            one.key,
            one.t,
            (one.observed or 0.0) * LARGE,
            one.horizon,
            {name: [value * LARGE for value in row if value is not None] for name, row in one.members.items()},
            one.versions,
            one.received,
        )
        for one in forecasts(first, last, "v000001-aaaaaaaaaaaa")
    ]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    serving = Served()
    await serving.start()
    yield serving
    await serving.stop()


async def test_large_values_have_whole_labels(served: Served) -> None:
    await served.bus.publish(FORECASTS, large(0, 150))
    async with window(locale="en-GB") as page:
        await page.add_init_script(f"({BEYOND})()")
        await page.goto(f"http://127.0.0.1:{served.port}/#stream=tank&key=north")
        await expect(page.locator("#next b")).to_contain_text("In 10 minutes ", timeout=SOON)
        await expect(page.locator("#errors canvas")).to_be_visible(timeout=SOON)
        assert any(label.endswith("00,000") and len(label) > len("00,000") for label in await page.evaluate("written"))
        assert await page.evaluate("beyond") == []
        await page.goto(f"http://127.0.0.1:{served.port}/embed/tank/north")
        await expect(page.locator("#chart text").first).to_be_visible(timeout=SOON)
        assert await page.evaluate(OUTSIDE) == []


async def test_labels_and_lengths_say_what_they_mean(served: Served) -> None:
    calls: list[tuple[list[Any], Any]] = [
        (["levels", [0, 0.0025, 0.005, 0.0075]], ["0.0000", "0.0025", "0.0050", "0.0075"]),
        (["levels", [1013.2, 1013.4, 1013.6]], ["1,013.2", "1,013.4", "1,013.6"]),
        (["levels", [-50_000, 0, 50_000]], ["-50,000", "0", "50,000"]),
        (["levels", [0.30000000000000004, 0.4, 0.5]], ["0.3", "0.4", "0.5"]),
        (["levels", [7]], ["7"]),
        (["levels", []], []),
        (["alike", [9.567, 16.98, 24.4]], ["10", "17", "24"]),
        (["measured", "84", "°"], "84°"),
        (["measured", "17.4", "°C"], "17.4 °C"),
        (["measured", "17.4", None], "17.4"),
        (["age", 4202 * 86_400], "11.5 years"),
        (["age", 400 * 86_400], "400 days"),
        (["briefly", 600], "10 min"),
        (["briefly", 3600], "1 h"),
        (["briefly", 604_800], "7 days"),
    ]
    async with window(locale="en-GB") as page:
        await page.goto(f"http://127.0.0.1:{served.port}/")
        assert await page.evaluate(WORDS, [call for call, _ in calls]) == [said for _, said in calls]


async def test_an_error_as_large_as_that_of_the_last_value_is_said_so(served: Served) -> None:
    call = ["best", ["seasonal", "persistence"], {"seasonal": 2, "persistence": 2.0001}, {"seasonal": 0.0001}, "°C"]
    async with window(locale="en-GB") as page:
        await page.goto(f"http://127.0.0.1:{served.port}/")
        [[_, why]] = await page.evaluate(WORDS, [call])
    assert why == (
        "It repeats the same time of the day before. Its error is 2 °C, as large as that of repeating the last value."
    )


async def test_no_line_is_drawn_over_a_gap(served: Served) -> None:
    async with window() as page:
        await page.goto(f"http://127.0.0.1:{served.port}/")
        drawn = await page.evaluate(ALIGNED, [[0, 600, 3600, 4200], 0])
    assert drawn == {
        "axis": [0, 600, 900, 3600, 4200, 4800],
        "truth": [0, 600, None, 3600, 4200, None],
        "value": [None, 0, None, None, 3600, 4200],
        "count": 5,
    }


async def test_an_alert_that_names_its_subject_does_not_say_it_twice(served: Served) -> None:
    await served.publish(0, 60)
    await served.alarm(40, "drift", "blend", "the blend's error has risen")
    await served.alarm(41, "gap", "time", "no record for 0:30:00 before this one")
    await served.alarm(42, "anomaly", "level", "observed 40")
    async with window() as page:
        await page.goto(f"http://127.0.0.1:{served.port}/#stream=tank&key=north")
        said = page.locator("#events li span")
        await expect(said).to_have_text(
            [
                "anomaly: level: observed 40",
                "gap: no record for 0:30:00 before this one",
                "drift: the blend's error has risen",
            ],
            timeout=SOON,
        )
