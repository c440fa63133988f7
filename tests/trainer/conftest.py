"""Real rows, a definition that trains in a second, and a training process that trainers lend each other."""

from collections.abc import Iterator

import pytest

from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer import training
from driftline_trainer.fit import Task, Trained
from driftline_trainer.process import TrainingProcess
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def rows(temperature: StreamDefinition) -> Rows:
    return tables.read_file(ROOT / "data" / "la-haute-borne.parquet", temperature).take(slice(0, 40_000))


@pytest.fixture(scope="session")
def quick(temperature: StreamDefinition) -> StreamDefinition:
    training = temperature.training.model_copy(update={"epochs": 2, "units": (16,), "networks": 1, "batch_size": 256})
    return temperature.model_copy(update={"training": training, "window": 100})


class Lent(TrainingProcess):
    """Goes on for the next trainer when it is closed with nothing to do: to import TensorFlow takes seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._at_work = 0

    async def train(self, task: Task) -> Trained:
        self._at_work += 1
        try:
            return await super().train(task)
        finally:
            self._at_work -= 1

    def close(self) -> None:
        if self._at_work:
            super().close()

    def end(self) -> None:
        super().close()


@pytest.fixture(scope="session")
def training_process() -> Iterator[Lent]:
    found = Lent()
    yield found
    found.end()


@pytest.fixture
def lent(training_process: Lent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trainer that is made from now on trains there."""
    monkeypatch.setattr(training, "TrainingProcess", lambda _device: training_process)
