"""A child process and those that follow it: what ends one leaves the next alone."""

import asyncio
import gc
import operator
import os
import signal
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from driftline_trainer import child
from driftline_trainer.child import ChildProcess, ProcessDied
from tests.trainer.test_process import ended

PATIENCE_S = 20


@pytest.fixture
def process() -> Iterator[ChildProcess]:
    started = ChildProcess("patient", gc.enable)
    yield started
    started.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Reading it takes as long as nobody writes."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


async def test_the_end_of_one_child_does_not_end_the_next(process: ChildProcess, pipe: Path):
    working = asyncio.create_task(process.run(pipe.read_bytes))
    await asyncio.sleep(0)
    os.kill(process.pid, signal.SIGKILL)
    # The loop does not turn meanwhile: the second work comes before the end of the first is known.
    assert ended(process.pid)
    second = await process.run(os.getpid)
    with pytest.raises(ProcessDied, match="the patient process died"):
        await working
    assert await process.run(os.getpid) == second


async def test_work_of_a_closed_child_ends_whether_or_not_there_is_another(process, pipe: Path, monkeypatch):
    monkeypatch.setattr(child, "LOOK_S", 0.1)
    working = asyncio.create_task(process.run(pipe.read_bytes))
    await asyncio.sleep(0)
    stopped = process.pid
    # Opens as soon as the child is at work.
    with await asyncio.to_thread(pipe.open, "wb"):
        os.kill(stopped, signal.SIGSTOP)
        # Before all of its threads have stopped it would see that it is closed, and end by itself.
        await asyncio.to_thread(os.waitid, os.P_PID, stopped, os.WSTOPPED)
        try:
            process.close()
            second = await process.run(os.getpid)
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(ProcessDied):
                    await working
        finally:
            os.kill(stopped, signal.SIGKILL)
    assert await process.run(os.getpid) == second != stopped


async def test_what_was_given_to_work_that_failed_is_let_go_at_once(process: ChildProcess):
    given = np.zeros(2)
    gone = weakref.ref(given)
    gc.disable()
    try:
        with suppress(TypeError):
            await process.run(operator.index, given)
        del given
        # The pool lets go of a work after it has said how it ended.
        await process.run(os.getpid)
        assert gone() is None
    finally:
        gc.enable()
