"""README's picture of the dashboard: the demo's stream with its fan, in a real browser. `python -m scripts.pictures`.

It trains on half a year of four turbines, streams two weeks without a drift, serves the dashboard on a free port of
this machine, and takes the picture with Chromium. Needs Debian's package chromium; takes a few minutes.
"""

import asyncio
import io
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import stamina
from PIL import Image
from playwright.async_api import Page, async_playwright, expect
from rich.console import Console

from driftline.names import SERVICES
from driftline.streams import definition_files, tables
from driftline_cli import demo

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "dashboard.png"
STREAM = "outdoor-temperature"
KEY = "R80711"
HORIZON = (1, 3, 6, 12, 18, 24, 36)
"""Records ahead: more than the demo's three, so that the fan opens smoothly over six hours."""
UNIT = 'columns: {Ot_avg: {unit: "°C"}}\n'
HISTORY_FROM, BEGIN = datetime(2014, 12, 1, tzinfo=UTC), datetime(2015, 6, 1, tzinfo=UTC)
KEYS, TIMES = 4, 13 * 144 + 48
"""Two weeks of four series, up to a morning: the fan then shows a day that gets warmer."""
LAST = BEGIN + (TIMES - 1) * timedelta(minutes=10)
ZONE = ZoneInfo("Europe/Paris")
VIEW = f"#stream={STREAM}&key={KEY}&horizon={HORIZON[-1]}&range=86400"
SIZE = (1280, 765)
COLOURS = 128
"""Of the picture's palette: what keeps the file small."""
PATIENCE_S = 1800.0
"""How long training and streaming may take."""


def _free_ports() -> int:
    """The first of as many free ports as there are services."""
    for first in range(18_001, 19_000, len(SERVICES)):
        with suppress(OSError):
            for port in range(first, first + len(SERVICES)):
                with socket.create_server(("127.0.0.1", port)):
                    pass
            return first
    raise SystemExit("found no four free ports in a row from 18001 on")


def _plan(folder: Path) -> demo.DemoPlan:
    definition = (ROOT / "streams" / f"{STREAM}.yaml").read_text(encoding="utf-8") + UNIT
    stream = definition_files.parse(definition, f"{STREAM}.yaml").model_copy(update={"horizon": HORIZON})
    rows = tables.read_file(ROOT / "data" / "la-haute-borne.parquet", stream)
    rows = rows.take(rows.t >= HISTORY_FROM.timestamp() * 1000)
    begin = int(BEGIN.timestamp() * 1000)
    return demo.plan(stream, rows, begin=begin, records=KEYS * TIMES, drift="none", seed=0, report=folder)


@asynccontextmanager
async def _serving() -> AsyncIterator[str]:
    """The address of the dashboard, with the demo behind it. It answers when the demo has streamed all."""
    first = _free_ports()
    with tempfile.TemporaryDirectory() as folder:
        running = asyncio.create_task(demo.run(_plan(Path(folder)), Console(), first))
        try:
            await _answers(first + SERVICES.index("combiner"), running)
            yield f"http://127.0.0.1:{first + SERVICES.index('combiner')}/"
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def _answers(port: int, running: "asyncio.Task[object]") -> None:
    """Returns when something listens. Raises what the demo died of."""
    connecting = asyncio.ensure_future(_connected(port))
    await asyncio.wait({connecting, running}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        connecting.cancel()
        running.result()
    await connecting


@stamina.retry(on=OSError, attempts=None, timeout=PATIENCE_S, wait_initial=0.5, wait_max=0.5, wait_jitter=0.1)
async def _connected(port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()


async def _photograph(page: Page) -> bytes:
    """From the series' own part of the page on, when all has been drawn: the answers come last."""
    newest = f"forecast with the record of {LAST.astimezone(ZONE):%-d %b %Y, %H:%M}."
    await expect(page.locator("#next")).to_contain_text(newest, timeout=1000 * PATIENCE_S)
    await expect(page.locator("#values tbody tr")).to_have_count(len(HORIZON))
    await page.mouse.move(0, 0)
    return await page.screenshot(full_page=False, animations="disabled")


def _small(png: bytes) -> bytes:
    """The same picture with a palette."""
    small = io.BytesIO()
    # The usual method gives small things, such as the members' colours, those of larger ones.
    quantized = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    quantized.save(small, "PNG", optimize=True)
    return small.getvalue()


async def main() -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("found no chromium, expected Debian's package of that name (make packages)")
    # Training takes minutes: a line for each look at the port would be noise.
    stamina.instrumentation.set_on_retry_hooks([])
    async with _serving() as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        size = {"width": SIZE[0], "height": SIZE[1]}
        page = await browser.new_page(viewport=size, locale="en-GB", timezone_id=ZONE.key)  # type: ignore[arg-type]
        await page.goto(address + VIEW)
        PICTURE.write_bytes(_small(await _photograph(page)))
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
