"""Kills inference alone, again and again under load, and reads what became of the acknowledged records.

Many series with far horizons make a restore of many megabytes; while it is read, records pile up to many polls. Busy
loops beside it take the processor as a small machine would.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import stamina

from driftline.errors import BusUnavailable
from driftline.messages import RECORDS
from tests.chaos import rest
from tests.chaos.fleet import Fleet, Restart
from tests.chaos.loader import Loader
from tests.chaos.published import Blends, Forecasts
from tests.chaos.scene import Scene, set_up

SERVICES = ("ingest", "inference", "combiner")
KEYS = 300
HORIZON = (1, 10, 60)
DOWN_S = 4.0
BUSY = 1
BUSY_S = 900
LOOP = f"import time\nend = time.monotonic() + {BUSY_S}\nwhile time.monotonic() < end: pass"
WARM_UP_TICKS = 12
"""Ticks until the states are as large as they get while this lasts."""
CLOSE_TICKS = 2
BACK_S = 120.0
NEVER = 1_000_000


class Behind(Exception):
    """It has not caught up yet."""


@dataclass(frozen=True)
class Killed:
    acknowledged: np.ndarray
    forecasts: Forecasts
    blends: Blends
    restarts: list[Restart]
    places: dict[tuple[int, int], str]

    def __str__(self) -> str:
        lost = self.forecasts.lacks(self.acknowledged), self.blends.lacks(self.acknowledged)
        first = ", ".join(f"{self.forecasts.scene.name(key)}/{tick}: {at}" for (key, tick), at in self.places.items())
        repeats = self.forecasts.messages - self.forecasts.names
        return (
            f"{int(self.acknowledged.sum()):,} acknowledged; {lost[0]:,} without a forecast, after {self.stretches} "
            f"restarts; {lost[1]:,} without a blend; {repeats:,} repeats; {first}"
        )

    @property
    def stretches(self) -> int:
        """How many separate stretches of time are missing: so many restarts lost something."""
        ticks = sorted({tick for _, tick in self.forecasts.missing(self.acknowledged)})
        return sum(tick - 1 not in ticks for tick in ticks)


async def killed(folder: Path, *, kills: int, seed: int = 0, keys: int = KEYS) -> Killed:
    """Kills inference with -9 so many times, each time once it has caught up."""
    base = int(time.time()) * 1000
    scene = set_up(folder, seed=seed, keys=keys, horizon=HORIZON, window=100, retrain_every=NEVER, base=base)
    fleet = Fleet(folder, SERVICES, {"DRIFTLINE_TRAINER": ""})
    loader = Loader(scene, fleet.url("ingest"))
    try:
        await fleet.up()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(fleet.supervise())
            loading = group.create_task(loader.run())
            await _kill(fleet, loader, kills)
            loader.stop()
            await loading
            watching.cancel()
        return await _judged(scene, fleet, loader)
    finally:
        await fleet.down()


async def _kill(fleet: Fleet, loader: Loader, kills: int) -> None:
    async with _busy():
        await _caught_up(fleet, loader, WARM_UP_TICKS)
        for _ in range(kills):
            await fleet.kill("inference", DOWN_S)
            await _caught_up(fleet, loader, 0)


async def _caught_up(fleet: Fleet, loader: Loader, ticks: int) -> None:
    """Returns when so many ticks were sent and inference is not behind by more than a few. Raises Behind."""
    async with rest.bus_at(fleet.brokers) as bus:
        async for attempt in stamina.retry_context(
            on=(Behind, BusUnavailable), attempts=None, timeout=BACK_S, wait_initial=0.5, wait_max=0.5
        ):
            with attempt:
                lag = sum((await bus.lag(RECORDS, "inference")).values())
                if lag > CLOSE_TICKS * loader.acknowledged.size or loader.acknowledged.min() < ticks:
                    raise Behind(f"inference is {lag} records behind after {loader.acknowledged.min()} ticks")


@asynccontextmanager
async def _busy() -> AsyncIterator[None]:
    loops = [await asyncio.create_subprocess_exec(sys.executable, "-c", LOOP) for _ in range(BUSY)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            await loop.wait()


async def _judged(scene: Scene, fleet: Fleet, loader: Loader) -> Killed:
    acknowledged = loader.acknowledged
    forecasts, blends = await rest.published(fleet.brokers, scene, acknowledged)
    missing = {place for _, place in zip(range(5), forecasts.missing(acknowledged), strict=False)}
    places = await rest.places(fleet.brokers, scene, missing) if missing else {}
    return Killed(acknowledged, forecasts, blends, fleet.restarts, places)
