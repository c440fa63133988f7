"""All series at a glance, the small picture for other pages, the files and the models' story, in a real browser."""

import base64
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.async_api import Page, expect

from driftline.messages import FORECASTS
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.page.browser import window
from tests.page.test_dashboard import CHROMIUM, FAINT, SOON, STREAM, Served, forecasts, keep
from tests.serving import served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")
MANY = 120
VERSIONS = ["v000001-aaaaaaaaaaaa", "v000002-bbbbbbbbbbbb"]
COURSE = [{"truths": 40 * n, "worse": -0.1 * n, "not_worse": 0.4 * n} for n in range(1, 31)]

AHEAD = """async (png) => {
    const { picture } = await import("/assets/picture.js");
    const hex = getComputedStyle(document.documentElement).getPropertyValue("--blend").trim();
    const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const count = (image) => {
        const canvas = new OffscreenCanvas(image.width, image.height), ink = canvas.getContext("2d");
        ink.drawImage(image, 0, 0);
        const left = Math.floor(0.85 * image.width);
        const { data } = ink.getImageData(left, 0, image.width - left, image.height);
        let same = 0;
        for (let at = 0; at < data.length; at += 4) same += wanted.every((part, n) => data[at + n] === part);
        return same;
    };
    const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
    const saved = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    return [count(picture([document.querySelector("#forecast canvas")], "", "")), count(saved)];
}"""
"""How many points of the blend's colour are in the future of the chart without its fan, and of a saved picture."""


def alive() -> dict[str, str]:
    """What `served` waits for."""
    return {}


