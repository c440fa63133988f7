"""docs/your-own-stream.md, typed block by block into one shell while the services run."""

import asyncio
import os
import re
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline_cli.stack import Ports, Stack
from tests.conftest import ROOT

pytestmark = [pytest.mark.kafka, pytest.mark.s3, pytest.mark.e2e]
PAGE = ROOT / "docs" / "your-own-stream.md"
LIMIT_S = 900


def blocks(page: Path) -> list[str]:
    """The indented blocks, in order; those between fences are `test_flavours`'s, or no commands."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
    return [textwrap.dedent(block).strip() for block in found if block.strip()]


@pytest.fixture
def project(tmp_path: Path, brokers: str) -> Iterator[Path]:
    """A folder as the project's own, with everything started in it on ports that nobody has."""
    shutil.copytree(ROOT / "streams", tmp_path / "streams")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    stack = Stack(tmp_path / ".run", tmp_path / "streams", ports=Ports.free())
    try:
        asyncio.run(stack.up())
        yield tmp_path
    finally:
        stack.down()


def test_every_block_of_the_page_does_what_the_page_says(project: Path):
    script = "\n".join(["set -eu", *blocks(PAGE)])
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=project,
        env=os.environ | {"COLUMNS": "200", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert "active-power, greenhouse, outdoor-temperature" in said, said
    assert "1,000 accepted" in said, said
    assert re.search(r"greenhouse/\w+ observed [\d.]+; 1 ahead [\d.]+", said), said
    assert re.search(r"published: v000001-\w+: ", said), said
    assert "1,016 accepted" in said, said
