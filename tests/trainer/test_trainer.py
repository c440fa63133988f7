"""Jobs over a real store: published once, retrained when enough has come, never blocking, never twice."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import stamina

from driftline import manifest as manifests
from driftline import tables
from driftline.definition import StreamDefinition
from driftline.errors import Conflict
from driftline.folder import FolderStore
from driftline.manifest import Manifest, Pointer
from driftline.metrics import Metrics
from driftline.tables import Rows
from driftline_trainer.app import create_app
from driftline_trainer.publish import current, publish
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer

HISTORY = "history/outdoor-temperature/first.parquet"
PATIENCE_S = 120


class Running:
    def __init__(self, trainer: Trainer, store: FolderStore, client: httpx.AsyncClient) -> None:
        self.trainer = trainer
        self.store = store
        self.client = client


@pytest.fixture
async def running(tmp_path: Path, quick: StreamDefinition, rows: Rows) -> AsyncIterator[Running]:
    store = FolderStore(tmp_path / "store")
    await store.put(HISTORY, tables.encode(rows.take(slice(0, 8000)), quick))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "local.parquet").write_bytes(tables.encode(rows.take(slice(0, 4000)), quick))
    (tmp_path / "secret.parquet").write_bytes(b"x")
    settings = TrainerSettings(store=str(tmp_path), data_dir=tmp_path / "data", store_poll=3600)
    metrics = Metrics()
    trainer = Trainer(settings, store, {quick.name: quick}, metrics)
    app = create_app(settings, store, streams={quick.name: quick}, metrics=metrics, trainer=trainer)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trainer")
    async with app.router.lifespan_context(app), asyncio.timeout(PATIENCE_S), client:
        yield Running(trainer, store, client)


async def archive(store: FolderStore, stream: StreamDefinition, rows: Rows, begin: int = 0) -> None:
    """What ingest's archive does: full windows of each key."""
    for key, series in rows.by_key().items():
        for start in range(0, len(series) - stream.window + 1, stream.window):
            part = series.take(slice(start, start + stream.window))
            name = f"windows/{stream.name}/{key}/{begin + start:012d}-{begin + start + stream.window - 1:012d}.parquet"
            await store.put(name, tables.encode(part, stream))


async def test_a_batch_job_publishes_and_the_speed_model_begins_with_it(running: Running, quick: StreamDefinition):
    asked = {"stream": quick.name, "member": "batch", "history": HISTORY}
    job = (await running.client.post("/v1/jobs", json=asked)).json()
    ended = await running.trainer.wait(job["id"])
    assert (ended.state, ended.reason) == ("published", None)
    batch = await current(running.store, quick.name, "batch")
    speed = await current(running.store, quick.name, "speed")
    assert batch.version == ended.version
    assert speed.manifest.parent == batch.version
    assert speed.manifest.sha256 == batch.manifest.sha256
    told = (await running.client.get(f"/v1/jobs/{job['id']}")).json()
    assert told["state"] == "published"
    assert told["metrics"]["skill"] > 0


async def test_training_never_blocks_the_event_loop(running: Running, quick: StreamDefinition):
    job = running.trainer.submit(quick.name, "batch", "local.parquet")
    beats = 0
    waiting = asyncio.create_task(running.trainer.wait(job.id))
    while not waiting.done():
        await asyncio.wait({waiting}, timeout=0.01)
        beats += 1
    assert beats > 50


async def test_the_speed_model_is_retrained_when_enough_has_come_and_not_twice(running, quick, rows: Rows):
    await running.trainer.wait(running.trainer.submit(quick.name, "batch", HISTORY).id)
    await archive(running.store, quick, rows.take(slice(8000, 8900)))
    await running.trainer.reconcile()
    assert (await current(running.store, quick.name, "speed")).manifest.windows == {}
    await archive(running.store, quick, rows.take(slice(8000, 9700)))
    await running.trainer.reconcile()
    tuned = await current(running.store, quick.name, "speed")
    assert len(tuned.manifest.windows) == 4
    assert manifests.version_number(tuned.version) == 2
    await running.trainer.reconcile()
    assert (await current(running.store, quick.name, "speed")).version == tuned.version


async def test_one_job_at_a_time_for_a_model(running: Running, quick: StreamDefinition):
    first = running.trainer.submit(quick.name, "batch", HISTORY)
    assert running.trainer.submit(quick.name, "batch").id == first.id


@pytest.mark.parametrize("history", ["../secret.parquet", "/etc/passwd", "none.parquet", "history/none"])
async def test_a_history_that_can_not_be_had_fails_the_job_with_its_reason(running, quick, history: str):
    ended = await running.trainer.wait(running.trainer.submit(quick.name, "batch", history).id)
    assert ended.state == "failed"
    assert "history" in ended.reason


async def test_a_training_process_that_dies_fails_its_job_and_the_next_one_works(running, quick):
    job = running.trainer.submit(quick.name, "batch", "local.parquet")
    async for attempt in stamina.retry_context(on=LookupError, attempts=None, timeout=30, wait_max=0.1):
        with attempt:
            os.kill(_training_process(running.trainer), signal.SIGKILL)
    ended = await running.trainer.wait(job.id)
    assert (ended.state, ended.reason) == ("failed", "the training process died; the next job gets a new one")
    again = await running.trainer.wait(running.trainer.submit(quick.name, "batch", "local.parquet").id)
    assert again.state == "published"


def _training_process(trainer: Trainer) -> int:
    """The process that trains. Raises LookupError before there is one."""
    if trainer._pool is None:
        raise LookupError
    return next(iter(trainer._pool._processes))


async def test_what_is_asked_wrongly_is_said_so(running: Running, quick: StreamDefinition):
    wrong = {"stream": "none", "member": "batch"}
    answer = await running.client.post("/v1/jobs", json=wrong)
    assert (answer.status_code, "found stream 'none'" in answer.text) == (422, True)
    answer = await running.client.post("/v1/jobs", json={"stream": quick.name, "member": "oracle"})
    assert answer.status_code == 422
    assert (await running.client.get("/v1/jobs/none")).status_code == 404


async def test_of_two_trainers_that_publish_at_once_one_sees_that_it_lost(tmp_path, quick, rows: Rows):
    from driftline_trainer.fit import Task, train  # noqa: PLC0415

    store = FolderStore(tmp_path)
    one, two = (train(Task(quick, rows.take(slice(0, n)))) for n in (3000, 3500))

    async def put(trained) -> Manifest:
        return await publish(store, quick, "batch", trained, before=None, parent=None, windows={}, now=0.0)

    outcomes = await asyncio.gather(put(one), put(two), return_exceptions=True)
    winners = [outcome for outcome in outcomes if isinstance(outcome, Manifest)]
    assert len(winners) == 1
    assert [type(outcome) for outcome in outcomes if outcome not in winners] == [Conflict]
    pointer = await store.get(manifests.pointer_key(quick.name, "batch"))
    assert manifests.decode(pointer.body, Pointer, "pointer").version == winners[0].version
