"""A combiner that is killed with -9 in the middle of its work: what the bus had acknowledged reaches the webhook."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import stamina

from tests.combiner.sinks.test_webhook import Receiver
from tests.conftest import ROOT
from tests.serving import served

KILLS = 2
ALERTS_EACH = 40
PATIENCE_S = 120


@asynccontextmanager
async def fed(folder: Path, sinks: Path, first: int) -> AsyncIterator[int]:
    """A combiner that has some more alerts on its bus: gives how many there are at least. In the end it is killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.combiner.sinks.killed", str(folder), str(sinks), str(first)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        acknowledged = first
        async with asyncio.timeout(PATIENCE_S):
            while acknowledged < first + ALERTS_EACH:
                acknowledged = int(await process.stdout.readline())
        yield acknowledged
    finally:
        process.kill()
        await process.wait()


async def until_taken(receiver: Receiver, alerts: int) -> None:
    async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.5):
        with attempt:
            taken = {body["key"] for body in receiver.bodies}
            missing = [n for n in range(alerts) if f"k{n}" not in taken]
            assert missing == [], f"{len(missing)} of {alerts}"


@pytest.mark.process
async def test_a_combiner_that_is_killed_again_and_again_loses_no_alert(tmp_path):
    receiver, sinks, last = Receiver(), tmp_path / "sinks.yaml", 0
    async with served(receiver.app()) as address:
        sinks.write_text(f"sinks: {{hook: {{type: webhook, url: 'http://{address}/hook', begin: earliest}}}}\n")
        for _ in range(KILLS):
            async with fed(tmp_path / "bus", sinks, last) as acknowledged:
                last = acknowledged
        async with fed(tmp_path / "bus", sinks, last):
            await until_taken(receiver, last)
    names = {(body["key"], body["id"]) for body in receiver.bodies}
    assert len(names) == len({key for key, _ in names}), "what is repeated has the same name"
