"""Real rows, and a definition that trains in a second."""

import pytest

from driftline import tables
from driftline.definition import StreamDefinition
from driftline.tables import Rows
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def rows(temperature: StreamDefinition) -> Rows:
    return tables.read_file(ROOT / "data" / "la-haute-borne.parquet", temperature).take(slice(0, 40_000))


@pytest.fixture(scope="session")
def quick(temperature: StreamDefinition) -> StreamDefinition:
    training = temperature.training.model_copy(update={"epochs": 2, "units": (16,), "batch_size": 256})
    return temperature.model_copy(update={"training": training, "window": 100})
