"""The view of one series in a real browser: the fan of a moment, its table, time ranges, and a link that keeps them."""

from collections.abc import AsyncIterator
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from driftline.messages import BLENDS
from tests.page.browser import box_of
from tests.page.test_dashboard import BEGIN, CHROMIUM, FAINT, SOON, keep
from tests.page.test_forecast_words import LEVEL, TwoStreams, blend_of, opened, steady

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")
COUNT = 300
ROOF = "#stream=sun&key=roof&horizon=36"
PHONE = {"width": 390, "height": 844}
QUANTILES = """async () => {
    const { quantile, score } = await import("/assets/fan.js");
    const blend = { lower: [-1.645], upper: [3.29], quantiles: { 0.05: [-1.645], 0.5: [0], 0.95: [3.29] } };
    const levels = [0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
    const bare = { lower: [1], upper: [2], quantiles: {} };
    const between = levels.map((at) => quantile(blend, 0, at));
    return [score(0.975), ...between, quantile(bare, 0, 0.25), quantile(bare, 0, 0.95)];
}"""


ENDS = ("from", "to")
NONE = "\N{EN DASH}"
FRAMED = """async () => {
    const { framed } = await import("/assets/fan.js");
    const cases = [[[10, 20, null], [9, 22]], [[10, 20], [-500, 900, NaN]], [[0, 0], [0, 8]], [[], [1, 2]]];
    return cases.map(([certain, bands]) => framed(certain, bands));
}"""


@pytest.fixture
async def served() -> AsyncIterator[TwoStreams]:
    serving = TwoStreams()
    await serving.start()
    await serving.blends(COUNT, steady(0.02, 0.02, 0.9))
    yield serving
    await serving.stop()


def amount(n: int, error: float = 0.0) -> str:
    return f"{LEVEL[n] + error:.3f}".replace(".", ",")


async def place(page: Page, share: float) -> tuple[float, float]:
    """On the screen, at a share of the width of the forecast's chart."""
    box = await box_of(page, "forecast")
    return box["x"] + share * box["width"], box["y"] + box["height"] / 2


async def loaded(page: Page) -> None:
    await expect(page.locator("#drift")).to_contain_text(f"{COUNT} records", timeout=SOON)
    await expect(page.locator("#values tbody tr")).to_have_count(3, timeout=SOON)


async def test_the_next_values_are_in_a_table(served: TwoStreams):
    async with opened(served, ROOF) as page:
        await loaded(page)
        await expect(page.locator("#values-unit")).to_have_text("Value (kW)")
        last = page.locator("#values tbody tr").last
        # The record of 49:50 after midnight UTC, in Berlin, and six hours.
        await expect(last).to_contain_text("08:50")
        await expect(last).to_contain_text("in 6 hours")
        await expect(last).to_contain_text(amount(COUNT - 1 + 36, 0.02))
        await expect(last.locator("td.truth")).to_be_hidden()


async def test_the_slider_shows_what_was_said_and_the_link_keeps_it(served: TwoStreams):
    async with opened(served, ROOF) as page:
        await loaded(page)
        await page.get_by_role("button", name="6 hours earlier").click()
        await expect(page.locator("#issued")).to_contain_text("The truth was", timeout=SOON)
        await expect(page.locator("#values td.truth").last).to_have_text(amount(COUNT - 1))
        await expect(page.locator("#issued-at")).to_have_text("02.01.2026, 20:50")
        await page.get_by_label("Forecast issued").focus()
        await page.keyboard.press("ArrowLeft")
        await expect(page.locator("#issued-at")).to_have_text("02.01.2026, 20:40")
        await page.wait_for_url("**/*at=2026-01-02T19:40:00Z*")
        await keep(page, "fan-earlier")
        await page.reload()
        await loaded(page)
        await expect(page.locator("#issued-at")).to_have_text("02.01.2026, 20:40")
        await page.get_by_role("button", name="Newest").click()
        await expect(page.locator("#issued-at")).to_contain_text("the newest")
        await page.wait_for_url(lambda url: "at=" not in url)


async def test_a_moment_that_is_not_remembered_is_said(served: TwoStreams):
    async with opened(served, f"{ROOF}&at=2020-01-01T00:00:00Z") as page:
        await expect(page.locator("#issued")).to_contain_text("No forecast from then is remembered", timeout=SOON)


async def test_the_pointer_shows_a_moment_and_a_click_keeps_it(served: TwoStreams):
    async with opened(served, ROOF) as page:
        await loaded(page)
        x, y = await place(page, 0.3)
        await page.mouse.move(x - 2, y)
        await page.mouse.move(x, y)
        await expect(page.locator("#issued")).to_contain_text("It said")
        await page.mouse.move(5, 5)
        await expect(page.locator("#issued-at")).to_contain_text("the newest")
        await page.mouse.click(x, y)
        await page.mouse.move(5, 5)
        await expect(page.locator("#issued")).to_contain_text("It said")
        await page.wait_for_url("**/*at=2026*")


