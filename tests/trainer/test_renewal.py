"""After an upgrade, or a change of the definition, a batch model is trained by itself: once, from what there is."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from driftline.metrics import Metrics
from driftline.models import manifest as manifests
from driftline.models.signing import seal
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.versions.releases import Current, current
from driftline.worker.former import former_fingerprint
from driftline_trainer.app import create_app
from driftline_trainer.jobs import JobState
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer
from tests.trainer.test_trainer import archive, working

pytestmark = pytest.mark.usefixtures("lent")
PATIENCE_S = 120
LOCAL = "local.parquet"


@pytest.fixture
async def store(tmp_path: Path, quick: StreamDefinition, rows: Rows) -> FolderStore:
    """With the models that an earlier release trained, from a file of the data folder."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / LOCAL).write_bytes(tables.encode(rows.take(slice(0, 4000)), quick))
    store = FolderStore(tmp_path / "store")
    async with at_work(store, quick) as trainer:
        assert (await trainer.wait((await trainer.submit(quick.name, "batch", LOCAL)).id)).state == "published"
    for member in ("batch", "speed"):
        await describe(store, quick, member, definition=former_fingerprint(quick))
    return store


async def describe(store: FolderStore, stream: StreamDefinition, member: str, **other: str) -> None:
    """Changes the manifest of the current version."""
    manifest = (await current_of(store, stream, member)).manifest
    key = manifests.manifest_key(stream.name, member, manifest.version)
    await store.put(key, seal(msgspec.structs.replace(manifest, **other), None))


async def forget_jobs(store: FolderStore) -> None:
    for key in [listed.key async for listed in store.list("jobs/")]:
        await store.delete(key)


async def current_of(store: FolderStore, stream: StreamDefinition, member: str) -> Current:
    version = await current(store, stream.name, member)
    assert version is not None
    return version


def new_trainer(store: FolderStore, stream: StreamDefinition, **settings: Any) -> Trainer:
    data = store.root.parent / "data"
    asked = TrainerSettings(store=str(store.root), data_dir=data, store_poll=3600, **settings)
    return Trainer(asked, store, {stream.name: stream}, Metrics())


@asynccontextmanager
async def at_work(store: FolderStore, stream: StreamDefinition, **settings: Any) -> AsyncIterator[Trainer]:
    trainer = new_trainer(store, stream, **settings)
    async with working(trainer), asyncio.timeout(PATIENCE_S):
        yield trainer


async def ended(trainer: Trainer) -> JobState:
    """The newest job, once it has ended."""
    return await trainer.wait(trainer.jobs()[0].id)


async def test_a_model_of_another_release_is_replaced_when_the_trainer_starts(store: FolderStore, quick, rows: Rows):
    await forget_jobs(store)
    await store.put(f"history/{quick.name}/first.parquet", tables.encode(rows.take(slice(0, 8000)), quick))
    before = await current_of(store, quick, "batch")
    settings = TrainerSettings(store=str(store.root), data_dir=store.root.parent / "data", store_poll=3600)
    app = create_app(settings, store, streams={quick.name: quick})
    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_S):
        async for _ in store.watch("models/", poll=1):
            batch, speed = [await current_of(store, quick, member) for member in ("batch", "speed")]
            if speed.manifest.parent == batch.version != before.version:
                break
    assert (batch.manifest.definition, speed.manifest.definition) == (quick.fingerprint, quick.fingerprint)
    assert batch.manifest.trained_to >= rows.t[7000], "from the file in the store"


