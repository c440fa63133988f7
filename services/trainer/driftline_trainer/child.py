"""A child process that does one thing after the other, replaced when it dies, and gone when we are gone."""

import asyncio
import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from typing import ParamSpec, TypeVar

from driftline.errors import DriftlineError

LOOK_S = 2.0
"""How often it is looked whether the child still lives while it works."""
P = ParamSpec("P")
T = TypeVar("T")


class ProcessDied(DriftlineError):
    """The child ended in the middle of its work: killed, or out of memory."""


class ChildProcess:
    """Starts with the first work. `begin` is what it does ahead of that, `what` what an error calls it."""

    def __init__(self, what: str, begin: Callable[[], None]) -> None:
        self._what = what
        self._begin = begin
        self._pool: ProcessPoolExecutor | None = None
        self._leash: Connection | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return next(iter(self._pool._processes), None) if self._pool else None  # noqa: SLF001 - it has no public name

    async def run(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` returns or raises there. Raises ProcessDied."""
        try:
            return await self._result(self._submit(work, *given, **named))
        except BrokenProcessPool as error:
            self.close()
            raise ProcessDied(f"the {self._what} process died; the next job gets a new one") from error

    async def _result(self, future: "Future[T]") -> T:
        """Raises BrokenProcessPool also where the pool has forgotten the work: Python 3.11 loses what is submitted in
        the moment in which it notices that the child is dead."""
        waiting, dead = asyncio.wrap_future(future), False
        while not (await asyncio.wait({waiting}, timeout=LOOK_S))[0]:
            # At the first look the pool may be about to say so itself.
            if dead:
                waiting.cancel()
                raise BrokenProcessPool("the child is dead, and its pool says nothing")
            dead = self._dead()
        return waiting.result()

    def close(self) -> None:
        """Ends the child, also in the middle of its work."""
        if self._leash is not None:
            self._leash.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._scratch is not None:
            self._scratch.cleanup()
        self._pool = self._leash = self._scratch = None

    def _submit(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> "Future[T]":
        # Who died with nothing to do is replaced, and nothing is lost; the pool itself notices only a moment later.
        if self._dead():
            self.close()
        return self._started().submit(work, *given, **named)

    def _dead(self) -> bool:
        # By the sentinel: `is_alive` says yes where the pool's own thread is just about to note the end.
        children = self._pool._processes.values() if self._pool else ()  # noqa: SLF001 - they have no public name
        return bool(wait([child.sentinel for child in children], timeout=0))

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            held, self._leash = context.Pipe(duplex=False)
            # TensorFlow leaves generated sources behind when it is not asked to end in peace.
            self._scratch = tempfile.TemporaryDirectory(prefix="driftline-trainer-", ignore_cleanup_errors=True)
            given = (held, self._scratch.name, self._begin)
            self._pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=given)
        return self._pool


def _begin(leash: Connection, scratch: str, begin: Callable[[], None]) -> None:
    """In the child: dies with its parent however that ends."""
    tempfile.tempdir = scratch
    threading.Thread(target=_end_with, args=(leash, scratch), name="leash", daemon=True).start()
    begin()


def _end_with(leash: Connection, scratch: str) -> None:
    try:
        leash.recv_bytes()
    except (EOFError, OSError):
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)
