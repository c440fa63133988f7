"""Trainings on a Ray cluster of two nodes: several at once, and none lost with a node."""

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import stamina

from driftline.errors import RefusedModel
from driftline.metrics import Metrics
from driftline.models.interpreter import Interpreter
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli import by_key
from driftline_trainer.fit import Task
from driftline_trainer.process import TrainingProcess
from driftline_trainer.ray_cluster import ClusterUnavailable, RayCluster
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer
from tests.conftest import ROOT
from tests.trainer.test_trainer import working

PATIENCE_S = 240
OF_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
"""Otherwise Ray takes the machine's own address for 127.0.0.1, and tells its makers."""


class Nodes:
    """The cluster of `tests.trainer.ray_nodes`, in a process of its own."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"ray://127.0.0.1:{port}"
        # The nodes find what the tests define.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.trainer.ray_nodes", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | OF_LOOPBACK,
        )
        self._says("ready")

    def kill_one(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._says("killed")

    def end(self) -> None:
        self._process.communicate(timeout=PATIENCE_S)

    def _says(self, word: str) -> None:
        assert self._process.stdout is not None
        # Ray writes lines of its own.
        while (line := self._process.stdout.readline()).strip() != word:
            assert line, f"the cluster ended before it was {word}"


pytestmark = pytest.mark.skipif("DRIFTLINE_RAY" not in os.environ, reason="needs a Ray cluster: make ray-test")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    started = Nodes()
    yield started
    started.end()


@pytest.fixture
async def cluster(nodes: Nodes) -> AsyncIterator[RayCluster]:
    connected = RayCluster(nodes.address, at_once=2, device="cpu")
    yield connected
    connected.close()


def held(folder: Path) -> int:
    """Says that it runs, and by which process, and ends when `folder/lock` is free."""
    (folder / f"{os.getpid()}.running").touch()
    with (folder / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
    return os.getpid()


@stamina.retry(on=LookupError, attempts=None, timeout=PATIENCE_S, wait_max=0.2)
def run_by(folder: Path, count: int) -> set[int]:
    """The processes that have said that they run, once there are so many."""
    pids = {int(marker.stem) for marker in folder.glob("*.running")}
    if len(pids) < count:
        raise LookupError
    return pids


async def test_what_runs_on_a_node_that_is_killed_runs_again_on_another(
    nodes: Nodes, cluster: RayCluster, tmp_path: Path
):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        both = [asyncio.ensure_future(cluster.run(held, tmp_path)) for _ in range(2)]
        before = await asyncio.to_thread(run_by, tmp_path, 2)
        await asyncio.to_thread(nodes.kill_one)
        after = await asyncio.to_thread(run_by, tmp_path, 3)
    pids = set(await asyncio.gather(*both))
    assert len(pids) == 2
    assert after - before <= pids, "the one that ran on the node that was killed ran again in another process"


async def test_a_model_of_the_cluster_is_the_one_that_is_trained_here(
    cluster: RayCluster, training_process: TrainingProcess, quick: StreamDefinition, rows: Rows
):
    task = Task(quick, rows.take(slice(0, 3000)))
    there, here = await asyncio.gather(cluster.train(task), training_process.train(task))
    inputs = np.array(here.golden.inputs, np.float32)
    scale = abs(Interpreter(here.model).run(inputs)).max()
    assert abs(Interpreter(there.model).run(inputs) - Interpreter(here.model).run(inputs)).max() <= 1e-4 * scale


async def test_what_a_task_raises_there_is_raised_here(cluster: RayCluster, quick: StreamDefinition, rows: Rows):
    with pytest.raises(RefusedModel, match="rows to learn from, expected at least 100"):
        await cluster.train(Task(quick, rows.take(slice(0, 50))))


async def test_jobs_of_two_streams_run_at_once_and_outlive_a_node(
    nodes: Nodes, tmp_path: Path, quick: StreamDefinition, rows: Rows
):
    streams = {name: quick.model_copy(update={"name": name}) for name in ("one", "two")}
    (tmp_path / "rows.parquet").write_bytes(tables.encode(rows.take(slice(0, 4000)), quick))
    settings = TrainerSettings(store=str(tmp_path), data_dir=tmp_path, train_on=nodes.address)
    trainer = Trainer(settings, FolderStore(tmp_path / "store"), streams, Metrics())
    async with working(trainer), asyncio.timeout(PATIENCE_S):
        jobs = [await trainer.submit(name, "batch", "rows.parquet") for name in streams]
        async for attempt in stamina.retry_context(on=LookupError, attempts=None, timeout=PATIENCE_S, wait_max=0.1):
            with attempt:
                all_run(trainer)
        await asyncio.to_thread(nodes.kill_one)
        ended = [await trainer.wait(job.id) for job in jobs]
    assert [job.state for job in ended] == ["published", "published"]


def all_run(trainer: Trainer) -> None:
    """Raises LookupError before they do."""
    if {job.state for job in trainer.jobs()} != {"running"}:
        raise LookupError


@pytest.mark.filterwarnings("ignore:Ray Client connection timed out")
async def test_a_cluster_that_is_away_fails_the_job_with_a_sentence():
    with pytest.raises(ClusterUnavailable, match=r"found no Ray cluster at ray://127\.0\.0\.1:1"):
        await RayCluster("ray://127.0.0.1:1", at_once=1).run(os.getpid)


def test_each_series_is_backtested_by_itself_on_the_cluster(
    nodes: Nodes, quick: StreamDefinition, rows: Rows, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DRIFTLINE_TRAIN_ON", nodes.address)
    keys = by_key.keys_of("all", rows)[:2]
    some = rows.take(slice(0, 12_000))
    counts: list[int] = []
    reports = by_key.run(
        quick,
        some,
        rows.take(slice(12_000, 14_000)),
        keys,
        drift="none",
        magnitude=None,
        seed=0,
        workers=1,
        done=lambda done, _: counts.append(done),
    )
    assert (list(reports), counts) == (keys, [1, 2])
    assert all(report.records > 0 for report in reports.values())
