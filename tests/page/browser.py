"""A Chromium that all tests of pages share, each in a window of its own that knows nothing of the others'."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import stamina
from playwright.async_api import Page, async_playwright

from driftline_cli import processes

ADDRESS = "TESTS_CHROMIUM"
"""The variable of where it listens."""
BOX = """id => {
    const drawn = document.querySelector(`#${id} .u-over`);
    drawn?.scrollIntoView({ block: "center" });
    return drawn?.getBoundingClientRect().toJSON();
}"""
"""In one step: between two, a change of colours or members may make the chart anew."""
PATIENCE_MS = 90_000
"""On a busy machine a page takes more than the half minute that it has by default."""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--hide-scrollbars",
    "--mute-audio",
    "--remote-debugging-port=0",
    # Drawing as if there were a graphics card costs more than without one.
    "--disable-gpu",
    # Nothing but pages: what a browser does for its user is passed over.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--disable-features=Translate,MediaRouter,OptimizationHints",
    # A window behind another one goes on as it does in front.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
)


def start(chromium: str, folder: Path) -> str:
    """The address that it listens at."""
    profile = folder / "profile"
    processes.start(folder, "chromium", [chromium, *FLAGS, f"--user-data-dir={profile}", "about:blank"])
    return f"http://127.0.0.1:{_port(profile / 'DevToolsActivePort')}"


@stamina.retry(on=(FileNotFoundError, ValueError), attempts=None, timeout=120, wait_initial=0.1, wait_max=0.5)
def _port(file: Path) -> int:
    return int(file.read_text().partition("\n")[0])


@asynccontextmanager
async def window(**options: Any) -> AsyncIterator[Page]:
    """options: of `Browser.new_context`. What its pages raise fails the test."""
    errors: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(os.environ[ADDRESS])
        context = await browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        await context.close()
    assert errors == []


async def box_of(page: Page, chart: str) -> dict[str, float]:
    """x, y, width and height of what a chart draws over, scrolled into sight, in pixels. chart: its id."""
    handle = await page.wait_for_function(BOX, arg=chart)
    return cast(dict[str, float], await handle.json_value())