class Many(Served):
    """A combiner of which pages from elsewhere may show a picture. inference: where that answers."""

    inference: str | None = None

    async def serve(self, app: Any) -> None:
        url = f"http://127.0.0.1:{self.port}"
        others = {"inference": self.inference} if self.inference else {}
        settings = CombinerSettings(page_services={"combiner": url, **others}, embed=("*",))
        await super().serve(create_app(settings, self.bus, streams={"tank": STREAM}, on_death=lambda *_: None))

    async def series(self, count: int, records: int = 70) -> None:
        for number in range(count):
            await self.bus.publish(FORECASTS, forecasts(0, records, VERSIONS[0], key=f"tank-{number:03}"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def opened(address: str, **options: Any) -> AsyncIterator[Page]:
    async with window(**options) as page:
        await page.goto(address)
        yield page


@pytest.fixture
async def combiner() -> AsyncIterator[Many]:
    combiner = Many()
    await combiner.start()
    yield combiner
    await combiner.stop()


async def test_all_series_come_first_and_only_those_in_sight_are_drawn(combiner: Many) -> None:
    await combiner.series(MANY)
    async with opened(combiner.url, viewport={"width": 1280, "height": 800}) as page:
        await expect(page.locator("#counts")).to_contain_text(f"{MANY} series", timeout=SOON)
        first = page.locator("#all-list li").first
        await expect(first).to_contain_text("tank-000")
        assert await first.locator(".spark .truth").get_attribute("d") != ""
        assert await page.locator("#all-list li").count() == 50
        await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        last = page.locator("#all-list li", has_text=f"tank-{MANY - 1}")
        await expect(last).to_be_visible(timeout=SOON)
        assert await last.get_attribute("aria-setsize") == str(MANY)
        await expect(page.locator("#all-list li", has_text="tank-000")).to_have_count(0)
        await page.get_by_label("Find").fill("TANK-11")
        await expect(page.locator("#counts")).to_contain_text("10 series", timeout=SOON)
        await page.get_by_label("The other way round").click()
        await expect(page.locator("#all-list li").first).to_contain_text("tank-119", timeout=SOON)
        await page.locator("#all-list li a", has_text="tank-112").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#forecast canvas")).to_be_visible(timeout=SOON)
        await expect(page.locator("#key")).to_have_value("tank-112")
        await page.go_back()
        await expect(page.get_by_label("Find")).to_have_value("TANK-11", timeout=SOON)
        await expect(page.locator("#all-list li").first).to_contain_text("tank-119", timeout=SOON)


async def test_one_series_is_shown_at_once_and_a_second_makes_a_way_back(combiner: Many) -> None:
    await combiner.series(1)
    async with opened(combiner.url) as page:
        await expect(page.locator("#forecast canvas")).to_be_visible(timeout=SOON)
        await expect(page.get_by_role("link", name="All series")).to_be_hidden()
        await combiner.series(2)
        await expect(page.get_by_role("link", name="All series")).to_be_visible(timeout=SOON)
        await page.get_by_role("link", name="All series").click()
        await expect(page.locator("#counts")).to_contain_text("2 series", timeout=SOON)


async def test_what_is_shown_goes_on_by_itself_and_says_when_the_combiner_is_lost(combiner: Many) -> None:
    await combiner.series(2)
    async with opened(combiner.url) as page:
        row = page.locator("#all-list li").first
        await expect(row).to_contain_text("tank-000", timeout=SOON)
        before = await row.locator(".next").inner_text()
        await combiner.series(2, records=90)
        await expect(row.locator(".next")).not_to_have_text(before, timeout=SOON)
        await combiner.stop()
        await expect(page.locator("#connection")).to_have_text("the combiner does not answer", timeout=SOON)
        await expect(row).to_contain_text("tank-000")
        await combiner.start()
        await expect(page.locator("#connection")).to_have_text("live", timeout=SOON)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_axe_finds_nothing_and_all_fits(combiner: Many, scheme: str, width: int) -> None:
    await combiner.series(5)
    size = {"width": width, "height": 844}
    async with opened(combiner.url, viewport=size, color_scheme=scheme) as page:
        await expect(page.locator("#all-list li")).to_have_count(5, timeout=SOON)
        await keep(page, f"all-{scheme}-{width}")
        for address in ("", f"embed/tank/tank-001?theme={scheme}"):
            await page.goto(f"{combiner.url}/{address}")
            await expect(page.locator("svg .truth").first).to_be_attached(timeout=SOON)
            assert (await Axe().run(page)).response["violations"] == []
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
            assert await page.evaluate(FAINT) == []


async def test_a_picture_is_framed_by_another_page_and_goes_on(combiner: Many) -> None:
    await combiner.series(1)
    other = FastAPI()
    other.add_api_route("/livez", alive)

    @other.get("/", response_class=HTMLResponse)
    async def page_with_frame() -> str:
        return f'<iframe src="{combiner.url}/embed/tank/tank-000?horizon=6" width="480" height="260"></iframe>'

    async with served(other) as address, opened(f"http://{address}/") as page:
        frame = page.frame_locator("iframe")
        await expect(frame.locator("#next")).to_contain_text("In 1 hour", timeout=SOON)
        await expect(frame.locator("#chart .ahead")).to_be_attached()
        before = await frame.locator("#next").inner_text()
        await combiner.series(1, records=90)
        await expect(frame.locator("#next")).not_to_have_text(before, timeout=SOON)


async def test_a_picture_of_nothing_says_so(combiner: Many) -> None:
    async with opened(f"{combiner.url}/embed/none/x") as page:
        await expect(page.locator("#next")).to_have_text("There is no stream none here.", timeout=SOON)
        await page.goto(f"{combiner.url}/embed/tank/a/b")
        await expect(page.locator("#next")).to_have_text("No forecast of a/b yet.", timeout=SOON)


async def test_the_chart_and_the_forecasts_are_saved_by_keyboard(combiner: Many, tmp_path: Path) -> None:
    await combiner.series(1)
    async with opened(combiner.url) as page:
        await expect(page.locator("#forecast canvas")).to_be_visible(timeout=SOON)
        for name, ending, begin in (
            ("Chart as PNG", "tank-tank-000.png", b"\x89PNG"),
            ("Forecasts and truths as CSV", "tank-tank-000-past.csv", b"time,horizon"),
            ("Next values as CSV", "tank-tank-000-next.csv", b"time,horizon"),
        ):
            await page.get_by_text(name).focus()
            async with page.expect_download() as waited:
                await page.keyboard.press("Enter")
            download = await waited.value
            assert download.suggested_filename == ending
            await download.save_as(tmp_path / ending)
            assert (tmp_path / ending).read_bytes().startswith(begin)
        png = base64.b64encode((tmp_path / "tank-tank-000.png").read_bytes()).decode()
        without_fan, saved = await page.evaluate(AHEAD, png)
        assert without_fan == 0
        assert saved > 50


def inference() -> FastAPI:
    """What inference answers of two versions that were compared; tests/inference has the answers themselves."""
    app = FastAPI()
    app.add_api_route("/livez", alive)

    @app.get("/v1/models/tank.batch")
    async def status() -> dict[str, Any]:
        swaps = [{"version": VERSIONS[1], "at": 1.7e9, "why": "the store named it"}]
        refused = {"v000003-cccccccccccc": "its signature is wrong"}
        known = {"version": VERSIONS[1], "swapped": 1.7e9, "note": "the store named it", "pinned": False}
        return {**known, "latest": swaps, "refused": refused}

    @app.get("/v1/models/tank.batch/comparisons")
    async def comparisons() -> list[dict[str, Any]]:
        newest = COURSE[-1]
        return [
            {"new": VERSIONS[1], "old": VERSIONS[0], "limit": math.log(1000), "over": True, "course": COURSE, **newest}
        ]

    return app


async def test_the_story_of_a_model_is_told_with_its_test_as_a_curve(combiner: Many) -> None:
    await combiner.stop()
    async with served(inference()) as address:
        combiner.inference = f"http://{address}"
        await combiner.start()
        await combiner.series(1)
        async with opened(combiner.url) as page:
            story = page.locator("#story")
            await expect(story).to_contain_text("v000002-bbbbbbbbbbbb serves since", timeout=SOON)
            await expect(story).to_contain_text("v000002 against v000001 over 1,200 truths: it is not worse.")
            await expect(story).to_contain_text("v000003 its signature is wrong")
            assert len((await story.locator("path.not-worse").get_attribute("d")).split("L")) == len(COURSE)
            assert (await Axe().run(page)).response["violations"] == []
            await keep(page, "story")
