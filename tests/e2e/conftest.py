"""A short stretch of the real data, and the streams that the end-to-end tests run."""

from pathlib import Path

import pytest

from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from tests.conftest import ROOT

DAY_MS = 86_400_000
BEGIN = 1_420_070_400_000
"""2015-01-01, UTC."""


@pytest.fixture(scope="session")
def calm(temperature: StreamDefinition) -> StreamDefinition:
    """Outdoor temperature, trained quickly and never retrained, so that two runs have the same models."""
    training = temperature.training.model_copy(update={"epochs": 2, "units": (16,), "networks": 1})
    retraining = temperature.retraining.model_copy(update={"every": 1_000_000})
    return temperature.model_copy(update={"training": training, "retraining": retraining, "window": 100})


@pytest.fixture(scope="session")
def calm_folder(tmp_path_factory: pytest.TempPathFactory, calm: StreamDefinition) -> Path:
    """A folder with the definition of `calm` as a file."""
    folder = tmp_path_factory.mktemp("streams")
    text = (ROOT / "streams" / "outdoor-temperature.yaml").read_text()
    replaced = (
        text.replace("units: [128, 64]", "units: [16]")
        .replace("batch_size: 512", "batch_size: 512\n  epochs: 2\n  networks: 1")
        .replace("every: 1000 ", "every: 1000000 ")
        .replace("window: 250                      #", "window: 100                      #")
    )
    (folder / "calm.yaml").write_text(replaced)
    assert load(folder / "calm.yaml") == calm
    return folder


@pytest.fixture(scope="session")
def rows(temperature: StreamDefinition) -> Rows:
    """Half a year of history and some weeks to stream."""
    everything = tables.read_file(ROOT / "data" / "la-haute-borne.parquet", temperature)
    return everything.take((everything.t >= BEGIN - 60 * DAY_MS) & (everything.t < BEGIN + 30 * DAY_MS))


@pytest.fixture(scope="session")
def history(rows: Rows) -> Rows:
    return rows.take(rows.t < BEGIN)


@pytest.fixture(scope="session")
def later(rows: Rows) -> Rows:
    return rows.take(rows.t >= BEGIN)
