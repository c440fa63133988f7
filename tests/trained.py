"""Models that tests need but don't ask anything about: each is trained once a run, by whoever wants it first."""

import hashlib
from pathlib import Path

from driftline_trainer.fit import Task, Trained, train
from tests.shared import Shared


def trained_once(shared: Shared, task: Task) -> Trained:
    """What `train` makes of the task."""

    def make(_: Path) -> Trained:
        return train(task)

    return shared.once(f"trained-{_name(task)}", make)


def _name(task: Task) -> str:
    """The same for the same definition, rows and parent."""
    told = hashlib.sha256(task.stream.model_dump_json().encode())
    for part in (task.rows.t.tobytes(), task.rows.values.tobytes(), "\n".join(task.rows.keys.tolist()).encode()):
        told.update(part)
    for model in (task.weights, task.parent):
        told.update(model or b"none")
    return told.hexdigest()[:16]