async def test_keys_and_buttons_zoom_and_pan_and_the_link_keeps_it(served: TwoStreams):
    async with opened(served, ROOF) as page:
        await loaded(page)
        await page.get_by_label("Forecast issued").focus()
        await page.keyboard.press("+")
        await expect(page.locator("#zoomed")).to_be_visible()
        await page.wait_for_url("**/*from=2026*to=2026*")
        closer = page.url
        await page.get_by_role("button", name="Earlier", exact=True).click()
        await page.wait_for_url(lambda url: url != closer)
        kept = await page.locator("#zoomed span").inner_text()
        await page.reload()
        await loaded(page)
        await expect(page.locator("#zoomed span")).to_have_text(kept)
        await page.get_by_label("Show").select_option("last 1 day")
        await expect(page.locator("#zoomed")).to_be_hidden()
        await page.wait_for_url("**/*range=86400")
        for _ in range(6):
            await page.get_by_role("button", name="Zoom out").click()
        await expect(page.get_by_label("Show")).to_have_value("all")


async def test_a_finger_chooses_a_moment_and_the_first_screen_has_the_chart(served: TwoStreams):
    async with opened(served, ROOF, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        await loaded(page)
        box = await page.locator("#forecast canvas").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= PHONE["height"]
        await page.touchscreen.tap(*await place(page, 0.3))
        await expect(page.locator("#issued")).to_contain_text("It said")
        await keep(page, "fan-phone")


async def fingers(page: Page, *moments: tuple[float, float]) -> None:
    """Two of them, at shares of the chart's width, go from one moment to the next."""
    session = await page.context.new_cdp_session(page)
    for kind, shares in [("touchStart", moments[0]), *(("touchMove", moment) for moment in moments[1:])]:
        places = [await place(page, share) for share in shares]
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(places)]
        await session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    await session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def stretch(url: str) -> tuple[float, float]:
    """Which the address keeps, in hours since the epoch; nothing where it keeps none."""
    view = parse_qs(urlsplit(url).fragment)
    begin, end = (datetime.fromisoformat(view[name][0]).timestamp() / 3600 if name in view else 0 for name in ENDS)
    return begin, end


async def test_two_fingers_zoom_and_pan(served: TwoStreams):
    async with opened(served, ROOF, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        await loaded(page)
        # Of twelve hours of the past and six of the future a third.
        await fingers(page, (0.4, 0.6), (0.3, 0.7), (0.2, 0.8))
        await page.wait_for_url(lambda url: stretch(url)[1] - stretch(url)[0] == pytest.approx(6, abs=0.1))
        begin, end = stretch(page.url)
        # The same third, whichever finger's move comes first.
        assert begin == pytest.approx(BEGIN / 3_600_000 + (COUNT - 1) / 6 - 6, abs=0.1)
        await fingers(page, (0.2, 0.5), (0.3, 0.6), (0.5, 0.8))
        await page.wait_for_url(lambda url: begin - stretch(url)[0] == pytest.approx(0.3 * (end - begin), abs=0.1))
        earlier, later = stretch(page.url)
        assert later - earlier == pytest.approx(end - begin, abs=0.1)
        # Neither gesture chose a moment, nor did the browser zoom its page.
        assert "at=" not in page.url
        assert await page.evaluate("visualViewport.scale") == 1


async def test_each_value_is_in_the_row_of_its_own_horizon_whatever_the_definition_was_before(served: TwoStreams):
    one = {"horizon": [6], "value": [7.5], "lower": [7.0], "upper": [8.0], "guarded": [False], "times": []}
    rows = {"weights": {"persistence": [1.0]}, "members": {"persistence": [7.5]}}
    newest = msgspec.structs.replace(blend_of(COUNT, steady(0.02, 0.02, 0.9)), **one, **rows)
    async with opened(served, ROOF) as page:
        await loaded(page)
        await served.bus.publish(BLENDS, [newest])
        values = page.locator("#values tbody tr td:nth-child(2)")
        await expect(values).to_have_text([NONE, "7,5", NONE], timeout=SOON)
        await expect(page.locator("#next b")).to_have_text("Not known yet", timeout=SOON)
        await page.get_by_label("Steps ahead").select_option("6")
        await expect(page.locator("#next b")).to_have_text("In 1 hour 7,5 kW, between 7 and 8", timeout=SOON)


async def test_wide_bands_are_cut_off_where_they_would_make_the_rest_flat(served: TwoStreams):
    async with opened(served, ROOF) as page:
        assert await page.evaluate(FRAMED) == [[9, 22], [-5, 35], [0, 8], [1, 2]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_axe_finds_nothing_while_a_past_fan_is_shown(served: TwoStreams, scheme: str, width: int):
    size = {"width": width, "height": 844}
    async with opened(served, ROOF, viewport=size, color_scheme=scheme) as page:
        await loaded(page)
        await page.get_by_role("button", name="6 hours earlier").click()
        await expect(page.locator("#issued")).to_contain_text("The truth was")
        results = await Axe().run(page)
        assert results.generate_snapshot() == ""
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(FAINT) == []


async def test_missing_quantiles_are_interpolated_in_normal_scores(served: TwoStreams):
    async with opened(served, ROOF) as page:
        found = await page.evaluate(QUANTILES)
    expected = [1.96, -1.645, -0.6745, 0.0, 1.349, 3.29, None, None, 2]
    assert found == [value if value is None else pytest.approx(value, abs=2e-3) for value in expected]
