"""A bus that has stopped takes the process of the edge with it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process
CODE = """
import asyncio
from driftline.errors import BusUnavailable
from driftline.messages import BLENDS
from driftline_edge.app import open_edge_bus
from driftline_edge.settings import read_all

async def main():
    bus = open_edge_bus(read_all().edge)
    bus._journal._monotonic = lambda: 1 / 0
    try:
        await bus.writing.write()
    except BusUnavailable:
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_writer_that_dies_ends_the_process(tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == -signal.SIGTERM
    assert "the writer of the bus died, ending the process: division by zero" in ended.stderr
