"""Work on a Ray cluster that others run: one task a job. The only importer of Ray.

A task whose node is lost is run again by Ray itself, elsewhere; what a task raises comes back as it is.
"""

import asyncio
import logging
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar

import stamina

from driftline.errors import InvalidInput, Unavailable
from driftline_trainer import fit
from driftline_trainer.child import ProcessDied
from driftline_trainer.process import Device

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

RUNS_AGAIN = 3
"""Times that Ray runs a task again after its node or its worker was lost."""


class ClusterUnavailable(Unavailable):
    """The Ray cluster can't be reached."""


class RayCluster:
    """A connection that is made with the first work. address: `ray://HOST:PORT`, where Ray's client port listens.
    at_once: tasks at most; the cluster itself decides how many of them have room."""

    pid = None

    def __init__(self, address: str, *, at_once: int, device: Device = "auto") -> None:
        self.at_once = at_once
        self._address = address
        self._device = device
        self._session: _Session | None = None
        self._connecting = asyncio.Lock()

    async def train(self, task: fit.Task) -> fit.Trained:
        """See `driftline_trainer.process.Fitting`."""
        return await self.run(_train, self._device, task)

    async def run(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What `work` returns or raises on the cluster. Raises ProcessDied where it was lost RUNS_AGAIN times,
        ClusterUnavailable."""
        async with self._connecting:
            if self._session is None or not self._session.is_connected:
                self._session = await self._connected()
            session = self._session
        return await session.run(work, *given, **named)

    # A cluster that is busy takes longer to let somebody in than its client waits.
    @stamina.retry(on=ClusterUnavailable, attempts=4, timeout=None)
    async def _connected(self) -> "_Session":
        return await asyncio.to_thread(_Session, self._address, self._device)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


class _Session:
    """A connection to a cluster whose nodes run the same release. A process has one at most, since Ray's client has."""

    def __init__(self, address: str, device: Device) -> None:
        # Ray tells its makers who uses it, unless it is asked not to.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray  # noqa: PLC0415 - most trainers have none
        except ImportError as error:
            raise InvalidInput(
                "DRIFTLINE_TRAIN_ON: found no Ray, expected it to be installed: driftline-trainer[ray]"
            ) from error
        self._ray: Any = ray
        try:
            self._ray.init(address, ignore_reinit_error=True, log_to_driver=False, logging_level=logging.WARNING)
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            raise ClusterUnavailable(f"found no Ray cluster at {address}: {error}") from error
        gpus = self._ray.cluster_resources().get("GPU", 0.0) if device == "auto" else 0.0
        self._task = self._ray.remote(max_retries=RUNS_AGAIN, num_cpus=1, num_gpus=min(1.0, gpus))(_same_release)

    @property
    def is_connected(self) -> bool:
        return bool(self._ray.is_initialized())

    async def run(self, work: Callable[..., T], *given: Any, **named: Any) -> T:
        # In a thread, since large rows are sent here.
        reference = await asyncio.to_thread(self._task.remote, version("driftline"), work, *given, **named)
        try:
            answer: T = await asyncio.wrap_future(reference.future())
        except asyncio.CancelledError:
            self._ray.cancel(reference, force=True)
            raise
        except self._ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from error
        except (self._ray.exceptions.RayError, ConnectionError) as error:
            raise ProcessDied(f"the task was lost on the Ray cluster: {error}") from error
        return answer

    def close(self) -> None:
        self._ray.shutdown()


def _same_release(release: str, work: Callable[..., T], *given: Any, **named: Any) -> T:
    """On a node: what another release makes must not be published as ours. Raises InvalidInput."""
    own = version("driftline")
    if own != release:
        raise InvalidInput(f"the Ray cluster: found Driftline {own} on a node, expected {release} as on the trainer")
    return work(*given, **named)


def _train(device: Device, task: fit.Task) -> fit.Trained:
    fit.warm(device)
    return fit.train(task)
