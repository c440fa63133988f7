"""A fleet from its first token to its first replaced device, as a person types it: real processes, by the door."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina

from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.keys import new_fleet_key
from driftline.fleet.names import heartbeat_key, registration_key, state_index_key
from driftline.fleet.notes import opened
from driftline.fleet.registration import Registration
from driftline.members import MODELS
from driftline.models.signing import Signer, Trust, new_key
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from driftline_cli.replay import post
from driftline_client import AsyncClient
from tests.conftest import ROOT
from tests.edge.edge_process import EdgeProcess
from tests.started import Started

pytestmark = [pytest.mark.process, pytest.mark.training]
PATIENCE_S = 120
TOKEN = secrets.token_urlsafe(16)
SENT, MORE = 150, 40
"""Records of each edge: more than a window, and those after the replacement."""
QUICK = (
    ("units: [128, 64]", "units: [16]"),
    ("batch_size: 512", "batch_size: 512\n  epochs: 1\n  networks: 1"),
    ("every: 1000 ", "every: 1000000 "),
    ("window: 250                      #", "window: 100                      #"),
)


@dataclass
class Fleet:
    """The cloud as a process, and where its store, its key and its streams are."""

    folder: Path
    trainer: Started
    signer: Signer
    stream: StreamDefinition
    rows: dict[str, Rows]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.trainer.port}"

    def stored(self, key: str) -> bytes:
        return (self.folder / "store" / key).read_bytes()

    def windows(self, edge: str) -> list[Path]:
        return list((self.folder / "store" / "windows").rglob(f"*-{edge}.parquet"))

    def registration(self, edge: str) -> Registration:
        return opened(self.stored(registration_key(edge)), Registration, Trust([self.signer.public]))

    def edge(self, name: str) -> EdgeProcess:
        """As a process that has nothing but the data folder which joining has filled."""
        folder = self.folder / name
        (folder / "none").mkdir(parents=True, exist_ok=True)
        given = {"DRIFTLINE_STORE": "", "DRIFTLINE_CACHE": "", "DRIFTLINE_STREAMS": str(folder / "none")}
        return EdgeProcess(folder, given | {"DRIFTLINE_HEARTBEAT_EVERY": "1"})

    async def typed(self, *command: str, given: str = "") -> str:
        """What a command says that ends well."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "driftline_cli", *command],
            env=os.environ | {"COLUMNS": "200", "DRIFTLINE_TOKEN": TOKEN},
            cwd=self.folder,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    async def token(self, *options: str) -> str:
        return (await self.typed("edge", "token", "--trainer", self.url, *options)).strip()

    async def join(self, name: str, token: str, *options: str) -> str:
        """What it says on a device whose data folder is `name`/edge."""
        folder = str(self.folder / name / "edge")
        return await self.typed("edge", "join", self.url, "-", "--folder", folder, *options, given=token + "\n")

    async def shown(self) -> dict[str, Any]:
        """By id what `driftline fleet` shows."""
        body = json.loads(await self.typed("fleet", "--trainer", self.url, "--json"))
        return {edge["id"]: edge for edge in body["edges"]}

    async def shown_once(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.5):
            with attempt:
                found = await self.shown()
                assert wanted(found), found
        return found

    async def train(self) -> None:
        """A batch model, with the speed model that begins with it."""
        async with httpx.AsyncClient(
            base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
        ) as client:
            asked = {"stream": self.stream.name, "member": "batch", "history": "history.parquet"}
            (await client.post("/v1/jobs", json=asked)).raise_for_status()

    async def send(self, edge: EdgeProcess, rows: Rows) -> None:
        async with AsyncClient(ingest=edge.url("ingest"), patience=60) as client:
            assert (await post(client, self.stream, rows)).accepted == len(rows)


@pytest.fixture(scope="module")
def text() -> str:
    text = (ROOT / "streams" / "outdoor-temperature.yaml").read_text()
    for old, new in QUICK:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.fixture
async def fleet(tmp_path: Path, text: str) -> AsyncIterator[Fleet]:
    (tmp_path / "streams").mkdir()
    (tmp_path / "streams" / "calm.yaml").write_text(text)
    stream = load(tmp_path / "streams" / "calm.yaml")
    everything = tables.read_file(ROOT / "data" / "la-haute-borne.parquet", stream)
    (tmp_path / "history.parquet").write_bytes(tables.encode(everything.take(slice(0, 4_000)), stream))
    private = new_key()
    (tmp_path / "signing.pem").write_text(private)
    (tmp_path / "fleet.key").write_text(new_fleet_key())
    environment = {
        "DRIFTLINE_TOKEN": TOKEN,
        "DRIFTLINE_SIGNING_KEY_FILE": str(tmp_path / "signing.pem"),
        "DRIFTLINE_FLEET_KEY_FILE": str(tmp_path / "fleet.key"),
        "DRIFTLINE_STREAMS": str(tmp_path / "streams"),
        "DRIFTLINE_DATA_DIR": str(tmp_path),
    }
    async with Started("trainer", tmp_path, environment) as trainer:
        yield Fleet(tmp_path, trainer, Signer(private), stream, everything.by_key())


