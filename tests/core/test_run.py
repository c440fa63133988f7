"""Several services in one process: they end in order, and one that dies takes the process with it."""

import asyncio
import json
import signal
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.process
PATIENCE_S = 60


async def started(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.core.two_services", *words),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_doors_are_closed_first_then_workers_finish_and_what_they_share_is_closed_last():
    process = await started()
    async with asyncio.timeout(PATIENCE_S):
        ready = 0
        async for line in process.stderr:
            ready += b"Uvicorn running" in line
            if ready == 2:
                break
        process.send_signal(signal.SIGTERM)
        said, log = await process.communicate()
    assert process.returncode == -signal.SIGTERM
    lines = said.decode().splitlines()
    assert sorted(lines[:2]) == ["one is stopped", "two is stopped"]
    assert sorted(lines[2:4]) == ["one has written its last checkpoint", "two has written its last checkpoint"]
    assert lines[4:] == ["the bus is closed"]
    assert [json.loads(line)["message"] for line in log.splitlines()] == ["Shutting down"]


async def test_a_worker_that_dies_ends_all_of_them_in_order():
    process = await started("dies")
    async with asyncio.timeout(PATIENCE_S):
        said, log = await process.communicate()
    assert process.returncode == -signal.SIGTERM
    assert said.decode().splitlines()[-2:] == ["one has written its last checkpoint", "the bus is closed"]
    (death,) = [line for line in map(json.loads, log.splitlines()) if line["level"] == "critical"]
    assert (death["service"], "two died, ending the process: poisoned" in death["message"]) == ("two", True)
