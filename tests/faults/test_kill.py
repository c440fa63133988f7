"""An edge that is killed in the middle of a swap serves a whole version when it is back, with or without its store."""

import asyncio
import json
import sys
import uuid
from pathlib import Path

import pytest
import yaml

from driftline.folder import FolderStore
from driftline.metrics import Metrics
from driftline.releases import current
from driftline.s3 import S3Settings, S3Store
from driftline.signing import Trust
from driftline_cli import objects
from driftline_inference.cache import Cache
from driftline_inference.models import Models
from driftline_inference.versions import Fetcher
from driftline_trainer.publish import publish
from tests.conftest import ROOT
from tests.faults.conftest import SIGNER
from tests.s3_server import S3Server

PATIENCE_S = 240
pytestmark = pytest.mark.s3


async def test_kill_at_each_step_of_the_swap(s3_server: S3Server, stream, versions, tmp_path: Path):
    bucket = f"kill-{uuid.uuid4().hex[:8]}"
    await objects.prepare(s3_server.folder, s3_server.port, bucket)
    store = S3Store(S3Settings(bucket, endpoint=s3_server.endpoint))
    names = []
    for trained in versions:
        before = await current(store, stream.name, "batch")
        made = await publish(
            store, stream, "batch", trained, signer=SIGNER, before=before, parent=None, windows={}, now=0.0
        )
        names.append(made.version)
        if before is None:
            cache = Cache(FolderStore(tmp_path / "template"))
            models = Models(store, {stream.name: stream}, Metrics(), Fetcher(Trust([SIGNER.public])), cache)
            await models.reconcile()
    await store.close()
    file = ROOT / "streams" / "outdoor-temperature.yaml"
    assert yaml.safe_load(file.read_text())["name"] == stream.name
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.killed", str(file), bucket, s3_server.endpoint, SIGNER.public),
        *(str(tmp_path / "template"), str(tmp_path / "scratch")),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    steps = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert [step["killed"] for step in steps] == [True] * (len(steps) - 1) + [False]
    assert len(steps) > 15
    assert {step["offline"] for step in steps} == set(names), "the old or the new one, whole, and never none"
    assert {step["online"] for step in steps} == {names[1]}
