"""What `driftline up` starts: the edge as one process, the trainer as another, a folder between them."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import stamina

from driftline.errors import Conflict
from driftline.names import EDGE, EDGE_SERVICES
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline.streams.tables import encode
from driftline_cli import processes, tokens
from driftline_cli.edge_stack import EdgeStack, of_folder
from driftline_cli.replay import post
from driftline_cli.stack import Ports, Stack
from driftline_client import AsyncClient
from tests.edge.edge_process import Left

pytestmark = [pytest.mark.e2e, pytest.mark.training]
PATIENCE_S = 400
"""On a slow machine a training takes minutes."""


@pytest.fixture
async def stack(tmp_path: Path, calm: StreamDefinition, calm_folder: Path, history: Rows) -> AsyncIterator[EdgeStack]:
    data = tmp_path / "data"
    data.mkdir()
    (data / "history.parquet").write_bytes(encode(history, calm))
    found = EdgeStack(tmp_path / "run", calm_folder, ports=Ports.free(), environment={"DRIFTLINE_DATA_DIR": str(data)})
    yield found
    found.down()


async def train(stack: EdgeStack, stream: StreamDefinition) -> None:
    """Asks for a batch model, with the token as a person would, and returns when both models serve."""
    token = (stack.folder / tokens.PLACE / tokens.TOKEN_FILE).read_text()
    asked = {"stream": stream.name, "member": "batch", "history": "history.parquet"}
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        (await client.post(f"{stack.url('trainer')}/v1/jobs", json=asked)).raise_for_status()
        await serving(stack, client)


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.2, wait_max=1)
async def serving(stack: EdgeStack, client: httpx.AsyncClient) -> None:
    models = (await client.get(f"{stack.url('inference')}/v1/models")).json()["models"]
    assert sum(model["state"] == "serving" for model in models) == 2


async def send(stack: EdgeStack, stream: StreamDefinition, rows: Rows) -> None:
    header = tokens.header_file(stack.folder).read_text().strip().partition("Bearer ")[2]
    async with AsyncClient(ingest=stack.url("ingest"), token=header, patience=60) as client:
        assert (await post(client, stream, rows)).accepted == len(rows)


async def versions(stack: EdgeStack, stream: StreamDefinition, rows: Rows) -> dict[str, str]:
    """Of the blend of the last of these records, once it is there."""
    async with httpx.AsyncClient(base_url=stack.url("combiner"), timeout=30) as client:
        return await _versions(client, f"/v1/blends/{stream.name}/{rows.keys[-1]}", int(rows.t[-1]))


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.05, wait_max=0.5)
async def _versions(client: httpx.AsyncClient, path: str, t: int) -> dict[str, str]:
    answer = await client.get(path)
    assert answer.is_success
    assert answer.json()["t"] == t
    found: dict[str, str] = answer.json()["versions"]
    return found


async def test_it_blends_before_there_is_a_trainer_and_swaps_in_what_that_trains(
    stack: EdgeStack, calm: StreamDefinition, later: Rows
):
    first, second, third = (later.take(slice(begin, begin + 40)) for begin in (0, 40, 80))
    await stack.start_edge()
    await send(stack, calm, first)
    assert await versions(stack, calm, first) == {}
    await stack.start_trainer()
    await train(stack, calm)
    await send(stack, calm, second)
    assert (await versions(stack, calm, second)).keys() == {"batch", "speed"}
    processes.kill(stack.folder, EDGE)
    await stack.start_edge()
    async with httpx.AsyncClient(timeout=60) as client:
        await serving(stack, client)
    await send(stack, calm, third)
    assert (await versions(stack, calm, third)).keys() == {"batch", "speed"}
    stack.down()
    blends = await Left(stack.folder / EDGE).blends()
    assert len(blends) == len({(blend.key, blend.t) for blend in blends}) == 120


def driftline(stack: EdgeStack, *command: str) -> subprocess.CompletedProcess[str]:
    """The command, as whoever started the stack types it."""
    ours = [sys.executable, "-m", "driftline_cli", *command]
    return subprocess.run(
        ours, env=os.environ | stack.environment(), capture_output=True, text=True, check=False, timeout=60
    )


async def test_the_command_follows_it_and_looks_after_it(stack: EdgeStack, calm: StreamDefinition, later: Rows):
    await stack.start_edge()
    rows = later.take(slice(0, 40))
    await send(stack, calm, rows)
    await versions(stack, calm, rows)
    tailed = await asyncio.to_thread(driftline, stack, "tail", "blends", "--earliest", "--limit", "40", "--json")
    assert tailed.returncode == 0, tailed.stderr
    followed = [json.loads(line) for line in tailed.stdout.splitlines()]
    assert {blend["t"] for blend in followed} == set(rows.t.tolist())
    examined = await asyncio.to_thread(driftline, stack, "doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(examined.stdout)}
    assert findings["bus"]["fine"], findings["bus"]
    assert findings["bus"]["found"].endswith(f"MB of at most 1,000 MB in {stack.folder.absolute() / EDGE / 'bus'}")
    assert "broker" not in findings
    assert [findings[service]["fine"] for service in EDGE_SERVICES] == [True] * 3


async def test_one_form_at_a_time_runs_in_a_folder_and_the_command_knows_which(stack: EdgeStack, calm_folder: Path):
    await stack.start_edge()
    other = Stack(stack.folder, calm_folder, ports=Ports.free(), brokers="127.0.0.1:1")
    with pytest.raises(Conflict, match="found edge running"):
        await other.up()
    assert of_folder(stack.folder, calm_folder).ports == stack.ports
    other.down()
    assert processes.running(stack.folder, EDGE) is None
