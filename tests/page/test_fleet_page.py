"""The fleet's page in a real browser, with five hundred edges: it finds, sorts, tells, and touches only what is new."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Request, expect
from pydantic import SecretStr

from driftline.fleet.heartbeat import Heartbeat, ModelHealth
from driftline.fleet.names import heartbeat_key
from driftline.fleet.notes import sealed
from driftline.models.signing import new_key
from driftline.store.folder import FolderStore
from driftline_trainer.app import create_app
from driftline_trainer.settings import TrainerSettings
from tests.fleet.simulated import NEW, NOW, simulated
from tests.page.browser import window
from tests.page.test_dashboard import CHROMIUM, FAINT, SOON, keep
from tests.serving import served

EDGES = 500
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser here: Debian's package chromium has it")


class Fleet:
    """Edges that leave heartbeats in a folder, and the trainer that reads them, all by a clock set by hand."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW + 60
        self.store = FolderStore(folder / "store")
        settings = TrainerSettings(signing_key=SecretStr(new_key()), data_dir=folder, store_poll=1.0)
        self._app = create_app(settings, FolderStore(folder / "store"), streams={}, clock=lambda: self.now)
        self._serving = AsyncExitStack()
        self.address = ""

    async def start(self) -> None:
        self.address = await self._serving.enter_async_context(served(self._app))

    async def stop(self) -> None:
        await self._serving.aclose()

    async def leave(self, heartbeat: Heartbeat) -> None:
        await self.store.put(heartbeat_key(heartbeat.edge), sealed(heartbeat, None))

    async def leave_all(self, count: int = EDGES) -> None:
        """Three are silent, one is late."""
        for n in range(count):
            await self.leave(simulated(n, at=self.now - {1: 180, 2: 900, 3: 86_400 * 3, 4: 600}.get(n, 10)))


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    serving = Fleet(tmp_path)
    await serving.start()
    yield serving
    await serving.stop()


@asynccontextmanager
async def opened(fleet: Fleet, hash_: str = "", **options: Any) -> AsyncIterator[Page]:
    forbidden: list[str] = []
    async with window(**options) as page:
        # By the page's own policy.
        page.on("console", lambda said: forbidden.append(said.text) if "Content Security" in said.text else None)
        await page.goto(f"http://{fleet.address}/fleet{hash_}")
        yield page
    assert forbidden == []


async def names(page: Page) -> list[str]:
    return await page.locator("#table tbody th a").all_inner_texts()


async def test_five_hundred_edges_are_searched_filtered_and_sorted(fleet: Fleet):
    await fleet.leave_all()
    async with opened(fleet) as page:
        await expect(page.locator("#count")).to_have_text("(500)", timeout=SOON)
        await expect(page.locator("#live")).to_contain_text("496 of 500")
        await expect(page.locator("#missing")).to_contain_text("1 late, 3 silent")
        # What needs a look comes first: silent, late, then what has a problem.
        assert (await names(page))[:5] == ["pi-2", "pi-3", "pi-4", "pi-1", "pi-43"]
        await page.get_by_label("Search").fill("site-07 canary")
        await expect(page.locator("#count")).to_have_text("(2 of 500)")
        await page.get_by_label("Search").fill("")
        await page.get_by_label("Label").select_option("site=site-03")
        await expect(page.locator("#count")).to_have_text("(20 of 500)")
        await page.get_by_label("Sort by").select_option("name")
        assert await names(page) == [f"pi-{n}" for n in range(60, 80)]
        await page.get_by_label("Label").select_option("any")
        await page.get_by_label("State").select_option("silent")
        await expect(page.locator("#count")).to_have_text("(3 of 500)")
        await page.get_by_label("State").select_option("any")
        await page.get_by_label("Sort by").select_option("skill")
        shares = await page.locator("#table tbody td:nth-child(3)").all_inner_texts()
        skills = [int(share.removesuffix(" %").replace("\u2212", "-")) for share in shares]
        assert len(skills) == EDGES
        assert skills == sorted(skills)
        await page.get_by_label("Search").fill("nobody")
        await expect(page.locator("#none")).to_be_visible()


