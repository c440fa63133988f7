"""The training process: the one child that holds TensorFlow, imported ahead of the first task."""

from driftline_trainer import fit
from driftline_trainer.child import ChildProcess, ProcessDied

__all__ = ["ProcessDied", "TrainingProcess"]


class TrainingProcess:
    """Runs one task after the other in a child that starts with the first."""

    def __init__(self) -> None:
        self._child = ChildProcess("training", fit.warm)

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
