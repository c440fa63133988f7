"""A torn end is cut, damage before it is said; nothing that was acknowledged goes with the torn end."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.embedded.layout import CheckpointWrite
from driftline.bus.port import Checkpoint
from driftline.errors import UnusableData
from tests.bus.conftest import PARTITIONS, Tick, ticks
from tests.bus.test_contract import Holder

TICKS = ticks("ticks")
LONG = "k" * 300


def settings(folder: Path) -> EmbeddedSettings:
    return EmbeddedSettings(folder, PARTITIONS, retention_bytes=8 * 64_000, recent_bytes=1000)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[EmbeddedBus]:
    bus = EmbeddedBus(settings(folder))
    try:
        yield bus
    finally:
        await bus.close()


async def published(folder: Path, times: range) -> None:
    async with opened(folder) as bus:
        for t in times:
            await bus.publish(TICKS, [Tick(LONG, t)])


async def times(folder: Path) -> list[int]:
    async with opened(folder) as bus:
        return [envelope.value.t for envelope in await bus.read(TICKS)]


def last(folder: Path) -> Path:
    return max(folder.glob("*.log"))


def frames_end(path: Path) -> int:
    """Where the zeros behind the last frame begin."""
    return len(path.read_bytes().rstrip(b"\0"))


async def test_a_torn_write_at_the_end_is_cut_wherever_it_is_torn(tmp_path: Path):
    await published(tmp_path / "bus", range(20))
    before = frames_end(last(tmp_path / "bus"))
    await published(tmp_path / "bus", range(20, 21))
    data = last(tmp_path / "bus").read_bytes()
    end = frames_end(last(tmp_path / "bus"))
    assert end > before + 300
    for cut in range(before, end, 7):
        torn = tmp_path / f"torn-{cut}"
        shutil.copytree(tmp_path / "bus", torn)
        last(torn).write_bytes(data[:cut].ljust(len(data), b"\0"))
        assert await times(torn) == [*range(20)]
        await published(torn, range(20, 22))
        assert await times(torn) == [*range(22)]


async def test_garbage_at_the_end_is_cut(tmp_path: Path):
    folder = tmp_path / "bus"
    await published(folder, range(20))
    data, end = last(folder).read_bytes(), frames_end(last(folder))
    draw = random.Random(1)
    for _ in range(20):
        last(folder).write_bytes(data[:end] + draw.randbytes(len(data) - end))
        assert await times(folder) == [*range(20)]


async def test_a_file_that_is_shorter_than_it_was_is_written_on(tmp_path: Path):
    folder = tmp_path / "bus"
    await published(folder, range(20))
    last(folder).write_bytes(last(folder).read_bytes()[: frames_end(last(folder)) - 10])
    assert await times(folder) == [*range(19)]
    await published(folder, range(19, 400))
    assert await times(folder) == [*range(400)]


async def test_damage_with_whole_frames_behind_it_names_the_file_and_the_remedy(tmp_path: Path):
    folder = tmp_path / "bus"
    await published(folder, range(20))
    data = bytearray(last(folder).read_bytes())
    data[2000] ^= 1
    last(folder).write_bytes(data)
    with pytest.raises(UnusableData, match=r"000000000001\.log: found damaged .* move this file and all with lower"):
        await published(folder, range(20, 21))


async def test_a_segment_that_is_missing_or_has_no_index_and_a_damaged_end_is_found(tmp_path: Path):
    folder = tmp_path / "bus"
    await published(folder, range(400))
    first, second, *_ = sorted(folder.glob("*.log"))
    data = second.read_bytes()
    second.unlink()
    with pytest.raises(UnusableData, match=r"000000000001\.log: found damaged or missing"):
        await times(folder)
    second.write_bytes(data[: len(data) // 2].ljust(len(data), b"\0"))
    with pytest.raises(UnusableData, match=r"000000000002\.log: found damaged or missing"):
        await times(folder)
    # The remedy that the error names: what is behind it is kept.
    second.unlink()
    first.unlink()
    kept = await times(folder)
    assert kept == [*range(kept[0], 400)]
    assert 0 < kept[0] < 400


async def test_damage_inside_a_segment_with_an_index_is_found_when_it_is_read(tmp_path: Path):
    folder = tmp_path / "bus"
    await published(folder, range(400))
    first = min(folder.glob("*.log"))
    data = bytearray(first.read_bytes())
    data[5000] ^= 1
    first.write_bytes(data)
    with pytest.raises(UnusableData, match=r"000000000001\.log: found damaged"):
        await times(folder)


async def test_what_should_be_in_a_segment_that_is_gone_is_an_error(tmp_path: Path):
    """And no endless search."""
    async with opened(tmp_path / "bus") as bus, bus.join(TICKS, "group", holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        await feed.commit(Checkpoint(1, 0, {"a": b"one"}))
        await bus.publish(TICKS, [Tick(LONG, t) for t in range(400)])
        bus._journal._segments.pop(0)
        async with asyncio.timeout(120):
            with pytest.raises(UnusableData, match="found no segment 1, expected"):
                await bus.read(TICKS)
            with pytest.raises(UnusableData, match="found no segment 1, expected"):
                [part async for part in bus.reader.states(bus._journal.contents.checkpoint("group", TICKS.name, 1))]


async def test_an_index_only_spares_the_reading(tmp_path: Path):
    """With and without, and with one that is torn, a folder holds the same."""
    folder = tmp_path / "bus"
    await published(folder, range(400))
    async with opened(folder) as bus, bus.join(TICKS, "group", holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        await feed.commit(Checkpoint(1, 3, {"a": b"one", "b": b"two", "c": b"three"}))
        await feed.commit(Checkpoint(1, 4, {"c": None, "b": b"four"}))
    await published(folder, range(400, 600))
    for path in sorted(folder.glob("*.log"))[:-1:2]:
        data = path.read_bytes()
        path.write_bytes(data[:-20] + bytes(20))
    assert await times(folder) == [*range(600)]
    async with opened(folder) as bus, bus.join(TICKS, "group", again := Holder()) as feed:
        await again.holds(PARTITIONS, feed)
        assert again.given[1].position + again.given[1].lost >= 4
        assert again.states == {1: {"a": b"one", "b": b"four"}}


async def test_where_states_belong_to_is_kept_apart_from_the_position(tmp_path: Path):
    """Input from there on will be stepped through again: it must not be dropped."""
    folder = tmp_path / "bus"
    async with opened(folder) as bus:
        saved = bus._journal.contents.checkpoint("group", TICKS.name, 1)
        await bus.writing.write((), CheckpointWrite(saved, 9, 4, {"a": b"one"}))
    for _ in range(2):
        await published(folder, range(300))
        async with opened(folder) as bus:
            again = bus._journal.contents.checkpoint("group", TICKS.name, 1)
            assert (again.position, again.restart) == (9, 4)
            assert bus._needed()[TICKS.name, 1] == 4
