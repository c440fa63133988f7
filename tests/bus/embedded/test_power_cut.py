"""When the power goes, at any moment, nothing that was acknowledged is missing."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bus.embedded.afterwards import check
from tests.bus.embedded.power_cut import Action, Disk, recorded
from tests.conftest import ROOT
from tests.shared import Shared

pytestmark = pytest.mark.process
SOURCE = Path(__file__).with_name("recorder.c")
LIVES = {"1000": 200, "0.0001": 200}
"""By hours of retention, the times of a key: first as much is kept as there is space, then what is young."""
CUTS = 40


def record(folder: Path) -> str:
    """Has two processes live on a folder, with all that they do to its files recorded."""
    library, path = folder / "recorder.so", folder / "record"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    names = {"RECORD_FOLDER": folder / "bus", "RECORD_ACKS": folder / "acks", "RECORD_TO": path, "LD_PRELOAD": library}
    for hours, times in LIVES.items():
        subprocess.run(
            [sys.executable, "-m", "tests.bus.embedded.life", folder / "bus", folder / "acks", str(times), "1", hours],
            env=os.environ | {name: str(value) for name, value in names.items()},
            cwd=ROOT,
            check=True,
        )
    return str(path)


@pytest.fixture(scope="module")
def actions(shared: Shared) -> list[Action]:
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler here")
    return list(recorded(Path(shared.once("power-cut", record))))


def test_the_record_holds_what_is_dangerous(actions: list[Action]):
    """Segments begin, are full, go, and are used again; everything is synced."""
    kinds = [action.kind for action in actions]
    assert set(kinds) >= {"O", "L", "W", "S", "D", "R", "A"}
    names = [action.data.decode() for action in actions if action.kind == "R"]
    assert sum(name.endswith(".spare") for name in names) > 5
    assert sum(name.endswith(".log") for name in names) > 5
    assert kinds.count("S") > 100


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0], ids=["nothing", "any half", "all"])
async def test_whatever_of_the_unsynced_is_left_nothing_acknowledged_is_missing(
    share: float, actions: list[Action], tmp_path: Path
):
    draw = random.Random(f"cuts {share}")
    # Anywhere, and wherever a segment begins or is used again.
    moments = {draw.randrange(len(actions)) for _ in range(CUTS)}
    turns = [number for number, action in enumerate(actions) if action.kind in "LRUD"]
    moments |= {min(turn + draw.randint(0, 4), len(actions) - 1) for turn in draw.sample(turns, min(CUTS, len(turns)))}
    disk = Disk()
    for number, action in enumerate(actions):
        if number in moments:
            folder = tmp_path / str(number)
            disk.cut(folder, draw, share)
            await check(folder, disk.acknowledged)
            shutil.rmtree(folder)
        disk.follow(action)


async def test_a_bus_that_does_not_sync_is_found_out(actions: list[Action], tmp_path: Path):
    """The test itself: without the last syncs something is missing."""
    disk = Disk()
    for action in actions[: len(actions) * 3 // 4]:
        disk.follow(action)
    for action in actions[len(actions) * 3 // 4 :]:
        if action.kind not in "SD":
            disk.follow(action)
    disk.cut(tmp_path / "bus", random.Random(1), 0.0)
    with pytest.raises(AssertionError):
        await check(tmp_path / "bus", disk.acknowledged)
