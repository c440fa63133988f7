"""What the tests on root file systems share: the archive that `make pi` made, and a Debian that is at work."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pi import archives
from tests.pi.machine import RELEASES, Machine, booted, rootfs, unpack

MACHINE = "x86_64"


@pytest.fixture(scope="session")
def this(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archives.unpacked(MACHINE, tmp_path_factory.mktemp("this"))


@pytest.fixture(params=RELEASES)
def pi(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    root = tmp_path / request.param
    unpack(rootfs(request.param, MACHINE), root)
    with booted(root) as machine:
        yield machine