async def test_one_new_heartbeat_touches_one_row(fleet: Fleet):
    await fleet.leave_all()
    async with opened(fleet) as page:
        await expect(page.locator("#count")).to_have_text("(500)", timeout=SOON)
        await page.evaluate(
            """() => {
                window.touched = new Set();
                new MutationObserver((changes) => changes.forEach(({ target }) =>
                    touched.add(target.closest?.("tr")?.querySelector("th a")?.textContent ?? target.nodeName)))
                    .observe(document.querySelector("#table tbody"),
                        { subtree: true, childList: true, attributes: true });
            }"""
        )
        changed = simulated(77, 2, fleet.now)
        await fleet.leave(changed)
        renamed = simulated(78, 2, fleet.now)
        await fleet.leave(
            Heartbeat(**{name: getattr(renamed, name) for name in renamed.__struct_fields__} | {"name": "attic"})
        )
        await expect(page.locator("#table")).to_contain_text("attic", timeout=SOON)
        assert set(await page.evaluate("[...touched]")) <= {"attic", "TBODY"}


async def test_an_edge_that_falls_silent_is_shown_so_without_a_reload(fleet: Fleet):
    await fleet.leave_all(3)
    async with opened(fleet) as page:
        await expect(page.locator("#live")).to_contain_text("1 of 3", timeout=SOON)
        fleet.now += 1000
        await expect(page.locator("#live")).to_contain_text("0 of 3", timeout=SOON)
        await expect(page.locator("#table .pill.silent")).to_have_count(3)
        await fleet.store.delete(heartbeat_key("edge-0001"))
        await expect(page.locator("#count")).to_have_text("(2)", timeout=SOON)


async def test_streams_without_a_trained_model_have_no_line(fleet: Fleet):
    beat = simulated(0, 1, fleet.now)
    fields = {name: getattr(beat, name) for name in beat.__struct_fields__}
    models = {f"stream-{n}.{member}": ModelHealth() for n in range(9) for member in ("batch", "speed")}
    await fleet.leave(Heartbeat(**fields | {"models": models}))
    async with opened(fleet) as page:
        cell = page.locator("#table tbody td:nth-child(5)")
        await expect(cell).to_have_text("no trained model", timeout=SOON)
        serving = {"roof.batch": ModelHealth(version="v000003-aaaaaaaaaaaa")}
        await fleet.leave(Heartbeat(**fields | {"number": 2, "models": models | serving}))
        await expect(cell).to_have_text("v000003 roof.batch", timeout=SOON)


async def test_an_edge_and_a_version_are_told_of(fleet: Fleet):
    await fleet.leave_all(60)
    async with opened(fleet) as page:
        await page.get_by_role("link", name="pi-7", exact=True).click(timeout=SOON)
        await expect(page.locator("#h-detail")).to_have_text("pi-7")
        assert await page.evaluate("document.activeElement.id") == "detail"
        for words in ("edge-0007", "site=site-00", "outdoor-temperature.batch", "not registered", "1: "):
            await expect(page.locator("#detail")).to_contain_text(words)
        await keep(page, "fleet-edge")
        await page.locator("#detail").get_by_role("link", name=NEW).click()
        await expect(page.locator("#detail .sentence")).to_have_text(
            "v000042: 60 edges, 18,000 truths, better on 58, worse on 2"
        )
        await expect(page.locator("#detail tbody tr")).to_have_count(60)
        await expect(page.locator("#detail .bad")).to_have_text(["worse", "worse"])
        await keep(page, "fleet-version")
        await page.get_by_role("link", name="Close").click()
        await expect(page.locator("#detail")).to_be_hidden()


