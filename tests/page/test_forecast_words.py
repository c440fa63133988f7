"""The dashboard says what comes, how far to trust it, and follows its address; zoom, local times and axe's rules."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from driftline.messages import BLENDS, FORECASTS, Blend, Forecast
from driftline.streams.definition_files import parse
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.page.browser import box_of, window
from tests.page.test_dashboard import BEGIN, CHROMIUM, FAINT, SOON, Served, keep

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")
PERIOD_MS = 600_000
SUN = parse(
    "name: sun\ntime: {column: when, period: 10min}\nkey: id\ntarget: power\nhorizon: [1, 6, 36]\n"
    "columns: {power: {unit: kW}}\n",
    "sun.yaml",
)
TANK = parse("name: tank\ntime: {column: when, period: 1h}\nkey: id\ntarget: level\nhorizon: [1, 6]\n", "tank.yaml")
LEVEL = 5 + np.sin(np.arange(1000) / 9)


class TwoStreams(Served):
    """A combiner of two streams, whose blends may be given as they are, too."""

    async def serve(self, app: Any) -> None:
        settings = CombinerSettings(page_services={"combiner": f"http://127.0.0.1:{self.port}"})
        streams = {"sun": SUN, "tank": TANK}
        await super().serve(create_app(settings, self.bus, streams=streams, on_death=lambda *_: None))

    async def blends(self, count: int, forecast: Callable[[int], dict[str, float]], first: int = 0) -> None:
        """Blends of sun/roof, forecast for all horizons by the truth six steps later. forecast: from the truth's place
        the errors of the blend and the seasonal member, and half the width of the interval."""
        await self.bus.publish(BLENDS, [blend_of(n, forecast) for n in range(first, first + count)])

    async def levels(self, stream: str, key: str, count: int = 100) -> None:
        horizon = list((SUN if stream == "sun" else TANK).horizon)
        rows = [
            Forecast(
                stream,
                key,
                BEGIN + n * PERIOD_MS * (1 if stream == "sun" else 6),
                float(LEVEL[n]),
                horizon,
                {"persistence": [float(LEVEL[n])] * len(horizon)},
                {},
                0.0,
            )
            for n in range(count)
        ]
        await self.bus.publish(FORECASTS, rows)


def blend_of(n: int, forecast: Callable[[int], dict[str, float]]) -> Blend:
    ahead = {h: LEVEL[n + h] for h in SUN.horizon}
    said = {h: forecast(n + h) for h in SUN.horizon}
    value = [float(ahead[h] + said[h]["blend"]) for h in SUN.horizon]
    return Blend(
        stream="sun",
        key="roof",
        t=BEGIN + n * PERIOD_MS,
        observed=float(LEVEL[n]),
        horizon=list(SUN.horizon),
        value=value,
        strategy="online",
        strategies={},
        weights={"persistence": [0.5] * 3, "seasonal": [0.5] * 3},
        members={
            "persistence": [float(LEVEL[n])] * 3,
            "seasonal": [float(ahead[h] + said[h]["seasonal"]) for h in SUN.horizon],
        },
        versions={},
        received=0.0,
        lower=[v - said[h]["half"] for v, h in zip(value, SUN.horizon, strict=True)],
        upper=[v + said[h]["half"] for v, h in zip(value, SUN.horizon, strict=True)],
        guarded=[False] * 3,
        times=[BEGIN + (n + h) * PERIOD_MS for h in SUN.horizon],
    )


def steady(blend: float, seasonal: float, covered: float) -> Callable[[int], dict[str, float]]:
    """Errors of both signs and one size, of which so large a share, evenly spread, is within the interval."""

    def of(n: int) -> dict[str, float]:
        sign = 1 if n % 2 else -1
        is_covered = (n * 7) % 20 < 20 * covered
        return {"blend": sign * blend, "seasonal": sign * seasonal, "half": blend * (1.5 if is_covered else 0.5)}

    return of


@asynccontextmanager
async def opened(served: Served, view: str = "", **options: Any) -> AsyncIterator[Page]:
    options = {"locale": "de-DE", "timezone_id": "Europe/Berlin", **options}
    async with window(**options) as page:
        await page.goto(f"http://127.0.0.1:{served.port}/{view}")
        yield page


@pytest.fixture
async def served() -> AsyncIterator[TwoStreams]:
    serving = TwoStreams()
    await serving.start()
    yield serving
    await serving.stop()


async def test_the_first_answer_is_the_forecast(served: TwoStreams):
    await served.blends(300, steady(0.02, 0.02, 0.9))
    async with opened(served, "#stream=sun&key=roof&horizon=6") as page:
        await expect(page.locator("main h2:visible").first).to_have_text("What comes next?", timeout=SOON)
        value = str(round(float(LEVEL[305]) + 0.02, 3)).replace(".", ",")
        await expect(page.locator("#next b")).to_contain_text(f"In 1 hour {value} kW, between ", timeout=SOON)
        # The record of 49:50 after midnight UTC, in Berlin.
        await expect(page.locator("#next")).to_contain_text("That is 03.01.2026, 03:50, forecast with")
        await page.get_by_label("Steps ahead").select_option("36")
        await expect(page.locator("#next b")).to_contain_text("In 6 hours ", timeout=SOON)


@pytest.mark.parametrize(
    ("count", "errors", "answer", "feeling"),
    [
        (300, steady(0.02, 0.02, 0.9), "Yes", "good"),
        (300, steady(0.02, 0.02, 1.0), "Yes", "good"),
        (300, steady(0.02, 0.02, 0.8), "The value, but not the interval", "care"),
        (300, steady(0.02, 0.02, 0.3), "No, its interval misses most", "bad"),
        (300, steady(0.02, 0.01, 0.9), "No, seasonal is far better", "bad"),
        (300, steady(0.024, 0.02, 0.9), "Mostly, but seasonal is better", "care"),
        (300, steady(2.0, 2.0, 0.9), "No, persistence is far better", "bad"),
        (40, steady(0.02, 0.02, 0.9), "Not known yet", ""),
    ],
    ids=["yes", "wide", "narrow", "misses", "twice", "a-fifth", "worse", "few"],
)
async def test_trust_weighs_coverage_the_best_member_and_enough_truths(
    served: TwoStreams, count: int, errors: Callable[[int], dict[str, float]], answer: str, feeling: str
):
    await served.blends(count, errors)
    async with opened(served, "#stream=sun&key=roof&horizon=1") as page:
        await expect(page.locator("#skill b")).to_have_text(answer, timeout=SOON)
        assert await page.locator("#skill b").get_attribute("class") == feeling
        if count < 50:
            await expect(page.locator("#skill")).to_contain_text(f"Only {count - 1} of the 50 truths")


async def test_the_best_member_is_said_in_a_sentence(served: TwoStreams):
    await served.blends(300, steady(0.02, 0.01, 0.9))
    async with opened(served) as page:
        await expect(page.locator("#best")).to_contain_text("It repeats the same time of the day before.", timeout=SOON)
        await expect(page.locator("#who")).to_contain_text("repeats the same time of the day before")


async def test_a_changed_address_is_followed(served: TwoStreams):
    await served.blends(100, steady(0.02, 0.02, 0.9))
    await served.levels("tank", "north")
    await served.levels("tank", "south", 60)
    async with opened(served, "#stream=tank&key=north") as page:
        await expect(page.locator("#drift")).to_contain_text("100 records", timeout=SOON)
        await page.evaluate("location.hash = '#stream=tank&key=south&horizon=6'")
        await expect(page.locator("#drift")).to_contain_text("60 records", timeout=SOON)
        await expect(page.get_by_label("Key")).to_have_value("south")
        await expect(page.get_by_label("Steps ahead")).to_have_value("6")
        await page.evaluate("location.hash = '#stream=sun'")
        await expect(page.locator("#next")).to_contain_text("kW", timeout=SOON)
        await expect(page.get_by_label("Stream")).to_have_value("sun")
        await expect(page.locator("#best")).to_contain_text("seasonal", timeout=SOON)


async def test_stream_key_and_horizon_are_there_after_a_reload(served: TwoStreams):
    await served.levels("sun", "roof")
    await served.levels("tank", "north")
    await served.levels("tank", "south", 60)
    async with opened(served, "#stream=sun") as page:
        await expect(page.locator("#forecast canvas")).to_be_visible(timeout=SOON)
        await page.get_by_label("Stream").select_option("tank")
        await page.get_by_label("Key").select_option("south")
        await page.get_by_label("Steps ahead").select_option("6")
        await page.wait_for_url("**/#stream=tank&key=south&horizon=6")
        await page.reload()
        await expect(page.locator("#drift")).to_contain_text("60 records", timeout=SOON)
        await expect(page.get_by_label("Steps ahead")).to_have_value("6")
        await expect(page.locator("#next b")).to_contain_text("In 6 hours")


async def test_an_unknown_stream_or_key_is_said_and_nothing_else_is_shown(served: TwoStreams):
    await served.levels("sun", "roof")
    await served.levels("tank", "north")
    async with opened(served, "#stream=attic&key=roof") as page:
        await expect(page.locator("#message")).to_have_text(
            "There is no stream attic here. Choose one of: sun, tank.", timeout=SOON
        )
        await expect(page.locator(".answers")).to_be_hidden()
        await keep(page, "unknown-stream")
        await page.get_by_label("Stream").select_option("tank")
        await expect(page.locator("#drift")).to_contain_text("100 records", timeout=SOON)
        await expect(page.locator("#message")).to_be_hidden()
        await page.evaluate("location.hash = '#stream=tank&key=east'")
        await expect(page.locator("#message")).to_contain_text("No blend of the key east of tank is known here")
        await expect(page.locator(".answers")).to_be_hidden()
        await served.levels("tank", "east", 60)
        await expect(page.locator("#drift")).to_contain_text("60 records", timeout=SOON)


async def drag(page: Page, first: float, last: float) -> None:
    """Over the forecast's chart, from one share of its width to another."""
    box = await box_of(page, "forecast")
    middle = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + first * box["width"], middle)
    await page.mouse.down()
    await page.mouse.move(box["x"] + (first + last) / 2 * box["width"], middle)
    await page.mouse.move(box["x"] + last * box["width"], middle)
    await page.mouse.up()


