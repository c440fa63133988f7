"""Jobs over a real store: published once, retrained when enough has come, never blocking, never twice."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import stamina
from pydantic import SecretStr

from driftline.errors import Conflict
from driftline.fleet.quarantine import quarantine
from driftline.fleet.reading import StoreHeartbeats
from driftline.metrics import Metrics
from driftline.models import manifest as manifests
from driftline.models.manifest import Manifest, Pointer, Quarantine
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.model_sections import Rollout
from driftline.streams.rows import Rows
from driftline.versions.releases import current
from driftline_trainer.app import create_app
from driftline_trainer.fit import Task
from driftline_trainer.process import TrainingProcess
from driftline_trainer.publish import publish
from driftline_trainer.rollouts.rollouts import Hand, Rollouts
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer
from tests.trainer.fleets import Fleet

HISTORY = "history/outdoor-temperature/first.parquet"
PATIENCE_S = 120


class Running:
    def __init__(
        self, settings: TrainerSettings, trainer: Trainer, store: FolderStore, client: httpx.AsyncClient
    ) -> None:
        self.settings = settings
        self.trainer = trainer
        self.store = store
        self.client = client


@pytest.fixture
async def running(lent: None, tmp_path: Path, quick: StreamDefinition, rows: Rows) -> AsyncIterator[Running]:
    async with run(tmp_path, quick, rows) as found:
        yield found


@pytest.fixture
async def running_apart(tmp_path: Path, quick: StreamDefinition, rows: Rows) -> AsyncIterator[Running]:
    """With a training process of its own."""
    async with run(tmp_path, quick, rows) as found:
        yield found


@asynccontextmanager
async def run(tmp_path: Path, quick: StreamDefinition, rows: Rows) -> AsyncIterator[Running]:
    store = FolderStore(tmp_path / "store")
    await store.put(HISTORY, tables.encode(rows.take(slice(0, 8000)), quick))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "local.parquet").write_bytes(tables.encode(rows.take(slice(0, 4000)), quick))
    (tmp_path / "secret.parquet").write_bytes(b"x")
    settings = TrainerSettings(store=str(tmp_path), data_dir=tmp_path / "data", store_poll=3600, retrain_interval=0)
    metrics = Metrics()
    trainer = Trainer(settings, store, {quick.name: quick}, metrics)
    app = create_app(settings, store, streams={quick.name: quick}, metrics=metrics, trainer=trainer)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trainer")
    # Without the watch, which would reconcile whenever it likes.
    async with working(trainer), asyncio.timeout(PATIENCE_S), client:
        yield Running(settings, trainer, store, client)


@asynccontextmanager
async def working(trainer: Trainer) -> AsyncIterator[None]:
    task = asyncio.create_task(trainer.run())
    yield
    await trainer.stop()
    await task


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


async def test_training_never_blocks_the_event_loop(running_apart: Running, quick: StreamDefinition):
    job = await running_apart.trainer.submit(quick.name, "batch", "local.parquet")
    waiting = asyncio.create_task(running_apart.trainer.wait(job.id))
    answered = []
    while not waiting.done():
        answered.append((await running_apart.client.get(f"/v1/jobs/{job.id}")).json()["state"])
        await asyncio.wait({waiting}, timeout=0.01)
    # A loop that is blocked until the training is over answers nothing in between.
    assert "running" in answered


async def test_the_speed_model_is_retrained_when_enough_has_come_and_not_twice(running, quick, rows: Rows):
    await running.trainer.wait((await running.trainer.submit(quick.name, "batch", HISTORY)).id)
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


def _newest(trainer: Trainer) -> tuple[str, str]:
    job = trainer.jobs()[0]
    return job.member, job.state


async def test_windows_that_a_lost_store_kept_from_being_learned_are_learned_later(running: Running, quick, rows: Rows):
    await running.trainer.wait((await running.trainer.submit(quick.name, "batch", "local.parquet")).id)
    await archive(running.store, quick, rows.take(slice(8000, 9700)))
    lock = running.store.root / ".lock"
    lock.unlink()
    lock.mkdir()
    await running.trainer.reconcile()
    assert _newest(running.trainer) == ("speed", "failed")
    lock.rmdir()
    await running.trainer.reconcile()
    assert _newest(running.trainer) == ("speed", "published")


async def test_another_trainer_does_not_learn_the_same_windows_again(running: Running, quick, rows: Rows):
    await running.trainer.wait((await running.trainer.submit(quick.name, "batch", "local.parquet")).id)
    await archive(running.store, quick, rows.take(slice(8000, 9700)))
    await running.trainer.reconcile()
    other = Trainer(running.settings, running.store, {quick.name: quick}, Metrics())
    await other.reconcile()
    assert other.jobs() == running.trainer.jobs()


async def test_a_changed_definition_has_no_speed_model_before_its_batch_model(running: Running, quick, rows: Rows):
    await running.trainer.wait((await running.trainer.submit(quick.name, "batch", "local.parquet")).id)
    old = await current(running.store, quick.name, "speed")
    await archive(running.store, quick, rows.take(slice(8000, 9700)))
    changed = quick.model_copy(update={"lags": 6})
    trainer = Trainer(running.settings, running.store, {quick.name: changed}, Metrics())
    async with working(trainer):
        refused = await trainer.wait((await trainer.submit(quick.name, "speed")).id)
        assert (refused.state, "found no model of this stream's definition" in refused.reason) == ("refused", True)
        assert (
            await trainer.wait((await trainer.submit(quick.name, "batch", "local.parquet")).id)
        ).state == "published"
        assert [job.member for job in trainer.jobs()] == ["batch", "speed"]
        new = await current(running.store, quick.name, "speed")
        assert manifests.version_number(new.version) == manifests.version_number(old.version) + 1
        assert new.manifest.definition == changed.fingerprint


async def test_windows_that_arrive_wake_the_trainer(running: Running, quick: StreamDefinition, rows: Rows):
    await running.trainer.wait((await running.trainer.submit(quick.name, "batch", "local.parquet")).id)
    app = create_app(running.settings, running.store, streams={quick.name: quick})
    async with app.router.lifespan_context(app):
        await archive(running.store, quick, rows.take(slice(8000, 9700)))
        async for _ in running.store.watch("models/", poll=1):
            speed = await current(running.store, quick.name, "speed")
            if manifests.version_number(speed.version) > 1:
                break
    assert speed.manifest.windows


async def test_a_model_on_trial_is_no_parent_until_all_edges_run_it(running: Running, quick, rows: Rows):
    batch = await running.trainer.wait((await running.trainer.submit(quick.name, "batch", "local.parquet")).id)
    for edge in ("one", "two"):
        await Fleet(running.store, quick, None, "batch").say(edge, batch.version, at=time.time())
    tried = await running.trainer.wait((await running.trainer.submit(quick.name, "batch", "local.parquet")).id)
    assert tried.state == "published"
    at = await current(running.store, quick.name, "batch")
    assert (at.version, at.pointer.trial.version) == (batch.version, tried.version)
    await archive(running.store, quick, rows.take(slice(8000, 9700)))
    await running.trainer.reconcile()
    speed = await current(running.store, quick.name, "speed")
    assert manifests.version_number(speed.manifest.parent) == 1, "the speed model goes on from itself"
    rollouts = Rollouts(
        running.store,
        {quick.name: quick},
        StoreHeartbeats(running.store),
        Metrics(),
        signer=None,
        poll=1.0,
        # Later, since manifests have whole seconds.
        clock=lambda: time.time() + 2,
    )
    await rollouts.advance(quick.name, "batch", Hand("ada", "fine"))
    assert (await current(running.store, quick.name, "batch")).version == tried.version
    tuned = await running.trainer.wait((await running.trainer.submit(quick.name, "speed")).id)
    assert (await current(running.store, quick.name, "speed")).manifest.parent == tried.version
    assert tuned.state == "published"


async def test_a_speed_model_on_trial_is_not_trained_again_on_the_same_windows(running: Running, quick, rows: Rows):
    staged = quick.model_copy(update={"rollout": Rollout(speed=("1", "100%"))})
    trainer = Trainer(running.settings, running.store, {quick.name: staged}, Metrics())
    async with working(trainer):
        await trainer.wait((await trainer.submit(quick.name, "batch", "local.parquet")).id)
        for edge in ("one", "two"):
            await Fleet(running.store, quick, None, "speed").say(edge, at=time.time())
        await archive(running.store, quick, rows.take(slice(8000, 9700)))
        await trainer.reconcile()
    stable = await current(running.store, quick.name, "speed")
    assert (manifests.version_number(stable.version), stable.manifest.windows) == (1, {})
    assert manifests.version_number(stable.pointer.trial.version) == 2
    other = Trainer(running.settings, running.store, {quick.name: staged}, Metrics())
    await other.reconcile()
    assert (await current(running.store, quick.name, "speed")).pointer == stable.pointer


async def test_a_version_that_was_taken_back_is_no_parent(running: Running, quick, rows: Rows):
    await running.trainer.wait((await running.trainer.submit(quick.name, "batch", "local.parquet")).id)
    speed = await current(running.store, quick.name, "speed")
    await quarantine(running.store, Quarantine(speed.version, "worse", 0.0, quick.name, "speed"), None)
    await archive(running.store, quick, rows.take(slice(8000, 9700)))
    await running.trainer.reconcile()
    batch, tuned = [await current(running.store, quick.name, member) for member in ("batch", "speed")]
    assert tuned.manifest.parent == batch.version
    assert manifests.version_number(tuned.version) == 2


async def test_without_a_named_history_all_files_and_windows_are_learned_from(running: Running, quick, rows: Rows):
    part = rows.take(slice(8000, 9700))
    await archive(running.store, quick, part)
    job = await running.trainer.wait((await running.trainer.submit(quick.name, "batch")).id)
    assert job.state == "published"
    learned = (await current(running.store, quick.name, "batch")).manifest
    assert learned.trained_from < rows.t[100]
    assert learned.trained_to > rows.t[8000]


async def test_one_job_at_a_time_for_a_model(running: Running, quick: StreamDefinition):
    first = await running.trainer.submit(quick.name, "batch", HISTORY)
    assert (await running.trainer.submit(quick.name, "batch")).id == first.id


@pytest.mark.parametrize(
    "history",
    [
        "../secret.parquet",
        "/etc/passwd",
        "none.parquet",
        "",
        "\0",
        "x" * 5000,
        "history/none",
        "history/../../secret.parquet",
    ],
)
async def test_a_history_that_can_not_be_had_fails_the_job_with_its_reason(running, quick, history: str):
    ended = await running.trainer.wait((await running.trainer.submit(quick.name, "batch", history)).id)
    assert ended.state == "failed"
    assert "history" in ended.reason


async def test_a_training_process_that_dies_fails_its_job_and_the_next_one_works(running_apart: Running, quick):
    job = await running_apart.trainer.submit(quick.name, "batch", "local.parquet")
    async for attempt in stamina.retry_context(on=LookupError, attempts=None, timeout=30, wait_max=0.1):
        with attempt:
            os.kill(_training_process(running_apart.trainer), signal.SIGKILL)
    ended = await running_apart.trainer.wait(job.id)
    assert (ended.state, ended.reason) == ("failed", "the training process died; the next job gets a new one")
    again = await running_apart.trainer.wait(
        (await running_apart.trainer.submit(quick.name, "batch", "local.parquet")).id
    )
    assert again.state == "published"
    assert again.submitted <= again.started <= again.ended


def _training_process(trainer: Trainer) -> int:
    """The process that trains. Raises LookupError before there is one."""
    if trainer.pid is None:
        raise LookupError
    return trainer.pid


async def test_only_ended_jobs_are_forgotten(tmp_path: Path, quick: StreamDefinition):
    settings = TrainerSettings(store=str(tmp_path), data_dir=tmp_path, jobs_remembered=1)
    trainer = Trainer(settings, FolderStore(tmp_path), {quick.name: quick}, Metrics())
    batch, speed = await trainer.submit(quick.name, "batch", "none"), await trainer.submit(quick.name, "speed")
    assert [job.id for job in trainer.jobs()] == [speed.id, batch.id]
    async with working(trainer), asyncio.timeout(PATIENCE_S):
        assert (await trainer.wait(speed.id)).state == "failed"
    assert [job.id for job in trainer.jobs()] == [speed.id]


async def test_who_has_no_token_starts_no_job(tmp_path: Path, quick: StreamDefinition):
    settings = TrainerSettings(store=str(tmp_path), data_dir=tmp_path, token=SecretStr("hunter2"))
    trainer = Trainer(settings, FolderStore(tmp_path), {quick.name: quick}, Metrics())
    app = create_app(settings, FolderStore(tmp_path), streams={quick.name: quick}, trainer=trainer)
    asked = {"stream": quick.name, "member": "batch"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trainer") as client:
        for wrong in ({}, {"Authorization": "Bearer hunter3"}, {"Authorization": "Basic hunter2"}):
            assert (await client.post("/v1/jobs", json=asked, headers=wrong)).status_code == 401
        assert trainer.jobs() == []
        right = {"Authorization": "Bearer hunter2"}
        assert (await client.post("/v1/jobs", json=asked, headers=right)).status_code == 202
        assert (await client.get("/v1/jobs")).json()[0]["state"] == "queued"


async def test_what_is_asked_wrongly_is_said_so(running: Running, quick: StreamDefinition):
    wrong = {"stream": "none", "member": "batch"}
    answer = await running.client.post("/v1/jobs", json=wrong)
    assert (answer.status_code, "found stream 'none'" in answer.text) == (422, True)
    answer = await running.client.post("/v1/jobs", json={"stream": quick.name, "member": "oracle"})
    assert answer.status_code == 422
    answer = await running.client.post("/v1/jobs", json={"stream": quick.name, "member": "speed", "history": "x"})
    assert (answer.status_code, "expected none" in answer.text) == (422, True)
    assert (await running.client.get("/v1/jobs/none")).status_code == 404


async def test_of_two_trainers_that_publish_at_once_one_sees_that_it_lost(
    training_process: TrainingProcess, tmp_path: Path, quick: StreamDefinition, rows: Rows
):
    store = FolderStore(tmp_path)
    one, two = [await training_process.train(Task(quick, rows.take(slice(0, n)))) for n in (3000, 3500)]

    async def put(trained) -> Manifest:
        return await publish(store, quick, "batch", trained, signer=None, before=None, parent=None, windows={}, now=0.0)

    outcomes = await asyncio.gather(put(one), put(two), return_exceptions=True)
    winners = [outcome for outcome in outcomes if isinstance(outcome, Manifest)]
    assert len(winners) == 1
    assert [type(outcome) for outcome in outcomes if outcome not in winners] == [Conflict]
    pointer = await store.get(manifests.pointer_key(quick.name, "batch"))
    assert manifests.decode(pointer.body, Pointer, "pointer").version == winners[0].version


@pytest.mark.usefixtures("lent")
async def test_a_candidate_that_the_gate_refuses_is_kept_with_its_report(tmp_path: Path, quick, rows: Rows):
    """A network that learns with a wild rate is worse than persistence."""
    training = quick.training.model_copy(update={"learning_rate": 30.0, "patience": 2})
    wild = quick.model_copy(update={"training": training})
    store = FolderStore(tmp_path / "store")
    await store.put(HISTORY, tables.encode(rows.take(slice(0, 6000)), wild))
    trainer = Trainer(TrainerSettings(store=str(tmp_path)), store, {wild.name: wild}, Metrics())
    async with working(trainer), asyncio.timeout(PATIENCE_S):
        ended = await trainer.wait((await trainer.submit(wild.name, "batch", HISTORY)).id)
    assert ended.state == "refused"
    assert ended.reason.startswith("gate: ")
    assert await current(store, wild.name, "batch") is None
    kept = [listed.key async for listed in store.list(manifests.refused_prefix(wild.name, "batch"))]
    assert [key.rpartition("/")[2] for key in kept] == ["model.tflite", "report.json"]