async def test_an_address_opens_an_edge_and_one_that_is_none_says_so(fleet: Fleet):
    await fleet.leave_all(3)
    async with opened(fleet, "#edge=edge-0001") as page:
        await expect(page.locator("#h-detail")).to_have_text("pi-1", timeout=SOON)
        await page.evaluate("location.hash = 'edge=nobody'")
        await expect(page.locator("#detail-body")).to_contain_text("found no edge 'nobody'")


async def test_what_an_edge_says_is_never_read_as_html(fleet: Fleet):
    evil = "<img src=x onerror=document.title='bad'>"
    fields = {name: getattr(simulated(1), name) for name in Heartbeat.__struct_fields__}
    await fleet.leave(Heartbeat(**fields | {"name": evil, "labels": {evil: evil}, "software": evil}))
    async with opened(fleet) as page:
        await expect(page.locator("#table tbody th a")).to_have_text(evil, timeout=SOON)
        await page.locator("#table tbody th a").click()
        await expect(page.locator("#h-detail")).to_have_text(evil)
        assert await page.locator("main img").count() == 0
        assert await page.title() == "Driftline: the fleet"


async def test_a_fleet_of_none_and_a_lost_trainer_are_said(fleet: Fleet):
    async with opened(fleet) as page:
        await expect(page.locator("#message")).to_contain_text("No edge has left a heartbeat", timeout=SOON)
        await keep(page, "fleet-none")
        await fleet.leave_all(3)
        await expect(page.locator("#count")).to_have_text("(3)", timeout=SOON)
        await expect(page.locator("#message")).to_be_hidden()
        await page.route("**/v1/fleet**", lambda route: route.abort())
        await expect(page.locator("#connection")).to_have_text("the trainer does not answer", timeout=SOON)
        await expect(page.locator("#message")).to_contain_text("What is shown is from before")
        await page.unroute("**/v1/fleet**")
        await expect(page.locator("#connection")).to_contain_text("as of", timeout=SOON)
        await expect(page.locator("#message")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
async def test_every_text_can_be_read_and_nothing_is_wider_than_the_screen(fleet: Fleet, scheme: str, width: int):
    await fleet.leave_all(60)
    await fleet.store.put(heartbeat_key("edge-0009"), b"{")
    async with opened(fleet, viewport={"width": width, "height": 844}, color_scheme=scheme) as page:
        await expect(page.locator("#count")).to_have_text("(60)", timeout=SOON)
        await expect(page.locator("#table")).to_contain_text("heartbeat not believed", timeout=SOON)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(FAINT) == []
        await page.screenshot(path=f".run/pictures/fleet-{scheme}-{width}.png")
        await page.evaluate("location.hash = 'edge=edge-0007'")
        await expect(page.locator("#h-detail")).to_have_text("pi-7")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(FAINT) == []
        await page.screenshot(path=f".run/pictures/fleet-edge-{scheme}-{width}.png")
        await page.evaluate(f"location.hash = 'model=outdoor-temperature.batch&version={NEW}'")
        await expect(page.locator("#detail .sentence")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(FAINT) == []
        await page.screenshot(path=f".run/pictures/fleet-version-{scheme}-{width}.png")


async def test_it_only_reads_and_only_here_and_every_control_has_its_label(fleet: Fleet):
    await fleet.leave_all(3)
    asked: list[Request] = []
    async with opened(fleet) as page:
        page.on("request", lambda request: asked.append(request))  # noqa: PLW0108 - Playwright marks what it is given
        await page.goto(f"http://{fleet.address}/")
        await expect(page.locator("#count")).to_have_text("(3)", timeout=SOON)
        controls = await page.locator("select, input").all()
        assert len(controls) == 4
        for control in controls:
            assert await control.evaluate("element => element.labels.length") == 1
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the edges"
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "search"
    assert {request.method for request in asked} == {"GET"}
    assert all(request.url.startswith(f"http://{fleet.address}/") for request in asked)