async def served_by(edge: EdgeProcess) -> dict[str, Any]:
    """What its inference says once both models serve."""
    answer: dict[str, Any] = {}
    async with httpx.AsyncClient(base_url=edge.url("inference"), timeout=30) as client:
        async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.5):
            with attempt:
                answer = (await client.get("/v1/models")).json()
                answer["models"] = [model for model in answer["models"] if model["state"] == "serving"]
                assert len(answer["models"]) == len(MODELS)
    return answer


async def until(condition: Callable[[], object]) -> None:
    async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.3):
        with attempt:
            assert condition()


async def test_devices_join_work_are_cut_off_and_replaced(fleet: Fleet):
    key, other = list(fleet.rows)[:2]
    await fleet.trainer.ready()
    await until((fleet.folder / "store" / "definitions" / "current.json").exists)
    tokens = await asyncio.gather(fleet.token("--name", "attic", "--label", "site=north"), fleet.token())
    said = await asyncio.gather(
        fleet.join("one", tokens[0], "--label", "roof=flat"), fleet.join("two", tokens[1], "--name", "cellar")
    )
    one_id, two_id = (words.split()[3] for words in said)
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(fleet.edge(name)) for name in ("one", "two")]
        await asyncio.gather(one.all_ready(), two.all_ready())
        await fleet.train()
        await fleet.send(one, fleet.rows[key].take(slice(0, SENT)))
        await fleet.send(two, fleet.rows[other].take(slice(0, SENT)))
        models = await asyncio.gather(served_by(one), served_by(two))
        assert [answer["edge"]["id"] for answer in models] == [one_id, two_id]
        await until(lambda: fleet.windows(one_id) and fleet.windows(two_id))

        versions = [model["version"] for model in models[0]["models"]]
        edges = await fleet.shown_once(
            lambda edges: (
                all(edges[edge]["state"] == "live" and len(edges[edge]["models"]) == 2 for edge in (one_id, two_id))
                and all(model["version"] in versions for e in edges.values() for model in e["models"].values())
            )
        )
        assert (edges[one_id]["name"], edges[one_id]["labels"]) == ("attic", {"site": "north", "roof": "flat"})
        assert (edges[two_id]["name"], edges[two_id]["labels"]) == ("cellar", {})
        for edge in (one_id, two_id):
            trust = Trust([fleet.registration(edge).public_key])
            heartbeat = opened(fleet.stored(heartbeat_key(edge)), Heartbeat, trust)
            assert heartbeat.labels == edges[edge]["labels"]
            assert abs(heartbeat.clock_offset) < 5

        # The one is cut off.
        await fleet.typed("edge", "revoke", one_id, "--trainer", fleet.url)
        await one.says("this device was revoked")
        assert two.log.count("revoked") == 0

        # The other ends, and has left what it learned.
        scored = heartbeat.streams[fleet.stream.name].scored
        assert await two.end() == -15
        assert "Traceback" not in two.log
        assert fleet.stored(state_index_key(two_id))
        token = await fleet.token("--id", two_id, "--replaces")
        said_last = await fleet.join("three", token, "--replace", two_id)
        assert f"this device is the edge {two_id} now, with " in said_last
        assert f"this device is {two_id} (" in await fleet.join("three", "", "--replace", two_id)
        three = await stack.enter_async_context(fleet.edge("three"))
        await three.all_ready()
        await fleet.send(three, fleet.rows[other].take(slice(SENT, SENT + MORE)))
        assert (await served_by(three))["edge"]["id"] == two_id
        trust = Trust([fleet.registration(two_id).public_key])

        def goes_on() -> bool:
            newest = opened(fleet.stored(heartbeat_key(two_id)), Heartbeat, None)
            health = newest.streams.get(fleet.stream.name)
            return newest.boot != heartbeat.boot and health is not None and health.scored > scored

        await until(goes_on)
        assert opened(fleet.stored(heartbeat_key(two_id)), Heartbeat, trust).rivals == []
        edges = await fleet.shown_once(lambda edges: edges[two_id]["state"] == "live")
        assert [trouble["kind"] for trouble in edges[two_id]["problems"]] == []
        assert "cloned" not in {trouble["kind"] for edge in edges.values() for trouble in edge["problems"]}
        assert len({path.name for path in fleet.windows(two_id)}) == len(fleet.windows(two_id))
