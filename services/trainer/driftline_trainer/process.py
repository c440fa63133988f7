"""The training process: one child that holds TensorFlow, replaced when it dies, and gone when we are gone."""

import asyncio
import multiprocessing
import os
import shutil
import tempfile
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from driftline.errors import DriftlineError
from driftline_trainer import fit


class ProcessDied(DriftlineError):
    """The child ended in the middle of a task: killed, or out of memory."""


class TrainingProcess:
    """Runs one task after the other in a child that starts with the first."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._leash: Connection | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return next(iter(self._pool._processes), None) if self._pool else None  # noqa: SLF001 - it has no public name

    async def train(self, task: fit.Task) -> fit.Trained:
        """See `fit.train`. Raises ProcessDied."""
        try:
            return await asyncio.wrap_future(self._submit(task))
        except BrokenProcessPool as error:
            self.close()
            raise ProcessDied("the training process died; the next job gets a new one") from error

    def close(self) -> None:
        """Ends the child, also in the middle of a task."""
        if self._leash is not None:
            self._leash.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._scratch is not None:
            self._scratch.cleanup()
        self._pool = self._leash = self._scratch = None

    def _submit(self, task: fit.Task) -> "Future[fit.Trained]":
        # Who died with nothing to do is replaced, and nothing is lost; the pool itself notices only a moment later.
        if self._dead():
            self.close()
        return self._started().submit(fit.train, task)

    def _dead(self) -> bool:
        return self._pool is not None and not all(child.is_alive() for child in self._pool._processes.values())  # noqa: SLF001

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            held, self._leash = context.Pipe(duplex=False)
            # TensorFlow leaves generated sources behind when it is not asked to end in peace.
            self._scratch = tempfile.TemporaryDirectory(prefix="driftline-training-", ignore_cleanup_errors=True)
            self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(held, self._scratch.name))
        return self._pool


def _begin(leash: Connection, scratch: str) -> None:
    """In the child: dies with its parent however that ends, and imports TensorFlow ahead of the first task."""
    tempfile.tempdir = scratch
    threading.Thread(target=_end_with, args=(leash, scratch), name="leash", daemon=True).start()
    fit.warm()


def _end_with(leash: Connection, scratch: str) -> None:
    try:
        leash.recv_bytes()
    except (EOFError, OSError):
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)