async def expect_time_at(page: Page, share: float, time: str) -> None:
    """What the legend of the weights says where the pointer is at a share of their width."""
    box = await box_of(page, "weights")
    middle = box["y"] + box["height"] / 2
    await page.mouse.move(box["x"] + box["width"] / 3, middle)
    await page.mouse.move(box["x"] + share * (box["width"] - 2) + 1, middle)
    await expect(page.locator("#weights .u-legend .u-value").first).to_have_text(re.compile(time))


async def test_dragging_zooms_all_charts_until_it_is_reset(served: TwoStreams):
    await served.blends(288, steady(0.02, 0.02, 0.9))
    async with opened(served, "#stream=sun&key=roof&range=all") as page:
        await expect(page.locator("#weights canvas")).to_be_visible(timeout=SOON)
        await expect(page.locator("#zoomed")).to_be_hidden()
        await expect_time_at(page, 0, r"01\.01\.2026, 01:00")
        await drag(page, 0.5, 0.75)
        await expect(page.locator("#zoomed")).to_contain_text("Shown is 02.01.2026, 0")
        await expect_time_at(page, 0, r"02\.01\.2026, 0[345]:")
        await keep(page, "zoomed")
        said = await page.locator("#zoomed").inner_text()
        await served.blends(50, steady(0.02, 0.02, 0.9), first=288)
        await expect(page.locator("#drift")).to_contain_text("338 records", timeout=SOON)
        assert await page.locator("#zoomed").inner_text() == said
        await expect_time_at(page, 0, r"02\.01\.2026, 0[345]:")
        await page.get_by_role("button", name="Back to the newest").click()
        await expect(page.locator("#zoomed")).to_be_hidden()
        await expect_time_at(page, 0, r"01\.01\.2026, 01:00")
        await drag(page, 0.5, 0.75)
        await page.locator("#forecast .u-over").dblclick()
        await expect(page.locator("#zoomed")).to_be_hidden()


