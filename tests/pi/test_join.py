"""What a Pi does with the file on its boot partition: it joins, and removes the token."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from driftline.fleet.device import Device
from driftline.streams.definition import StreamDefinition
from tests.conftest import ROOT
from tests.fleet.cloud import Cloud

pytestmark = pytest.mark.process
SCRIPT = ROOT / "deploy" / "pi" / "join"
PATIENCE_S = 60


@pytest.fixture
async def cloud(temperature: StreamDefinition, tmp_path: Path) -> AsyncIterator[Cloud]:
    async with Cloud.opened(tmp_path, temperature) as opened_cloud:
        yield opened_cloud


class Pi:
    """A boot partition and a data folder; no other user and no systemd."""

    def __init__(self, folder: Path) -> None:
        self.boot, self.data = folder / "boot", folder / "data"
        self.boot.mkdir()
        self.data.mkdir()
        self.file = self.boot / "driftline.env"

    async def start(self, *options: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *("sh", str(SCRIPT), *options),
            env={
                "PATH": "/usr/bin:/bin",
                "DRIFTLINE_BOOT": str(self.boot),
                "DRIFTLINE_DATA": str(self.data),
                "DRIFTLINE_PROGRAM": str(Path(sys.executable).parent / "driftline"),
                "DRIFTLINE_USER": "",
                "DRIFTLINE_PAUSE": "0.1",
            },
            cwd=self.data,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    async def join(self, *options: str) -> tuple[int, str]:
        async with asyncio.timeout(PATIENCE_S):
            process = await self.start(*options)
            said, _ = await process.communicate()
        return process.returncode, said.decode()


@pytest.fixture
def pi(tmp_path: Path) -> Pi:
    return Pi(tmp_path)


async def test_it_joins_and_the_token_is_gone_and_all_else_stays(cloud: Cloud, pi: Pi):
    token = await cloud.token()
    lines = [
        "# written on Windows",
        f'DRIFTLINE_JOIN_URL="{cloud.url}"',
        f"DRIFTLINE_JOIN_TOKEN={token}",
        "DRIFTLINE_JOIN_LABELS=site=north,kind=pi5",
        "DRIFTLINE_EDGE=attic",
        "DRIFTLINE_LOG_LEVEL=debug",
    ]
    pi.file.write_text("\r\n".join(lines))
    assert (await pi.join("--pending"))[0] == 1
    status, said = await pi.join()
    assert status == 0, said
    assert token not in said
    joined = Device(pi.data).joined()
    assert (joined.url, joined.name, joined.labels) == (cloud.url, "attic", {"site": "north", "kind": "pi5"})
    assert [line for line in pi.file.read_text().splitlines() if line] == [lines[0], lines[1], *lines[3:]]
    assert [await pi.join("--pending"), await pi.join()] == [(0, ""), (0, "")], (
        "at the next start nothing is to be done"
    )


async def test_a_wrong_token_ends_it_with_a_sentence_and_the_file_stays(cloud: Cloud, pi: Pi):
    pi.file.write_text(f"DRIFTLINE_JOIN_URL={cloud.url}\nDRIFTLINE_JOIN_TOKEN=wrong\n")
    status, said = await pi.join()
    assert (status, "found a join token that nobody made" in said) == (1, True)
    assert "wrong" in pi.file.read_text()


async def test_while_the_cloud_is_away_it_goes_on_trying(pi: Pi):
    pi.file.write_text("DRIFTLINE_JOIN_URL=http://127.0.0.1:9\nDRIFTLINE_JOIN_TOKEN=any\n")
    process = await pi.start()
    async with asyncio.timeout(PATIENCE_S):
        tries = [await process.stdout.readline() for _ in range(2)]
    process.terminate()
    await process.communicate()
    assert [b"does not answer" in line for line in tries] == [True, True]


async def test_without_such_a_file_there_is_nothing_to_do(pi: Pi):
    assert await pi.join() == (0, "")
    pi.file.write_text("DRIFTLINE_LOG_LEVEL=debug\n")
    assert await pi.join() == (0, "")
