"""What the dashboard begins with: the newest blends of every series, however many series there are."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from driftline.bus.memory import MemoryBus
from driftline.messages import BLENDS, Blend
from driftline_combiner import dashboard_buffer
from driftline_combiner.dashboard_buffer import DashboardBuffer

PATIENCE_S = 10
REMEMBERED, POINTS = 12, 4


@pytest.fixture
async def page(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[MemoryBus, DashboardBuffer]]:
    """A feed that listens, with room for few blends."""
    room = REMEMBERED * len(BLENDS.encode(blend("a", 0)))
    monkeypatch.setattr(dashboard_buffer, "BYTES_REMEMBERED", room)
    bus = MemoryBus()
    listening = DashboardBuffer(bus, points=POINTS)
    running = asyncio.create_task(listening.run())
    async with asyncio.timeout(PATIENCE_S):
        while not listening.keys("probe"):
            await bus.publish(BLENDS, [blend("k", 0, stream="probe")])
            await asyncio.sleep(0)
    yield bus, listening
    await listening.stop()
    await running


def blend(key: str, t: int, stream: str = "s") -> Blend:
    return Blend(stream, key, t, None, [1], [1.0], "online", {"online": [1.0]}, {}, {"rls": [1.0]}, {}, 0.0)


async def times(listening: DashboardBuffer, key: str, last: int) -> list[int]:
    """Of the blends that a page begins with, once `last` is there."""
    found: list[int] = []
    async with asyncio.timeout(PATIENCE_S), aclosing(listening.events("s", key, -1)) as events:
        async for event in events:
            found.append(int(event.id))
            if found[-1] == last:
                return found
    raise AssertionError("unreachable")


async def begun(listening: DashboardBuffer, keys: str, last: int) -> dict[str, list[int]]:
    """The same of several series, once all of them are there."""
    for key in keys:
        await times(listening, key, last)
    return {key: await times(listening, key, last) for key in keys}


async def test_one_series_is_remembered_as_long_as_is_asked_for(page: tuple[MemoryBus, DashboardBuffer]):
    bus, listening = page
    await bus.publish(BLENDS, [blend("a", t) for t in range(20)])
    assert await begun(listening, "a", 19) == {"a": [16, 17, 18, 19]}


async def test_many_series_share_the_room(page: tuple[MemoryBus, DashboardBuffer]):
    bus, listening = page
    for t in range(5):
        await bus.publish(BLENDS, [blend(key, t) for key in "abc"])
        await begun(listening, "abc", t)
    assert await begun(listening, "abc", 4) == {key: [2, 3, 4] for key in "abc"}


async def test_of_a_series_with_much_to_say_the_newest_is_there_whatever_its_size(page):
    bus, listening = page
    long = Blend("s", "a", 7, None, [1] * 1000, [1.0] * 1000, "online", {}, {}, {}, {}, 0.0)
    await bus.publish(BLENDS, [blend("a", 6), long])
    assert await begun(listening, "a", 7) == {"a": [7]}


async def test_of_many_blends_some_are_taken_in_at_once_and_others_get_a_turn_between(page):
    bus, listening = page
    await bus.publish(BLENDS, [blend(f"k{n:03}", 1) for n in range(250)])
    counts: list[int] = [0]
    async with asyncio.timeout(PATIENCE_S):
        while counts[-1] < 250:
            counts.append(len(listening.keys("s")))
            await asyncio.sleep(0)
    assert {0, 100, 200, 250} == set(counts)
