"""The dashboard in a real browser: it loads, points move, marks appear, and a lost combiner comes back."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest
import uvicorn
from playwright.async_api import Page, async_playwright, expect

from driftline.definition import StreamDefinition, parse
from driftline.memory import MemoryBus
from driftline.messages import ALERTS, FORECASTS, Alert, Forecast
from driftline_cli.broker import free_port
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.conftest import ROOT

PICTURES = ROOT / ".run" / "pictures"
"""The newest screenshots stay here."""
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
        settings = CombinerSettings(page_services={"combiner": url, "trainer": "http://127.0.0.1:9"})
        app = create_app(settings, self.bus, streams={"tank": STREAM}, on_death=lambda *_: None)
        config = uvicorn.Config(app, host="127.0.0.1", port=self.port, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._task = asyncio.create_task(self._server.serve())
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=10)) as client:
            (await client.get(f"{url}/livez")).raise_for_status()

    async def stop(self) -> None:
        self._server.should_exit = True
        await self._task


@asynccontextmanager
async def opened(served: Served, **options: object) -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(**options)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"http://127.0.0.1:{served.port}/")
        yield page
        await browser.close()
    assert errors == []


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    found = Served()
    await found.start()
    yield found
    await found.stop()


async def follow(served: Served, page: Page, first: int, last: int, version: str) -> None:
    await served.bus.publish(FORECASTS, forecasts(first, last, version))


async def test_it_shows_what_comes(served: Served):
    async with opened(served) as page:
        await expect(page.locator("#message")).to_contain_text("No blend of tank yet", timeout=10_000)
        await follow(served, page, 0, 400, "v000001-aaaaaaaaaaaa")
        await expect(page.locator("#best")).to_contain_text("batch: RMSE", timeout=20_000)
        await expect(page.locator("#skill")).to_contain_text("better than persistence")
        await expect(page.locator("#message")).to_be_hidden()
        before = await page.locator("#skill").inner_text()
        await follow(served, page, 400, 600, "v000002-bbbbbbbbbbbb")
        await expect(page.locator("#skill")).not_to_have_text(before, timeout=10_000)
        await expect(page.locator("#events")).to_contain_text("batch is now v000002-bbbbbbbbbbbb")
        await expect(page.locator("#versions")).to_have_text("batch v000002")
        drift = Alert("tank", "north", BEGIN + 500 * 600_000, "drift", "level", "level has moved by 5")
        await served.bus.publish(ALERTS, [drift])
        await expect(page.locator("#drift")).to_contain_text("level has moved by 5")
        await expect(page.locator("#services")).to_contain_text("trainer: away")
        await expect(page.locator("#services")).to_contain_text("combiner: ready")
        await expect(page.locator("#models")).to_contain_text("Inference does not answer")
        await page.get_by_role("checkbox", name="persistence").check()
        await expect(page.locator("#forecast .u-legend")).to_contain_text("persistence")
        await page.screenshot(path=str(PICTURES / "dashboard.png"), full_page=True)
        assert (PICTURES / "dashboard.png").stat().st_size > 20_000


async def test_a_lost_combiner_is_shown_and_recovered_from(served: Served):
    async with opened(served) as page:
        await served.bus.publish(FORECASTS, forecasts(0, 100, "v000001-aaaaaaaaaaaa"))
        await expect(page.locator("#connection")).to_have_text("live", timeout=20_000)
        await served.stop()
        await expect(page.locator("#connection")).to_contain_text("does not answer", timeout=20_000)
        served.bus = MemoryBus()
        await served.start()
        await expect(page.locator("#connection")).to_have_text("live", timeout=30_000)
        await served.bus.publish(FORECASTS, forecasts(100, 200, "v000001-aaaaaaaaaaaa"))
        await expect(page.locator("#skill")).to_contain_text("persistence", timeout=20_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_on_a_phone_nothing_is_wider_than_the_screen(served: Served, scheme: str):
    await served.bus.publish(FORECASTS, forecasts(0, 300, "v000001-aaaaaaaaaaaa"))
    size = {"width": 390, "height": 844}
    async with opened(served, viewport=size, color_scheme=scheme) as page:
        await served.bus.publish(FORECASTS, forecasts(300, 400, "v000001-aaaaaaaaaaaa"))
        await expect(page.locator("#forecast canvas")).to_be_visible(timeout=20_000)
        assert await page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        await page.screenshot(path=str(PICTURES / f"{scheme}.png"), full_page=True)


async def test_nothing_is_loaded_from_elsewhere_and_every_control_has_a_label(served: Served):
    asked: list[str] = []
    async with opened(served) as page:
        page.on("request", lambda request: asked.append(request.url))
        await page.reload()
        await expect(page.locator("#message")).to_be_visible(timeout=10_000)
        for control in await page.locator("select, input").all():
            assert await control.evaluate("element => element.labels.length") == 1
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "stream"
    assert asked
    assert all(url.startswith((f"http://127.0.0.1:{served.port}/", "data:")) for url in asked)


async def test_ten_thousand_points_are_shown(served: Served):
    await served.bus.publish(FORECASTS, forecasts(0, 2, "v000001-aaaaaaaaaaaa"))
    async with opened(served) as page:
        await expect(page.locator("#connection")).to_have_text("live", timeout=20_000)
        for first in range(2, 10_000, 2000):
            await served.bus.publish(FORECASTS, forecasts(first, min(first + 2000, 10_000), "v000001-aaaaaaaaaaaa"))
        await expect(page.locator("#best")).to_contain_text("batch: RMSE", timeout=30_000)


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
