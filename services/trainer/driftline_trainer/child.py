"""A child process that does one thing after the other, replaced when it dies, and gone when we are gone."""

import asyncio
import multiprocessing
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
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
        self._child: _Child | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid if self._child is not None else None

    async def run(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` returns or raises there. Raises ProcessDied."""
        # Kept to the end: meanwhile the current child may have become another one, which has nothing to do with this.
        child = self._living()
        try:
            return await child.run(work, *given, **named)
        except BrokenProcessPool as error:
            self._end(child)
            raise ProcessDied(f"the {self._what} process died; the next job gets a new one") from error

    def close(self) -> None:
        """Ends the child, also in the middle of its work."""
        if self._child is not None:
            self._end(self._child)

    def _living(self) -> "_Child":
        # Who died with nothing to do is replaced, and nothing is lost; the pool itself notices only a moment later.
        if self._child is not None and self._child.dead:
            self._end(self._child)
        if self._child is None:
            self._child = _Child.started(self._begin)
        return self._child

    def _end(self, child: "_Child") -> None:
        child.close()
        if self._child is child:
            self._child = None


@dataclass(frozen=True)
class _Child:
    """One process, with what ends together with it."""

    pool: ProcessPoolExecutor
    leash: Connection
    scratch: "tempfile.TemporaryDirectory[str]"

    @classmethod
    def started(cls, begin: Callable[[], None]) -> "_Child":
        context = multiprocessing.get_context("spawn")
        held, leash = context.Pipe(duplex=False)
        # TensorFlow leaves generated sources behind when it is not asked to end in peace.
        scratch = tempfile.TemporaryDirectory(prefix="driftline-trainer-", ignore_cleanup_errors=True)
        pool = ProcessPoolExecutor(1, context, initializer=_begin, initargs=(held, scratch.name, begin))
        return cls(pool, leash, scratch)

    @property
    def pid(self) -> int | None:
        return next(iter(self.pool._processes), None)  # noqa: SLF001 - it has no public name

    @property
    def dead(self) -> bool:
        """Also where it was closed: then nothing comes of it any more."""
        if self.leash.closed:
            return True
        # By the sentinel: `is_alive` says yes where the pool's own thread is just about to note the end.
        processes = self.pool._processes.values()  # noqa: SLF001 - they have no public name
        return bool(wait([process.sentinel for process in processes], timeout=0))

    async def run(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Raises BrokenProcessPool also where the pool has forgotten the work: Python 3.11 loses what is submitted in
        the moment in which it notices that the child is dead."""
        waiting, dead = asyncio.wrap_future(self.pool.submit(work, *given, **named)), False
        while not (await asyncio.wait({waiting}, timeout=LOOK_S))[0]:
            # At the first look the pool may be about to say so itself.
            if dead:
                waiting.cancel()
                raise BrokenProcessPool("the child is dead, and its pool says nothing")
            dead = self.dead
        if waiting.cancelled():
            # By `close`. As it is, it would end the task that waits, which nobody has cancelled.
            raise BrokenProcessPool("the child was closed before the work began")
        try:
            return waiting.result()
        finally:
            # What it raises knows this frame: together they would keep what was given until garbage is collected.
            del waiting

    def close(self) -> None:
        self.leash.close()
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.scratch.cleanup()


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
