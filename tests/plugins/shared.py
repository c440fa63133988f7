"""The run's shared folder: given to every worker, and what was started in it ended with the run."""

from contextlib import suppress
from pathlib import Path

import pytest

from driftline.errors import Unavailable
from driftline_cli import broker
from tests.shared import Shared

WORKER = "workerinput"
"""What pytest-xdist gives the configuration of a worker."""


def _folder(config: pytest.Config) -> Path:
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    # A worker's own is a folder in that of the run.
    return (base.parent if hasattr(config, WORKER) else base) / "shared"


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest) -> Shared:
    return Shared(_folder(request.config))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Fetches Kafka's jars before workers do so side by side."""
    config = session.config
    if getattr(config.option, "numprocesses", None) and config.option.markexpr != "unit":
        with suppress(Unavailable):
            broker.jars()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, WORKER):
        Shared(_folder(session.config)).end()
