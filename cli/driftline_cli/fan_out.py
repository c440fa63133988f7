"""The same work on many things at once: in processes of this machine, or on the Ray cluster that DRIFTLINE_TRAIN_ON
names."""

import asyncio
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

from driftline_trainer.ray_cluster import RayCluster

T = TypeVar("T")

ON = "DRIFTLINE_TRAIN_ON"
Done = Callable[[int, int], None]
"""Called with how many are done, of how many."""


def fan_out(work: Callable[..., T], given: Sequence[tuple[Any, ...]], *, workers: int, done: Done) -> list[T]:
    """What `work` returns for each of `given`, in their order. workers: how many at once on this machine. Raises what
    the work raises, and Unavailable where the cluster can't be reached."""
    if address := os.environ.get(ON):
        return asyncio.run(_on_cluster(address, work, given, done))
    # Not forked: TensorFlow and the services' threads do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [pool.submit(work, *arguments) for arguments in given]
        for count, _ in enumerate(as_completed(futures), 1):
            done(count, len(futures))
        return [future.result() for future in futures]


async def _on_cluster(address: str, work: Callable[..., T], given: Sequence[tuple[Any, ...]], done: Done) -> list[T]:
    cluster = RayCluster(address, at_once=len(given))
    ended = 0

    async def one(arguments: tuple[Any, ...]) -> T:
        nonlocal ended
        answer = await cluster.run(work, *arguments)
        ended += 1
        done(ended, len(given))
        return answer

    try:
        return list(await asyncio.gather(*map(one, given)))
    finally:
        cluster.close()
