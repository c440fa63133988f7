"""A scene without processes, for what judges."""

from pathlib import Path

import pytest

from tests.chaos.scene import Scene, set_up

KEYS = 3
WINDOW = 4


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return set_up(tmp_path, seed=1, keys=KEYS, horizon=(1, 6), window=WINDOW, retrain_every=100, base=1_700_000_000_000)
