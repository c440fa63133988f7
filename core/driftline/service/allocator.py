"""How the process keeps memory that is free again: what a batch needs is kept for the next, what is more is given back.

glibc learns from the first large blocks that are freed to cut later ones of their size out of a heap that only grows: a
worker that restores thousands of states would keep for good what it needed for a moment. But a block that is mapped by
itself costs a call and its pages each time: with all blocks of 32 KiB and more mapped, the arrays of a hundred series
among them, a forecast took twice as long.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""As in glibc's malloc.h."""
LARGE = 1024 * 1024
"""Blocks from here on are mapped by themselves, and given back when they are freed."""
SPARE = 16 * LARGE
"""That is free at the end of the heap, and kept."""
YOUNG = (100_000, 20, 100)
"""After how many new objects, and after how many looks, the collector looks for cycles: a batch makes thousands that
all go without it. At Python's own numbers (700, 10, 10) it takes a fifth of a worker's time, and at 20,000, which the
batches of the edge's four workers pass together, a tenth."""


TRIM_S = 60.0
"""How often memory that is free in the middle of the heap is given back."""


def set_up() -> None:
    """Once in a process that serves. Other C libraries than glibc have no such settings, and are left as they are."""
    gc.set_threshold(*YOUNG)
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, SPARE)


def trim() -> None:
    """Gives back what is free: 400 MB in 40 ms, and in no time when there is little."""
    malloc_trim = _of_glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
    return function


class MemoryTrimmer:
    """Trims now and then; see `driftline.service.app.BackgroundJob`."""

    name = "memory"

    def __init__(self) -> None:
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(TRIM_S):
                    await self._stopping.wait()
            await asyncio.to_thread(trim)

    async def stop(self) -> None:
        self._stopping.set()