TEXTS = """() => {
    window.texts = [];
    const draw = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
        window.texts.push(text);
        return draw.call(this, text, ...rest);
    };
}"""
"""Remembers what is written into charts."""


@pytest.mark.parametrize(("locale", "clock"), [("de-DE", r"13:[0-5]0$"), ("en-US", r" 1:[0-5]0\sPM$")])
async def test_times_are_written_as_the_browsers_language_does(served: TwoStreams, locale: str, clock: str):
    await served.blends(140, steady(0.02, 0.02, 0.9))
    async with opened(served, locale=locale) as page:
        await page.add_init_script(f"({TEXTS})()")
        await page.goto(f"http://127.0.0.1:{served.port}/#stream=sun&key=roof")
        await page.reload()
        await expect(page.locator("#forecast canvas")).to_be_visible(timeout=SOON)
        await expect(page.locator("#next b")).to_contain_text("kW", timeout=SOON)
        written = [text.replace("\u202f", " ") for text in await page.evaluate("window.texts")]
        hours = [text for text in written if ":00" in text]
        assert hours
        assert all(("AM" in text or "PM" in text) == (locale == "en-US") for text in hours)
        await expect_time_at(page, 72 / 139, clock)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_axe_finds_nothing_and_all_fits(served: TwoStreams, scheme: str, width: int):
    await served.blends(300, steady(0.02, 0.02, 0.8))
    size = {"width": width, "height": 844}
    async with opened(served, "#stream=sun&key=roof&horizon=36", viewport=size, color_scheme=scheme) as page:
        await expect(page.locator("#skill b")).to_have_text("The value, but not the interval", timeout=SOON)
        await expect(page.locator("#services")).to_contain_text("combiner: ready", timeout=SOON)
        await drag(page, 0.2, 0.8)
        await expect(page.locator("#zoomed")).to_be_visible()
        results = await Axe().run(page)
        assert results.generate_snapshot() == "", [rule["nodes"] for rule in results.response["violations"]]
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(FAINT) == []
        await keep(page, f"forecast-{scheme}-{width}")
