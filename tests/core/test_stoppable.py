"""Work that goes on until it is stopped, and whose fault is not lost."""

import asyncio

import pytest

from driftline.stoppable import StoppableWork


async def test_it_goes_on_until_it_is_stopped():
    work, begun = StoppableWork(), asyncio.Event()

    async def go_on() -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(work.run(go_on()))
    await begun.wait()
    assert not running.done()
    await work.stop()
    await running
    assert not running.cancelled()


async def test_what_it_raises_is_raised():
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await StoppableWork().run(fail())


async def test_what_was_never_run_may_be_stopped():
    await StoppableWork().stop()
