"""A real Prometheus, set up as the compose files set it up, reads metrics with a token of its own."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina
import yaml

from driftline.bus.memory import MemoryBus
from driftline_cli.broker import free_port
from driftline_cli.named_tokens import new
from driftline_combiner.app import create_app
from driftline_combiner.settings import CombinerSettings
from tests.conftest import ROOT
from tests.serving import served

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not here: Debian's package of that name has it"
    ),
]


def job(name: str, address: str, token: Path) -> dict[str, Any]:
    """A scrape job of the compose files, for another target and with another file of a token."""
    configured = yaml.safe_load((ROOT / "observe" / "prometheus" / "edge.yaml").read_text())["scrape_configs"]
    (scraping,) = [job for job in configured if job["job_name"] == "combiner"]
    assert scraping["authorization"]["credentials_file"] == "/etc/prometheus/token"
    return scraping | {
        "job_name": name,
        "authorization": {"credentials_file": str(token)},
        "static_configs": [{"targets": [address]}],
    }


@asynccontextmanager
async def prometheus(folder: Path, jobs: list[dict[str, Any]]) -> AsyncIterator[httpx.AsyncClient]:
    port = free_port()
    settings = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        process.terminate()
        await process.wait()


@stamina.retry(on=(AssertionError, httpx.TransportError), attempts=None, timeout=120, wait_max=0.5)
async def targets(client: httpx.AsyncClient, count: int) -> dict[str, dict[str, str]]:
    """All of them by job, once they were read."""
    answer = await client.get("/api/v1/targets")
    assert answer.is_success
    active = answer.json()["data"]["activeTargets"]
    assert len([target for target in active if target["health"] != "unknown"]) == count
    return {target["labels"]["job"]: target for target in active}


async def test_it_reads_with_its_token_where_reading_is_closed_and_without_one_where_it_is_open(tmp_path: Path):
    token, none, file = tmp_path / "token", tmp_path / "none", tmp_path / "tokens.yaml"
    token.write_text(f"{new(file, 'prometheus', 'viewer', None)}\n")
    none.write_text("")
    closed_one = create_app(CombinerSettings(tokens_file=file, read="token"), MemoryBus(), streams={})
    open_one = create_app(CombinerSettings(), MemoryBus(), streams={})
    async with served(closed_one, working=False) as closed, served(open_one, working=False) as opened:
        jobs = [job("closed", closed, token), job("open", opened, none), job("refused", closed, none)]
        async with prometheus(tmp_path, jobs) as client:
            seen = await targets(client, len(jobs))
    assert {name: target["health"] for name, target in seen.items()} == {
        "closed": "up",
        "open": "up",
        "refused": "down",
    }
    assert "401" in seen["refused"]["lastError"]
