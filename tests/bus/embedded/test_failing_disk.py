"""A disk that fails in the midst of a sync: what was refused is gone, and what comes later is found again."""

import errno
import os
from pathlib import Path

import pytest

from driftline.bus.embedded import EmbeddedBus
from driftline.bus.embedded.frames import MAGIC
from driftline.errors import BusUnavailable
from tests.bus.conftest import Tick, ticks
from tests.bus.embedded.test_retention import HOUR, Clocks, opened, settings

TICKS = ticks("ticks")


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


async def refused(bus: EmbeddedBus, t: int, monkeypatch: pytest.MonkeyPatch, *, times: int = 1) -> None:
    """Publishes while all that is written lies on the disk, but so many syncs fail."""

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fdatasync", failing)
        for _ in range(times):
            with pytest.raises(BusUnavailable, match="the disk does not take it: Input/output error"):
                await bus.publish(TICKS, [Tick("refused", t)])


pwrite = os.pwrite


def frames_alone(descriptor: int, data: bytes, position: int) -> int:
    """A disk that takes no index."""
    if not data.startswith(MAGIC):
        raise OSError(errno.EIO, "Input/output error")
    return pwrite(descriptor, data, position)


async def kept(bus: EmbeddedBus) -> list[Tick]:
    return [envelope.value for envelope in await bus.read(TICKS)]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("pause", [0.0, HOUR])
async def test_what_was_refused_is_overwritten_also_where_the_next_commit_begins_a_segment(
    tmp_path: Path, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, pause: float, times: int
):
    async with opened(settings(tmp_path, hours=2), clocks) as bus:
        await bus.publish(TICKS, [Tick("k", 0)])
        await refused(bus, 1, monkeypatch, times=times)
        clocks.wait(pause)
        # An index would hide what lies behind the frames.
        monkeypatch.setattr(os, "pwrite", frames_alone)
        await bus.publish(TICKS, [Tick("k", 1)])
        await bus.publish(TICKS, [Tick("k", 2)])
    async with opened(settings(tmp_path, hours=2), clocks) as bus:
        assert await kept(bus) == [Tick("k", t) for t in range(3)]


@pytest.mark.parametrize("pause", [0.0, HOUR])
async def test_a_segment_whose_beginning_was_refused_is_none(
    tmp_path: Path, clocks: Clocks, monkeypatch: pytest.MonkeyPatch, pause: float
):
    async with opened(settings(tmp_path, hours=2), clocks) as bus:
        await bus.publish(TICKS, [Tick("k", 0)])
        clocks.wait(HOUR)
        await refused(bus, 1, monkeypatch, times=3)
        clocks.wait(pause)
        await bus.publish(TICKS, [Tick("k", 1)])
        await bus.publish(TICKS, [Tick("k", 2)])
    async with opened(settings(tmp_path, hours=2), clocks) as bus:
        assert await kept(bus) == [Tick("k", t) for t in range(3)]
