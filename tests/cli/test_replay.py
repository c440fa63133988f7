"""`driftline replay` and `train` as programs read them, against a real ingest and a real trainer."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from driftline.bus.memory import MemoryBus
from driftline.store.folder import FolderStore
from driftline.streams.definition_files import load
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings
from driftline_trainer.app import create_app as create_trainer
from driftline_trainer.settings import TrainerSettings
from tests.cli.test_command import DEFINITION
from tests.serving import served

pytestmark = pytest.mark.process


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(DEFINITION)
    return tmp_path / "a.yaml"


async def told(*words: str, **environment: str) -> tuple[int, dict[str, object]]:
    """The exit code, and what was written on standard output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "driftline_cli", *words),
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out, err.decode()
    return process.returncode or 0, json.loads(out)


async def test_replay_tells_what_became_of_the_records(definition: Path, tmp_path: Path):
    rows = tmp_path / "rows.csv"
    rows.write_text("t,y\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:01Z,2\n2026-01-01T00:00:01Z,2\n")
    app = create_ingest(
        IngestSettings(), MemoryBus(1), FolderStore(tmp_path / "store"), streams={"a": load(definition)}
    )
    words = ("replay", "--stream", str(definition), "--data", str(rows), "--json", "--to")
    async with served(app) as address:
        code, receipt = await told(*words, f"http://{address}")
    assert code == 0
    assert {name: receipt[name] for name in ("accepted", "repeated", "out_of_order", "refused_total")} == {
        "accepted": 2,
        "repeated": 1,
        "out_of_order": 0,
        "refused_total": 0,
    }


async def test_train_tells_how_the_job_ended(definition: Path, tmp_path: Path):
    store = FolderStore(tmp_path / "store")
    app = create_trainer(TrainerSettings(), store, streams={"a": load(definition)})
    async with served(app) as address:
        code, job = await told("train", "--stream", str(definition), "--json", "--trainer", f"http://{address}")
    assert code == 1
    assert (job["stream"], job["member"]) == ("a", "batch")
    assert job["state"] in {"refused", "failed"}
    assert job["reason"]
