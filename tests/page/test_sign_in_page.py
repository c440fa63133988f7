"""People sign in to the page, with a token or at an issuer, in a real browser; and what it does when that is over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from driftline.bus.memory import MemoryBus
from driftline.messages import FORECASTS
from driftline_cli.named_tokens import new, revoke
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.access.issuer import CLIENT, running
from tests.page.test_dashboard import CHROMIUM, STREAM, forecasts
from tests.page.test_overview_page import opened
from tests.serving import served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")
LATER = 60_000
"""Milliseconds: the page asks every five seconds, and this machine may be busy."""


@asynccontextmanager
async def closed_combiner(tokens: Path, **more: Any) -> AsyncIterator[str]:
    bus = MemoryBus()
    settings = CombinerSettings(tokens_file=tokens, read="token", **more)
    async with served(create_app(settings, bus, streams={"tank": STREAM}, on_death=lambda *_: None)) as address:
        await bus.publish(FORECASTS, forecasts(0, 20, "v000001-aaaaaaaaaaaa"))
        yield f"http://{address}"


async def test_a_token_opens_the_page_until_it_is_revoked(tmp_path: Path):
    token = new(tmp_path / "tokens.yaml", "ada", "viewer", None)
    async with closed_combiner(tmp_path / "tokens.yaml") as url, opened(f"{url}/#stream=tank") as page:
        await page.get_by_label("Token").fill(token)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("#connection")).to_have_text("live", timeout=LATER)
        revoke(tmp_path / "tokens.yaml", "ada")
        await expect(page.get_by_label("Token")).to_be_visible(timeout=LATER)
        assert "stream" in page.url, "what was shown is forgotten"


async def test_the_issuer_opens_the_page_and_the_button_closes_it(tmp_path: Path):
    new(tmp_path / "tokens.yaml", "eve", "viewer", None)
    async with running() as issuer:
        oidc = {"oidc_issuer": issuer.url, "oidc_audience": "driftline", "oidc_client_id": CLIENT}
        async with closed_combiner(tmp_path / "tokens.yaml", **oidc) as url, opened(url) as page:
            issuer.redirects.add(f"{url}/login/callback")
            await page.get_by_role("link", name="Sign in with 127.0.0.1").click()
            await expect(page.locator("#connection")).to_have_text("live", timeout=LATER)
            await page.goto(f"{url}/login")
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.get_by_text("You read here as")).to_have_count(0)
            await page.goto(url)
            await expect(page.get_by_label("Token")).to_be_visible()
