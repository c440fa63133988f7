"""An edge as a real process leaves its states when it ends; a new data folder goes on as that edge, by the command."""

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from driftline.messages import Blend
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from driftline_cli.replay import chunks, post
from driftline_client import AsyncClient
from tests.cli.test_doctor import driftline
from tests.conftest import ROOT
from tests.edge.edge_process import EdgeProcess, Left
from tests.edge.test_process import blended, records

pytestmark = pytest.mark.process
BEFORE, AFTER = 1000, 100


@pytest.fixture(scope="module")
def stream() -> StreamDefinition:
    return load(ROOT / "streams" / "outdoor-temperature.yaml")


async def send(edge: EdgeProcess, stream: StreamDefinition, sent: Rows) -> None:
    async with AsyncClient(ingest=edge.url("ingest"), patience=60) as client:
        for part in chunks(sent, 100):
            receipt = await post(client, stream, part)
            assert receipt.refused_total + receipt.out_of_order == 0


async def run(folder: Path, environment: dict[str, str], stream: StreamDefinition, sent: Rows) -> list[Blend]:
    """An edge from its start to its end, and the newest blends that it leaves, one a record."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with EdgeProcess(folder, environment) as edge:
        await edge.all_ready()
        await send(edge, stream, sent)
        await blended(edge, stream, sent)
        assert await edge.end() == -15
        assert "Traceback" not in edge.log
    times = set(sent.t.tolist())
    return sorted(
        (blend for blend in await Left(edge.data).blends() if blend.t in times), key=lambda blend: (blend.t, blend.key)
    )


def without_times(blend: Blend) -> Blend:
    """But for when its record was received."""
    return structs.replace(blend, received=0.0)


async def test_a_new_device_forecasts_what_the_old_one_would_have(tmp_path: Path, stream: StreamDefinition):
    (tmp_path / "fleet.key").write_bytes(bytes(range(32)))
    rows = records(stream, BEFORE + AFTER)
    first, second = rows.take(slice(0, BEFORE)), rows.take(slice(BEFORE, None))
    environment = {
        "DRIFTLINE_STORE": str(tmp_path / "store"),
        "DRIFTLINE_FLEET_KEY_FILE": str(tmp_path / "fleet.key"),
        "DRIFTLINE_STREAMS": str(ROOT / "streams"),
    }
    await run(tmp_path / "old", environment, stream, first)
    old_id = await Left(tmp_path / "old" / "edge").id()
    assert (tmp_path / "store" / "states" / old_id / "index").is_file()
    new = str(tmp_path / "new" / "edge")
    # The old one reported a moment ago, so that without a word it could still be alive.
    asked = ("edge", "replace", old_id, "--folder", new)
    refused = driftline(*asked, **environment)
    assert (refused.returncode, "--force" in refused.stderr) == (1, True)
    replacing = driftline(*asked, "--force", **environment)
    assert (replacing.returncode, replacing.stderr) == (0, "")
    assert f"this device is the edge {old_id} now, with " in replacing.stdout
    # Only now: what the old one goes on to leave is not what the new one begins with.
    expected = await run(tmp_path / "old", environment, stream, second)
    blends = await run(tmp_path / "new", environment, stream, second)
    assert len(blends) == AFTER
    assert [*map(without_times, blends)] == [*map(without_times, expected)]
    assert await Left(tmp_path / "new" / "edge").id() == old_id


def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path):
    store, folder = {"DRIFTLINE_STORE": str(tmp_path / "store")}, str(tmp_path / "new")
    without = driftline("edge", "replace", "old1", "--folder", folder, **store)
    assert without.returncode == 1
    assert "DRIFTLINE_FLEET_KEY_FILE: found nothing, expected the file of the fleet's key" in without.stderr
    (tmp_path / "key").write_bytes(bytes(32))
    unknown = driftline(
        "edge", "replace", "old1", "--folder", folder, **store, DRIFTLINE_FLEET_KEY_FILE=str(tmp_path / "key")
    )
    assert unknown.returncode == 1
    assert "found no states of the edge 'old1' (states/old1/index)" in unknown.stderr
    (tmp_path / "key").write_bytes(bytes(31))
    for command in (["edge"], ["edge", "replace", "old1"], ["backup", str(tmp_path / "file")]):
        wrong = driftline(*command, "--folder", folder, **store, DRIFTLINE_FLEET_KEY_FILE=str(tmp_path / "key"))
        assert (wrong.returncode, "found no key of 32 bytes" in wrong.stderr) == (1, True)