async def test_the_job_says_why_and_comes_once(store: FolderStore, quick: StreamDefinition, caplog):
    before = await current_of(store, quick, "batch")
    async with at_work(store, quick) as trainer:
        with caplog.at_level(logging.WARNING):
            await trainer.reconcile()
            job = await ended(trainer)
            await trainer.reconcile()
        assert (job.state, job.member, job.trigger, job.history) == ("published", "batch", "definition", LOCAL)
        assert f"{before.version} was made for another definition" in job.reason
        assert [record.message for record in caplog.records if before.version in record.message] == [
            f"a batch model is trained: {job.reason}"
        ]
        assert len(trainer.jobs()) == 2
    async with at_work(store, quick) as restarted:
        await restarted.reconcile()
        assert len(restarted.jobs()) == 2


async def test_a_changed_definition_is_the_same_case(store: FolderStore, quick: StreamDefinition, rows: Rows):
    await archive(store, quick, rows.take(slice(8000, 9700)))
    longer = quick.model_copy(update={"horizon": (1, 3)})
    async with at_work(store, longer) as trainer:
        await trainer.reconcile()
        assert (await ended(trainer)).state == "published"
    batch = await current_of(store, longer, "batch")
    assert batch.manifest.horizon == (1, 3)
    assert batch.manifest.trained_from < rows.t[4000], "from the file that the model before was made from"
    assert batch.manifest.trained_to > rows.t[8000], "and from the archive"


async def test_no_speed_model_is_tried_meanwhile(store: FolderStore, quick: StreamDefinition, rows: Rows):
    await archive(store, quick, rows.take(slice(8000, 9700)))
    idle = new_trainer(store, quick)
    for _ in range(3):
        await idle.reconcile()
    drifted = await idle.submit(quick.name, "speed", trigger="drift")
    assert [(job.member, job.state) for job in idle.jobs()][:2] == [("speed", "queued"), ("batch", "queued")]
    async with working(idle), asyncio.timeout(PATIENCE_S):
        assert (await idle.wait(idle.jobs()[1].id)).state == "published"
        assert idle.job(drifted.id).state == "queued"


async def test_without_history_it_says_so_once_and_trains_when_there_is_some(store: FolderStore, quick, rows, caplog):
    await forget_jobs(store)
    async with at_work(store, quick) as trainer:
        with caplog.at_level(logging.WARNING):
            await trainer.reconcile()
            await archive(store, quick, rows.take(slice(8000, 8500)))
            await trainer.reconcile()
        assert trainer.jobs() == []
        (said,) = [record.message for record in caplog.records if "no history" in record.message]
        assert f"history/{quick.name}/" in said
        await archive(store, quick, rows.take(slice(8000, 12_000)))
        await trainer.reconcile()
        assert (await ended(trainer)).trigger == "definition"


async def test_a_model_that_was_made_elsewhere_is_left_alone(store: FolderStore, quick: StreamDefinition, caplog):
    await describe(store, quick, "batch", architecture=manifests.IMPORTED)
    async with at_work(store, quick) as trainer:
        with caplog.at_level(logging.WARNING):
            await trainer.reconcile()
            await trainer.reconcile()
        assert len(trainer.jobs()) == 1
    assert len([record for record in caplog.records if "import it again" in record.message]) == 1


async def test_a_renewal_counts_for_the_budget_of_a_day(store: FolderStore, quick: StreamDefinition):
    async with at_work(store, quick, retrains_per_day=1, retrain_interval=0) as trainer:
        await trainer.reconcile()
        assert (await ended(trainer)).state == "published"
    await describe(store, quick, "batch", definition=former_fingerprint(quick))
    async with at_work(store, quick, retrains_per_day=1, retrain_interval=0) as restarted:
        await restarted.reconcile()
        waiting = restarted.jobs()[0]
        assert (waiting.trigger, waiting.state) == ("definition", "queued")
        assert (await restarted.wait((await restarted.submit(quick.name, "batch")).id)).id == waiting.id


async def test_of_two_trainers_one_trains(store: FolderStore, quick: StreamDefinition):
    one, two = new_trainer(store, quick), new_trainer(store, quick, port=1)
    await one.reconcile()
    await two.reconcile()
    assert len(one.jobs()) == len(two.jobs()) == 2
