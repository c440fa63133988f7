"""The dashboard in a real browser: it loads, points move, marks appear, and a lost combiner comes back."""

import asyncio
import shutil
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import stamina
import uvicorn
from playwright.async_api import Page, Request, expect
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from driftline.bus.memory import MemoryBus
from driftline.messages import ALERTS, FORECASTS, Alert, Forecast
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_cli.broker import free_port
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.conftest import ROOT
from tests.page.browser import box_of, window

PICTURES = ROOT / ".run" / "pictures"
"""The newest screenshots stay here."""
SOON = 90_000
MOST = 10_000
"""Points of a series that the page begins with."""
FRAME_MS = 1000 / 60
WORK = {"ScriptDuration", "LayoutDuration", "RecalcStyleDuration"}
SERIES_ASKED = """() => new Promise((done) => {
    const look = () => {
        const asked = performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/v1/series"));
        if (asked.length > 1) done(asked.at(-1).toJSON()); else setTimeout(look, 50);
    };
    look();
})"""
"""The second time that the page asked, or a later one."""
LISTENING = """() => {
    const { stroke } = CanvasRenderingContext2D.prototype;
    window.charted = performance.now();
    CanvasRenderingContext2D.prototype.stroke = function (...given) {
        if (this.canvas.closest(".uplot")) window.charted = performance.now();
        return stroke.apply(this, given);
    };
}"""
"""Keeps the time when a chart drew a line last; fans are not among them."""
QUIET = """() => new Promise((done) => {
    const look = () => (performance.now() - window.charted > 1500 ? done(window.charted) : setTimeout(look, 50));
    look();
})"""
HEADERS = 300
"""Bytes that a browser counts for those of any answer."""
CHROMIUM = shutil.which("chromium")
STREAM: StreamDefinition = parse(
    "name: tank\ntime: {column: when, period: 10min}\nkey: id\ntarget: level\nhorizon: [1, 6]\n", "tank.yaml"
)
BEGIN = 1_767_225_600_000
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")


def forecasts(first: int, last: int, version: str, key: str = "north") -> list[Forecast]:
    """A daily course that the model knows better than persistence."""
    level = 20 + 5 * np.sin(np.arange(last + 7) / 23) + np.random.default_rng(1).normal(scale=0.2, size=last + 7)
    return [
        Forecast(
            stream="tank",
            key=key,
            t=BEGIN + n * 600_000,
            observed=float(level[n]),
            horizon=[1, 6],
            members={
                "persistence": [float(level[n])] * 2,
                "batch": [float(level[n + h] * 0.7 + level[n] * 0.3) for h in (1, 6)],
            },
            versions={"batch": version},
            received=0.0,
        )
        for n in range(first, last)
    ]


