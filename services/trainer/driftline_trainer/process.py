"""Where models are fitted: in one child process that holds TensorFlow, or on a cluster that others run."""

from functools import partial
from typing import Literal, Protocol

from driftline_trainer import fit
from driftline_trainer.child import ChildProcess, ProcessDied

__all__ = ["Device", "Fitting", "ProcessDied", "TrainingProcess"]

Device = Literal["auto", "cpu"]
"""What trains: a GPU where TensorFlow finds one, or never."""


class Fitting(Protocol):
    """Fits models. Two implementations: `TrainingProcess` and `driftline_trainer.ray_cluster.RayCluster`."""

    @property
    def at_once(self) -> int:
        """So many tasks may be under way."""

    @property
    def pid(self) -> int | None:
        """Process id of the child that trains, where there is one."""

    async def train(self, task: fit.Task) -> fit.Trained:
        """See `fit.train`. Raises ProcessDied, and Unavailable where it can't be reached now."""

    def close(self) -> None:
        """Ends what is under way."""


class TrainingProcess:
    """Runs one task after the other in a child that starts with the first, TensorFlow imported ahead of it."""

    at_once = 1

    def __init__(self, device: Device = "cpu") -> None:
        self._child = ChildProcess("training", partial(fit.warm, device))

    @property
    def pid(self) -> int | None:
        """The child's process id, while there is one."""
        return self._child.pid

    async def train(self, task: fit.Task) -> fit.Trained:
        """See `fit.train`. Raises ProcessDied."""
        return await self._child.run(fit.train, task)

    def close(self) -> None:
        """Ends the child, also in the middle of a task."""
        self._child.close()
