"""A process that is killed again and again folds everything once, in order, and puts nothing out twice."""

import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bus.embedded.afterwards import check, newest
from tests.conftest import ROOT

pytestmark = pytest.mark.process
KILLS = 20
LONGEST_S = 0.4


def live(folder: Path, acks: Path, seed: int, seconds: float) -> int:
    """A life of so many seconds; its exit status."""
    command = [sys.executable, "-m", "tests.bus.embedded.life", str(folder), str(acks), "100000", str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"lives\n"
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
    return process.returncode


async def test_what_is_killed_at_random_goes_on_without_a_loss_or_a_repeat(tmp_path: Path):
    draw = random.Random("kills")
    folder, acks = tmp_path / "bus", tmp_path / "acks"
    statuses = [live(folder, acks, seed, draw.uniform(0, LONGEST_S)) for seed in range(KILLS)]
    assert statuses == [-9] * KILLS
    acknowledged = acks.read_text().splitlines()
    assert min(newest(acknowledged, "published").values()) > KILLS
    await check(folder, acknowledged)
