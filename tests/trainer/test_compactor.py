"""The job that joins windows: it takes nothing that is still to be learned, waits for jobs, and removes by age."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from driftline.metrics import Metrics
from driftline.models import manifest as manifests
from driftline.store.days import DAY_MS
from driftline.store.folder import FolderStore
from driftline.store.windows import WindowName
from driftline.streams import tables
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.versions.releases import current
from driftline_trainer.days.compactor import DayCompactor
from driftline_trainer.days.files import DayReader, day_files
from driftline_trainer.days.sampling import Sampling
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer
from tests.trainer.test_trainer import HISTORY, PATIENCE_S, working

KEY = "R80711"


class Cloud:
    """A trainer and its compactor, whose clock is the time of the newest record."""

    def __init__(self, folder: Path, stream: StreamDefinition, rows: Rows, **settings: object) -> None:
        self.store = FolderStore(folder / "store")
        self.stream = stream
        self.rows = rows.by_key()[KEY]
        self.seconds = 0.0
        given = {"store": str(folder), "store_poll": 3600, "retrain_interval": 0, **settings}
        self.settings = TrainerSettings.model_validate(given)
        self.metrics = Metrics()
        streams = Streams({stream.name: stream})
        self.trainer = Trainer(self.settings, self.store, streams, self.metrics)
        self.compactor = DayCompactor(
            self.settings, self.store, streams, self.trainer, self.metrics, lambda: self.seconds
        )

    async def archive(self, first: int, end: int) -> None:
        """Full windows of these records; they are two days old then."""
        for begin in range(first, end, self.stream.window):
            part = self.rows.take(slice(begin, begin + self.stream.window))
            name = WindowName(int(part.t[0]), int(part.t[-1]), "aa").format()
            await self.store.put(f"windows/{self.stream.name}/{KEY}/{name}", tables.encode(part, self.stream))
        self.seconds = (float(self.rows.t[end - 1]) + 4 * DAY_MS) / 1000

    async def windows(self) -> int:
        return len([listed async for listed in self.store.list("windows/")])

    async def days(self) -> list[str]:
        return [file.name.day async for file in day_files(self.store, self.stream.name)]

    async def speed(self) -> manifests.Manifest:
        speed = await current(self.store, self.stream.name, "speed")
        assert speed is not None
        return speed.manifest

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"driftline_{name}", {"stream": self.stream.name, **labels})


@pytest.fixture
def cloud(lent: None, tmp_path: Path, quick: StreamDefinition, rows: Rows) -> Cloud:
    return Cloud(tmp_path, quick, rows)


async def test_what_a_speed_model_would_still_learn_from_stays_a_window(cloud: Cloud):
    await cloud.store.put(HISTORY, tables.encode(cloud.rows.take(slice(0, 4000)), cloud.stream))
    async with working(cloud.trainer), asyncio.timeout(PATIENCE_S):
        await cloud.trainer.wait((await cloud.trainer.submit(cloud.stream.name, "batch", HISTORY)).id)
        await cloud.archive(4000, 4900)
        await cloud.trainer.reconcile()
        await cloud.compactor.compact()
        assert (await cloud.windows(), await cloud.days()) == (9, [])
        await cloud.archive(4900, 5700)
        await cloud.trainer.reconcile()
        second = await cloud.speed()
        assert manifests.version_number(second.version) == 2
        await cloud.compactor.compact()
        assert await cloud.windows() == 0
        # What is written again by an edge that restarts is old.
        await cloud.archive(4000, 5700)
        await cloud.trainer.reconcile()
        assert (await cloud.speed()).version == second.version
        await cloud.compactor.compact()
        assert await cloud.windows() == 0
        await cloud.archive(5700, 6700)
        await cloud.trainer.reconcile()
        third = await cloud.speed()
        assert manifests.version_number(third.version) == 3
        # From the windows alone there would be less to learn from.
        assert third.rows == second.rows
        assert third.windows.keys() == second.windows.keys()
        by_hand = await cloud.trainer.wait((await cloud.trainer.submit(cloud.stream.name, "batch")).id)
        assert by_hand.state in {"published", "refused"}
    assert cloud.metric("windows_compacted_total") == 34


async def test_windows_in_day_files_are_enough_to_train_from(cloud: Cloud):
    await cloud.archive(0, 4000)
    await cloud.compactor.compact()
    assert await cloud.windows() == 0
    async with working(cloud.trainer), asyncio.timeout(PATIENCE_S):
        batch = await cloud.trainer.wait((await cloud.trainer.submit(cloud.stream.name, "batch")).id)
        assert (batch.state, batch.reason) == ("published", None)
        speed = await cloud.trainer.wait((await cloud.trainer.submit(cloud.stream.name, "speed")).id)
        assert speed.state in {"published", "refused"}
        assert speed.metrics or "gate" in str(speed.reason)


async def test_it_waits_for_the_job_that_trains(cloud: Cloud):
    await cloud.archive(0, 4000)
    async with working(cloud.trainer), asyncio.timeout(PATIENCE_S):
        job = await cloud.trainer.submit(cloud.stream.name, "batch")
        # The trainer takes it up before a compaction that begins later gets its turn.
        await asyncio.sleep(0)
        joining = asyncio.create_task(cloud.compactor.compact())
        await cloud.trainer.wait(job.id)
        assert cloud.metric("windows_compacted_total") == 0
        await joining
    assert cloud.metric("windows_compacted_total") > 0


async def test_day_files_are_kept_so_long(tmp_path: Path, quick: StreamDefinition, rows: Rows):
    cloud = Cloud(tmp_path, quick, rows, days_kept=7)
    await cloud.archive(0, 4000)
    await cloud.compactor.compact()
    days = await cloud.days()
    assert len(days) == 4
    assert days[0] >= str(np.datetime64(int(cloud.seconds) - 7 * 86400, "s"))[:10]
    assert cloud.metric("day_files_total", outcome="removed") > 10


@pytest.mark.parametrize("bounds", [{"file_rows": 120}, {"history_bytes": 8_000}], ids=str)
async def test_day_files_keep_the_bounds_of_their_readers(
    tmp_path: Path, quick: StreamDefinition, rows: Rows, bounds: dict[str, int]
):
    cloud = Cloud(tmp_path, quick, rows, **bounds)
    await cloud.archive(0, 1000)
    await cloud.compactor.compact()
    assert await cloud.windows() == 0
    aside, reading = SetAside(cloud.store, quick, cloud.metrics, lambda: 0.0), Reading(cloud.settings.means)
    days = DayReader(cloud.store, quick, aside, reading, limit=cloud.settings.history_bytes)
    contents = [await days.rows(file, Sampling.of(quick)) for file in await days.newest_first()]
    reading.close()
    assert sum(content.total for content in contents if content is not None) == 1000


async def test_a_window_that_can_not_be_read_is_set_aside_once(tmp_path: Path, quick: StreamDefinition, rows: Rows):
    cloud = Cloud(tmp_path, quick, rows)
    await cloud.archive(0, 300)
    name = WindowName(int(cloud.rows.t[0]), int(cloud.rows.t[9]), "bb").format()
    await cloud.store.put(f"windows/{quick.name}/{KEY}/{name}", b"bad")
    for _ in range(2):
        await cloud.compactor.compact()
        assert await cloud.windows() == 1
    assert cloud.metric("files_set_aside_total", kind="windows") == 1
    assert cloud.metric("windows_small") == 1


async def test_the_job_joins_until_it_is_stopped(tmp_path: Path, quick: StreamDefinition, rows: Rows):
    cloud = Cloud(tmp_path, quick, rows, days_every=0.01)
    await cloud.archive(0, 1000)
    running = asyncio.create_task(cloud.compactor.run())
    async with asyncio.timeout(PATIENCE_S):
        async for _ in cloud.store.watch("windows/", poll=0.1):
            if not await cloud.windows():
                break
        await cloud.compactor.stop()
        await running
    assert len(await cloud.days()) == 7
