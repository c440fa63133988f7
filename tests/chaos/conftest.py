"""A scene without processes, for what judges."""

from pathlib import Path

import pytest

from driftline.errors import Unavailable
from driftline_cli import broker
from tests.chaos.scene import Scene, set_up

KEYS = 3
WINDOW = 4


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return set_up(tmp_path, seed=1, keys=KEYS, horizon=(1, 6), window=WINDOW, retrain_every=100, base=1_700_000_000_000)


@pytest.fixture(scope="session")
def kafka_here() -> None:
    """Skips, with the reason, where no Kafka can be had: what is killed can't be the one that others use."""
    try:
        broker.jars()
    except Unavailable as error:
        pytest.skip(str(error))
