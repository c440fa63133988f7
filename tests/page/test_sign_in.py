"""A browser signs in with a named token, and signs in again where its session ends while a page is open."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from playwright.async_api import Page, expect

from driftline.bus.memory import MemoryBus
from driftline_cli.named_tokens import new, revoke
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.page.test_dashboard import CHROMIUM, SOON, STREAM, Served
from tests.page.test_overview_page import alive, opened
from tests.serving import served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")
SERIES = "#stream=tank&key=north&horizon=6"


class Closed(Served):
    """A combiner that nobody may read without a token of this file."""

    def __init__(self, tokens: Path) -> None:
        super().__init__()
        self.tokens = tokens

    async def serve(self, app: Any) -> None:
        settings = CombinerSettings(tokens_file=self.tokens, read="token", embed=("*",))
        await super().serve(create_app(settings, self.bus, streams={"tank": STREAM}, on_death=lambda *_: None))

    async def start(self) -> None:
        self.bus = MemoryBus()
        await super().start()
        await self.publish(0, 100)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
async def combiner(tmp_path: Path) -> AsyncIterator[Closed]:
    tokens = tmp_path / "tokens.yaml"
    new(tokens, "nobody", "viewer", None)
    combiner = Closed(tokens)
    await combiner.start()
    yield combiner
    await combiner.stop()


async def sign_in(page: Page, token: str) -> None:
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_token_opens_the_page_and_its_end_leads_back_to_the_login(combiner: Closed):
    token, other = (new(combiner.tokens, name, "viewer", None) for name in ("screen", "other"))
    async with opened(combiner.url) as page:
        await sign_in(page, "a-guess")
        await expect(page.get_by_role("alert")).to_have_text("This service does not know that token.")
        await sign_in(page, token)
        await expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
        await page.goto(f"{combiner.url}/{SERIES}")
        await expect(page.get_by_label("Steps ahead")).to_have_value("6", timeout=SOON)
        revoke(combiner.tokens, "screen")
        await expect(page).to_have_url(re.compile(r"/login\?next="), timeout=SOON)
        await sign_in(page, other)
        await expect(page).to_have_url(f"{combiner.url}/{SERIES}", timeout=SOON)
        await expect(page.locator("#next b")).to_contain_text("In 1 hour", timeout=SOON)


async def test_a_frame_in_another_page_says_that_nobody_is_signed_in(combiner: Closed):
    token = new(combiner.tokens, "screen", "viewer", None)
    other = FastAPI()
    other.add_api_route("/livez", alive)

    @other.get("/", response_class=HTMLResponse)
    async def page_with_frame() -> str:
        return f'<iframe src="{combiner.url}/embed/tank/north" width="480" height="260"></iframe>'

    async with served(other) as address, opened(combiner.url) as page:
        await sign_in(page, token)
        await expect(page.locator("#connection")).to_have_text("live", timeout=SOON)
        await page.goto(f"http://{address}/")
        frame = page.frame_locator("iframe")
        await expect(frame.locator("#next")).to_contain_text("In 10 minutes", timeout=SOON)
        revoke(combiner.tokens, "screen")
        await expect(frame.locator("#next")).to_have_text("Sign in at the dashboard to see this.", timeout=SOON)
