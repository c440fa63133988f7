"""The training process: apart from ours, replaced when it dies, and never left behind."""

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer.fit import Task
from driftline_trainer.process import ProcessDied, TrainingProcess

PATIENCE_S = 120

ENDLESS = """
import asyncio, sys
from pathlib import Path
from driftline.streams import definition_files, tables
from driftline_trainer.fit import Task
from driftline_trainer.process import TrainingProcess

async def main():
    stream = definition_files.load(Path("streams/outdoor-temperature.yaml"))
    training = stream.training.model_copy(update={"epochs": 1000})
    rows = tables.read_file(Path("data/la-haute-borne.parquet"), stream).take(slice(0, 8000))
    process = TrainingProcess()
    task = asyncio.ensure_future(process.train(Task(stream.model_copy(update={"training": training}), rows)))
    while process.pid is None:
        await asyncio.sleep(0)
    print(process.pid, flush=True)
    await task

if __name__ == "__main__":
    asyncio.run(main())
"""


def ended(pid: int) -> bool:
    """Whether the process ends in time; it need not be a child of ours."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], PATIENCE_S)[0])
    finally:
        os.close(handle)


@pytest.fixture
def process() -> Iterator[TrainingProcess]:
    started = TrainingProcess()
    yield started
    started.close()


@pytest.fixture
def endless(quick: StreamDefinition, rows: Rows) -> Task:
    training = quick.training.model_copy(update={"epochs": 1000})
    return Task(quick.model_copy(update={"training": training}), rows.take(slice(0, 8000)))


async def test_it_is_replaced_when_it_dies_at_work_and_when_it_dies_idle(process, quick, rows: Rows, endless: Task):
    task = Task(quick, rows.take(slice(0, 2000)))
    first = await process.train(task)
    working = asyncio.create_task(process.train(endless))
    await asyncio.sleep(0)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(ProcessDied, match="the training process died"):
        await working
    second = await process.train(task)
    killed = process.pid
    os.kill(killed, signal.SIGKILL)
    assert await asyncio.to_thread(ended, killed)
    third = await process.train(task)
    assert process.pid != killed
    assert first.metrics == second.metrics == third.metrics


async def test_closing_ends_it_in_the_middle_of_a_task(endless: Task):
    process = TrainingProcess()
    working = asyncio.create_task(process.train(endless))
    await asyncio.sleep(0)
    pid = process.pid
    process.close()
    assert await asyncio.to_thread(ended, pid)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.wait({working})
    assert working.cancelled() or isinstance(working.exception(), ProcessDied)


def test_it_does_not_outlive_a_parent_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
    assert ended(pid)


def test_the_service_itself_holds_no_tensorflow():
    held = "import sys, driftline_trainer.app; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", held], check=False).returncode == 0
