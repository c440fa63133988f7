"""A disk that is full soon."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftline.bus.embedded import EmbeddedSettings
from tests.bus.conftest import PARTITIONS


def settings(folder: Path) -> EmbeddedSettings:
    """Of a bus with small segments."""
    return EmbeddedSettings(folder, PARTITIONS, retention_bytes=8 * 64_000)


def mount(*options: object) -> None:
    subprocess.run(["mount", *map(str, options)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that has less space than the bus may take."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", disk)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
