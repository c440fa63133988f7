"""Time retention and restarts: a folder can always be opened again, and holds what it held before."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.bus.port import Checkpoint
from tests.bus.conftest import PARTITIONS, Tick
from tests.bus.embedded.test_retention import BOUND, HOUR, KEY, TICKS, Clocks, at_rest, held, opened, times
from tests.bus.embedded.test_retention import settings as kept_for
from tests.bus.test_contract import Holder

RECORDS = 60
MEMORY = Path("/dev/shm")  # noqa: S108 - below it every test has a folder of its own
"""Where a sync costs nothing: how many there are is what takes time here."""


async def live(folder: Path, *, step: float, restart_every: int, jump: float) -> None:
    """Publishes a record every `step` seconds. jump: seconds for which every fifth record is late."""
    clocks = Clocks()
    published, kept = 0, list[int]()
    while published < RECORDS:
        clocks.passed = 0.0
        async with opened(kept_for(folder, hours=1), clocks) as bus:
            assert await times(bus) == kept
            for t in range(published, published + restart_every):
                clocks.wait(step + (jump if t % 5 == 4 else 0.0))
                await bus.publish(TICKS, [Tick(KEY, t)])
            await at_rest(bus)
            published += restart_every
            kept = await times(bus)
            assert kept == [*range(kept[0], published)]
            assert held(folder) <= BOUND


@settings(max_examples=20, deadline=None)
@given(
    step=st.floats(1.0, 2000.0),
    restart_every=st.integers(1, 30),
    jump=st.sampled_from([0.0, 0.3 * HOUR, 3 * HOUR]),
)
def test_a_restart_neither_fails_nor_changes_what_is_kept(step: float, restart_every: int, jump: float):
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        asyncio.run(live(Path(folder), step=step, restart_every=restart_every, jump=jump))


async def test_many_segments_that_go_at_once_do_not_come_back(tmp_path: Path):
    clocks = Clocks()
    async with opened(kept_for(tmp_path, hours=1), clocks) as bus:
        for t in range(5):
            await bus.publish(TICKS, [Tick(KEY, t)])
            clocks.wait(0.3 * HOUR)
        async with bus.join(TICKS, "group", holder := Holder()) as feed:
            await holder.holds(PARTITIONS, feed)
            await feed.commit(Checkpoint(0, 0, {"a": b"one"}))
        clocks.wait(3 * HOUR)
        await bus.publish(TICKS, [Tick(KEY, 5)])
        await at_rest(bus)
        assert await times(bus) == [5]
    async with opened(kept_for(tmp_path, hours=1), clocks) as bus:
        assert await times(bus) == [5]
        async with bus.join(TICKS, "group", again := Holder()) as feed:
            await again.holds(PARTITIONS, feed)
            assert again.states == {0: {"a": b"one"}}
