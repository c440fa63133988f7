"""Whether a page of HTML can be read: by everyone, on a phone and on a desktop, in the dark and in the light."""

import shutil
from pathlib import Path

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright

CHROMIUM = shutil.which("chromium")
PHONE, DESKTOP = (390, 844), (1280, 900)
DRAWN = "() => [...document.images].filter((image) => image.naturalWidth > 0).length"
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
GROUND = "() => getComputedStyle(document.body).backgroundColor"


async def assert_reads_well(file: Path, *, pictures: int) -> None:
    """In all four: axe's rules hold, all pictures are drawn, nothing but wide parts scrolls sideways, and nothing else
    than the file is asked for."""
    asked, grounds = set[str](), set[str]()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, height in (PHONE, DESKTOP):
            page = await browser.new_page(viewport={"width": width, "height": height})
            page.on("request", lambda request: asked.add(request.url.partition(",")[0]))
            await page.goto(file.as_uri())
            for scheme in ("light", "dark"):
                await page.emulate_media(color_scheme=scheme)
                violations = (await Axe().run(page)).response["violations"]
                assert violations == [], [(rule["id"], rule["nodes"]) for rule in violations]
                assert await page.evaluate(TOO_WIDE) == 0, (width, scheme)
                grounds.add(await page.evaluate(GROUND))
            assert await page.evaluate(DRAWN) == pictures
        await browser.close()
    assert len(grounds) == 2, grounds
    assert asked <= {file.as_uri(), "data:image/png;base64"}