class Served:
    """The combiner behind a port, which can go away and come back."""

    def __init__(self) -> None:
        self.port = free_port()
        self.bus = MemoryBus()
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        url = f"http://127.0.0.1:{self.port}"
        services = {"combiner": url, "trainer": "http://127.0.0.1:9"}
        settings = CombinerSettings(page_services=services, page_points=MOST)
        await self.serve(create_app(settings, self.bus, streams={"tank": STREAM}, on_death=lambda *_: None))
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=10)) as client:
            (await client.get(f"{url}/livez")).raise_for_status()

    async def serve(self, app: Any) -> None:
        """Whatever is to answer at the combiner's address."""
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._task = asyncio.create_task(self._server.serve())

    async def stop(self) -> None:
        self._server.should_exit = True
        await self._task
        # A browser that did not read all of an answer would keep its connection beyond the test's loop.
        for connection in tuple(self._server.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    async def publish(self, first: int, last: int, version: str = "v000001-aaaaaaaaaaaa") -> None:
        await self.bus.publish(FORECASTS, forecasts(first, last, version))

    async def alarm(self, n: int, kind: str, subject: str, detail: str) -> None:
        await self.bus.publish(ALERTS, [Alert("tank", "north", BEGIN + n * 600_000, kind, subject, detail)])


@asynccontextmanager
async def opened(served: Served, **options: Any) -> AsyncIterator[Page]:
    async with window(**options) as page:
        await page.goto(f"http://127.0.0.1:{served.port}/")
        yield page


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    found = Served()
    await found.start()
    yield found
    await found.stop()


async def keep(page: Page, name: str) -> None:
    await page.screenshot(path=str(PICTURES / f"{name}.png"), full_page=True)


async def marked(page: Page, chart: str, colour: str) -> bool:
    """Whether the head of a mark, of the colour that the style calls so, is at the top of a chart."""
    return await page.evaluate(
        """([chart, colour]) => {
            const canvas = document.querySelector(`#${chart} canvas`);
            const hex = getComputedStyle(document.documentElement).getPropertyValue(`--${colour}`).trim();
            const wanted = [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, 40 * devicePixelRatio);
            let found = 0;
            for (let at = 0; at < data.length; at += 4) found += wanted.every((part, n) => data[at + n] === part);
            return found > 50;
        }""",
        [chart, colour],
    )


@stamina.retry(on=AssertionError, attempts=None, timeout=60, wait_initial=0.1, wait_max=0.5, wait_jitter=0.1)
async def expect_mark(page: Page, chart: str, colour: str) -> None:
    assert await marked(page, chart, colour)


async def test_it_shows_what_comes(served: Served):
    async with opened(served) as page:
        await expect(page.locator("#message")).to_contain_text("No blend of tank yet", timeout=SOON)
        await expect(page.locator("#message code")).to_have_text(
            "driftline replay --stream streams/tank.yaml --data YOUR.csv"
        )
        await keep(page, "empty")
        await served.publish(0, 400)
        await expect(page.locator("#best")).to_contain_text("batch It is a model trained once on history", timeout=SOON)
        await expect(page.locator("#skill")).to_contain_text("less than repeating the last value")
        await expect(page.locator("#message")).to_be_hidden()
        assert not await marked(page, "weights", "accent")
        before = await page.locator("#skill").inner_text()
        await served.publish(400, 600, "v000002-bbbbbbbbbbbb")
        await expect(page.locator("#skill")).not_to_have_text(before, timeout=SOON)
        await expect(page.locator("#events")).to_contain_text("batch is now v000002-bbbbbbbbbbbb", timeout=SOON)
        await expect(page.locator("#versions")).to_contain_text("batch v000002", timeout=SOON)
        await expect_mark(page, "weights", "accent")
        await expect(page.locator("#services")).to_contain_text("trainer: away", timeout=SOON)
        await expect(page.locator("#services")).to_contain_text("combiner: ready")
        await expect(page.locator("#models")).to_contain_text("Inference does not answer")
        await page.get_by_role("checkbox", name="persistence").check()
        await expect(page.locator("#forecast .u-legend")).to_contain_text("persistence")
        await expect(page.locator("#who tbody tr").first).to_contain_text("batch")


async def test_drift_is_said_and_marked_while_it_is_new(served: Served):
    await served.publish(0, 300)
    async with opened(served) as page:
        await expect(page.locator("#drift")).to_contain_text("No None was found", timeout=SOON)
        assert not await marked(page, "weights", "bad")
        await served.alarm(250, "drift", "level", "level has moved by 5")
        await expect(page.locator("#drift")).to_contain_text("Yes Since", timeout=SOON)
        await expect(page.locator("#drift")).to_contain_text("level has moved by 5")
        await expect_mark(page, "weights", "bad")
        await keep(page, "drift")
        await served.publish(300, 600)
        await expect(page.locator("#drift")).to_contain_text("Not now The last was 3", timeout=SOON)


async def test_a_rollback_is_told_and_marked(served: Served):
    await served.publish(0, 300)
    async with opened(served) as page:
        await expect(page.locator("#weights canvas")).to_be_visible(timeout=SOON)
        await served.alarm(200, "rollback", "batch", "v000002-bbbbbbbbbbbb: its errors are worse by 9 %")
        await expect(page.locator("#events")).to_contain_text("rollback: batch: v000002-bbbbbbbbbbbb", timeout=SOON)
        await expect_mark(page, "weights", "bad")


async def test_a_lost_combiner_is_shown_and_recovered_from(served: Served):
    async with opened(served) as page:
        await served.publish(0, 100)
        await expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
        await expect(page.locator("#forecast canvas")).to_be_visible(timeout=SOON)
        await served.stop()
        await expect(page.locator("#connection")).to_have_text("the combiner does not answer", timeout=SOON)
        await expect(page.locator("#message")).to_contain_text("driftline status says which service is away")
        await expect(page.locator("#forecast canvas")).to_be_visible()
        await keep(page, "lost")
        served.bus = MemoryBus()
        await served.start()
        await expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
        await served.publish(100, 200)
        await expect(page.locator("#drift")).to_contain_text("200 records", timeout=SOON)
        await expect(page.locator("#message")).to_be_hidden()


async def test_an_error_page_in_between_does_not_end_the_connection_for_good(served: Served):
    """As a proxy gives one while the combiner restarts; a browser does not come back after that by itself."""
    async with opened(served) as page:
        await served.publish(0, 100)
        await expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
        await served.stop()
        asked: list[str] = []
        page.on("response", lambda answer: asked.append(answer.url) if answer.status == 502 else None)
        await served.serve(Starlette(exception_handlers={404: lambda *_: PlainTextResponse("bad gateway", 502)}))
        async with asyncio.timeout(120):
            while not any("/v1/live" in url for url in asked):
                await page.wait_for_event("response")
        await served.stop()
        await served.start()
        await expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
        await served.publish(100, 200)
        await expect(page.locator("#drift")).to_contain_text("200 records", timeout=SOON)


FAINT = """() => {
    const parts = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([red, green, blue]) => [red, green, blue].map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = parts(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [255, 255, 255];
    };
    const told = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility()
        && [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim()));
    return told.map((element) => {
        const shades = [parts(getComputedStyle(element).color), ground(element)].map(light);
        const [dark, bright] = shades.sort((a, b) => a - b);
        return { text: element.textContent.trim().slice(0, 40), contrast: (bright + 0.05) / (dark + 0.05) };
    }).filter((found) => found.contrast < 4.5);
}"""
"""What is harder to read than WCAG's level AA allows."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_every_text_can_be_read_and_nothing_is_wider_than_the_screen(served: Served, scheme: str, width: int):
    await served.publish(0, 400)
    async with opened(served, viewport={"width": width, "height": 844}, color_scheme=scheme) as page:
        await served.alarm(200, "drift", "level", "level has moved by 5")
        await served.publish(400, 500, "v000002-bbbbbbbbbbbb")
        await expect(page.locator("#forecast canvas")).to_be_visible(timeout=SOON)
        await expect(page.locator("#events")).to_contain_text("batch is now", timeout=SOON)
        await expect(page.locator("#drift")).to_contain_text("Not now", timeout=SOON)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(FAINT) == []
        await keep(page, f"{scheme}-{width}")


async def test_it_only_reads_and_only_here(served: Served):
    asked: list[Request] = []
    async with opened(served) as page:
        page.on("request", lambda request: asked.append(request))  # noqa: PLW0108 - Playwright marks what it is given
        await page.reload()
        await served.publish(0, 100)
        await expect(page.locator("#forecast canvas")).to_be_visible(timeout=SOON)
        assert await page.locator("form, button:not([type=button])").count() == 0
    assert {request.method for request in asked} == {"GET"}
    assert all(request.url.startswith(f"http://127.0.0.1:{served.port}/") for request in asked)


async def test_fifty_keys_are_chosen_from_by_keyboard(served: Served):
    for number in range(50):
        await served.bus.publish(FORECASTS, forecasts(0, 70, "v000001-aaaaaaaaaaaa", key=f"tank-{number:02}"))
    async with opened(served) as page:
        await page.goto(f"{page.url.split('#')[0]}#stream=tank")
        await expect(page.locator("#key option")).to_have_count(50, timeout=SOON)
        for control in await page.locator("select, input").all():
            assert await control.evaluate("element => element.labels.length") == 1
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the forecasts"
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "All series"
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "stream"
        await page.keyboard.press("Tab")
        # Arrows, not letters: a browser forgets the letters of a name that are typed more than a second ago.
        for press in ["End"] + ["ArrowUp"] * 12:
            await page.keyboard.press(press)
        await expect(page.locator("#key")).to_have_value("tank-37")
        await page.wait_for_url("**/*key=tank-37&*")
        await expect(page.locator("#best")).to_contain_text("batch", timeout=SOON)
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


async def work_of_a_move(page: Page, moves: int = 25) -> float:
    """Of the pointer over the forecast's chart: milliseconds of scripts, which draw, and of layout. The median, of the
    processor's own time, since a busy machine takes no more of that. None of the charts' points is drawn again."""
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def spent() -> float:
        metrics = (await session.send("Performance.getMetrics"))["metrics"]
        return 1000 * sum(metric["value"] for metric in metrics if metric["name"] in WORK)

    box = await box_of(page, "forecast")
    await page.evaluate(LISTENING)
    charted = await page.evaluate(QUIET)
    times = []
    for n in range(moves):
        before = await spent()
        await page.mouse.move(box["x"] + box["width"] * (0.1 + 0.7 * n / moves), box["y"] + 100)
        await page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        times.append(await spent() - before)
    assert await page.evaluate("window.charted") == charted
    return statistics.median(times)


async def test_ten_thousand_points_are_shown_and_the_pointer_moves_over_them(served: Served):
    for first in range(0, MOST, 2000):
        await served.publish(first, min(first + 2000, MOST))
    async with opened(served) as page:
        await page.get_by_label("Show").select_option("all there is")
        await expect(page.locator("#drift")).to_contain_text("10,000 records", timeout=60_000)
        await expect(page.locator("#best")).to_contain_text("batch It is", timeout=SOON)
        await served.publish(MOST, MOST + 5, "v000002-bbbbbbbbbbbb")
        await expect(page.locator("#versions")).to_contain_text("batch v000002", timeout=SOON)
        await keep(page, "ten-thousand")
        assert await work_of_a_move(page) < FRAME_MS
        # What the page asks again and again comes once.
        sizes = await page.evaluate(SERIES_ASKED)
        assert sizes["transferSize"] < sizes["encodedBodySize"] + HEADERS


async def test_asking_for_a_series_makes_none_and_a_reader_resumes(served: Served):
    url = f"http://127.0.0.1:{served.port}"
    async with httpx.AsyncClient(base_url=url, timeout=20) as client:
        async with client.stream("GET", "/v1/live", params={"stream": "tank", "key": "made-up"}) as answer:
            assert answer.status_code == 200
            assert (await client.get("/v1/series")).json()[0]["keys"] == []
        query = {"stream": "tank", "key": "north"}
        async with client.stream("GET", "/v1/live", params=query) as answer:
            await served.bus.publish(FORECASTS, forecasts(0, 3, "v000001-aaaaaaaaaaaa"))
            lines = answer.aiter_lines()
            ids = [line async for line in _first_ids(lines, 3)]
        assert ids == [f"id: {BEGIN + n * 600_000}" for n in range(3)]
        resumed = {"Last-Event-ID": ids[1].removeprefix("id: ")}
        async with client.stream("GET", "/v1/live", params=query, headers=resumed) as answer:
            assert [line async for line in _first_ids(answer.aiter_lines(), 1)] == ids[2:]


async def _first_ids(lines: AsyncIterator[str], count: int) -> AsyncIterator[str]:
    async for line in lines:
        if line.startswith("id: "):
            yield line
            count -= 1
        if not count:
            return


async def test_the_docs_show_without_internet(served: Served):
    """Chromium reaches this machine alone, and the page asks for nothing else."""
    async with opened(served) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(f"http://127.0.0.1:{served.port}/docs")
        await expect(page.locator(".opblock-summary-path").first).to_be_visible(timeout=SOON)
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {f"127.0.0.1:{served.port}"}
