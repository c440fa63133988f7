"""A folder that can't be used is said so in a sentence, and loses nothing that was acknowledged."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.errors import BusUnavailable, UnusableData
from tests.bus.conftest import Tick, ticks
from tests.bus.embedded.conftest import mount, settings
from tests.conftest import ROOT

TICKS = ticks("ticks")
LONG = "k" * 1000


async def written_until_refused(bus: EmbeddedBus) -> int:
    """Publishes ticks from time 0 on; the first that is not taken."""
    for t in range(10_000):
        try:
            await bus.publish(TICKS, [Tick(LONG, t)])
        except BusUnavailable:
            return t
    raise AssertionError("expected an end")


@pytest.mark.process
async def test_a_full_disk_takes_nothing_more_and_goes_on_when_it_has_space(small_disk: Path):
    bus = EmbeddedBus(settings(small_disk / "bus"))
    await bus.check()
    refused = await written_until_refused(bus)
    assert refused > 100
    with pytest.raises(BusUnavailable, match="the disk is full: nothing more is taken until it has space; what was"):
        await bus.publish(TICKS, [Tick(LONG, refused)])
    with pytest.raises(BusUnavailable, match="the disk is full"):
        await bus.check()
    assert [envelope.value.t for envelope in await bus.read(TICKS)] == [*range(refused)]
    mount("-o", "remount,size=1m", small_disk)
    await bus.check()
    await bus.publish(TICKS, [Tick(LONG, t) for t in range(refused, refused + 50)])
    await bus.check()
    await bus.close()
    again = EmbeddedBus(settings(small_disk / "bus"))
    assert [envelope.value.t for envelope in await again.read(TICKS)] == [*range(refused + 50)]
    await again.close()


@pytest.mark.process
async def test_a_disk_that_is_full_from_the_beginning_is_said_at_the_start(small_disk: Path):
    (small_disk / "other").write_bytes(bytes(250_000))
    with pytest.raises(BusUnavailable, match="the disk is full"):
        EmbeddedBus(settings(small_disk / "bus"))
    (small_disk / "other").unlink()
    bus = EmbeddedBus(settings(small_disk / "bus"))
    await bus.publish(TICKS, [Tick("k", 1)])
    await bus.close()


@pytest.mark.process
async def test_a_folder_that_is_read_only_is_said(small_disk: Path):
    bus = EmbeddedBus(settings(small_disk / "bus"))
    await bus.publish(TICKS, [Tick("k", 1)])
    await bus.close()
    mount("-o", "remount,ro", small_disk)
    with pytest.raises(BusUnavailable, match="bus: found a folder that is read-only, expected one that may be written"):
        EmbeddedBus(settings(small_disk / "bus"))
    mount("-o", "remount,rw", small_disk)
    again = EmbeddedBus(settings(small_disk / "bus"))
    assert [envelope.value.t for envelope in await again.read(TICKS)] == [1]
    await again.close()


@pytest.mark.process
async def test_another_process_hears_which_folder_and_which_process_holds_it(tmp_path: Path):
    bus = EmbeddedBus(settings(tmp_path))
    code = (
        "import sys, pathlib; from driftline.bus.embedded import *; "
        "EmbeddedBus(EmbeddedSettings(pathlib.Path(sys.argv[1])))"
    )

    def another() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    refused = await asyncio.to_thread(another)
    assert f"BusUnavailable: {tmp_path}: the process {os.getpid()} uses this folder" in refused.stderr
    await bus.close()
    assert (await asyncio.to_thread(another)).returncode == 0


async def test_a_second_bus_of_the_same_process_is_refused_until_the_first_is_closed(tmp_path: Path):
    bus = EmbeddedBus(settings(tmp_path))
    with pytest.raises(BusUnavailable, match=f"the process {os.getpid()} uses this folder, and only one may"):
        EmbeddedBus(settings(tmp_path))
    await bus.close()
    await EmbeddedBus(settings(tmp_path)).close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.log")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"version":2,"partitions":4}', "found data of version 2, expected 1: use the release that wrote them"),
        ('{"version":1,"partitions":8}', "found 8 partitions, expected 4"),
        ("", "format.json: found no version of the data in it"),
        (None, "found data without format.json, which says their version"),
    ],
)
async def test_data_of_another_version_are_left_as_they_are(tmp_path: Path, text: str | None, said: str):
    bus = EmbeddedBus(settings(tmp_path))
    await bus.publish(TICKS, [Tick("k", 1)])
    await bus.close()
    before = contents(tmp_path)
    format_file = tmp_path / "format.json"
    right = format_file.read_text()
    if text is None:
        format_file.unlink()
    else:
        format_file.write_text(text)
    with pytest.raises(UnusableData, match=re.escape(said)):
        EmbeddedBus(settings(tmp_path))
    assert contents(tmp_path) == before
    format_file.write_text(right)
    again = EmbeddedBus(settings(tmp_path))
    assert [envelope.value.t for envelope in await again.read(TICKS)] == [1]
    await again.close()


async def test_a_closed_bus_takes_nothing(tmp_path: Path):
    bus = EmbeddedBus(settings(tmp_path))
    await bus.close()
    with pytest.raises(BusUnavailable, match="the bus is closed"):
        await bus.publish(TICKS, [Tick("k", 1)])
    with pytest.raises(BusUnavailable, match="the bus is closed"):
        await bus.check()


def test_a_bound_that_is_too_small_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="found retention_bytes 1000, expected at least 512000"):
        EmbeddedSettings(tmp_path, retention_bytes=1000)
