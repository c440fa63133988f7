"""The command against services that let nobody read without a token: what it shows with one, and says without."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from driftline.bus.memory import MemoryBus
from driftline.messages import FORECASTS, Forecast
from driftline.models.signing import new_key
from driftline.store.folder import FolderStore
from driftline.streams.definition_files import parse
from driftline_cli import doctor, named_tokens
from driftline_cli.__main__ import app
from driftline_cli.broker import free_port
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_trainer.app import create_app as create_trainer
from driftline_trainer.settings import TrainerSettings
from tests.serving import served

DEFINITION = "name: sun\ntime: {column: when, period: 10min}\nkey: id\ntarget: power\nhorizon: [1]\n"
BEGIN = 1_767_225_600_000


@dataclass(frozen=True)
class Closed:
    """A combiner and a trainer, and a viewer's token for both."""

    combiner: str
    trainer: str
    token: str


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    """In a thread of its own, since the command has a loop of its own."""
    folder = tmp_path_factory.mktemp("closed")
    tokens = folder / "tokens.yaml"
    token = named_tokens.new(tokens, "grafana", "viewer", None)
    ready, done, started = threading.Event(), threading.Event(), list[Closed]()

    async def serve() -> None:
        bus, streams = MemoryBus(), {"sun": parse(DEFINITION, "sun.yaml")}
        combining = CombinerSettings(tokens_file=tokens, read="token")
        training = TrainerSettings(tokens_file=tokens, read="token", signing_key=SecretStr(new_key()), data_dir=folder)
        combiner = create_combiner(combining, bus, streams=streams, on_death=lambda *_: None)
        trainer = create_trainer(training, FolderStore(folder / "store"), streams=streams)
        async with served(combiner) as at, served(trainer) as cloud:
            await bus.publish(FORECASTS, [Forecast("sun", "roof", BEGIN, 1.0, [1], {"persistence": [1.0]}, {}, 0.0)])
            await all_known(f"http://{at}", token)
            started.append(Closed(f"http://{at}", f"http://{cloud}", token))
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(120)
    yield started[0]
    done.set()
    thread.join()


@stamina.retry(on=AssertionError, attempts=None, timeout=60, wait_max=0.2)
async def all_known(url: str, token: str) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}) as client:
        assert len((await client.get("/v1/forecasts/sun")).json()) == 1


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack runs in this folder, and no token is found but the test's."""
    monkeypatch.chdir(tmp_path)
    for name in ("DRIFTLINE_TOKEN", "DRIFTLINE_SECRETS"):
        monkeypatch.delenv(name, raising=False)


def run(closed: Closed, *arguments: str, token: str | None) -> Result:
    environment = {
        "COLUMNS": "250",
        "DRIFTLINE_BUS": "embedded",
        "DRIFTLINE_COMBINER": closed.combiner,
        "DRIFTLINE_TRAINER": closed.trainer,
        "DRIFTLINE_TOKEN": token,
    }
    return CliRunner().invoke(app, arguments, env=environment)


COMMANDS = {
    "tail": (["tail", "blends", "--earliest", "--limit", "1"], "roof"),
    "forecast": (["forecast", "sun", "roof"], "sun/roof"),
    "fleet": (["fleet"], "0 edges"),
}


@pytest.mark.parametrize(("command", "shown"), COMMANDS.values(), ids=COMMANDS)
def test_with_driftline_token_it_reads_and_without_it_says_what_to_do(closed: Closed, command: list[str], shown: str):
    done = run(closed, *command, token=closed.token)
    assert (done.exit_code, shown in done.stdout) == (0, True), done.output
    for token in (None, "wrong"):
        refused = run(closed, *command, token=token)
        assert (refused.exit_code, shown in refused.stdout) == (1, False)
        assert "token" in refused.stderr.lower()
        assert "wrong" not in refused.stderr


@pytest.mark.parametrize("shown", ["a viewer's", "wrong", None])
def test_a_history_is_uploaded_for_a_token_that_may_train_alone(
    closed: Closed, shown: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DRIFTLINE_STORE", str(tmp_path / "store"))
    definition, rows = tmp_path / "sun.yaml", tmp_path / "rows.csv"
    definition.write_text(DEFINITION)
    rows.write_text("when,id,power\n2026-01-01T00:00:00Z,roof,1\n")
    words = ["train", "--stream", str(definition), "--history", str(rows), "--trainer", closed.trainer]
    done = run(closed, *words, token=closed.token if shown == "a viewer's" else shown)
    assert (done.exit_code, "token" in done.stderr or "operator" in done.stderr) == (1, True)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def look(closed: Closed, token: str | None) -> dict[str, dict[str, Any]]:
    nobody = [f"--{name}=http://127.0.0.1:{free_port()}" for name in ("ingest", "inference")]
    done = run(closed, "status", "--json", *nobody, token=token)
    return {service["service"]: service for service in json.loads(done.stdout)}


def test_status_shows_what_a_token_lets_it_see_and_else_that_one_is_needed(closed: Closed):
    seen = look(closed, closed.token)
    assert [seen[name]["detail"] for name in ("combiner", "trainer")] == ["ok", "ok"]
    assert seen["combiner"]["body"]["scores"] is not None
    assert seen["combiner"]["lag"]
    refused = look(closed, None)
    for name in ("combiner", "trainer"):
        assert refused[name]["ready"] is True
        assert "set DRIFTLINE_TOKEN" in refused[name]["detail"]


async def found(url: str, monkeypatch: pytest.MonkeyPatch, token: str | None) -> dict[str, doctor.Finding]:
    if token is not None:
        monkeypatch.setenv("DRIFTLINE_TOKEN", token)
    return {finding.what: finding for finding in await doctor.services({"combiner": url})}


async def test_doctor_is_content_with_a_service_that_is_closed_to_others(closed: Closed, monkeypatch):
    beyond = closed.combiner.replace("127.0.0.1", "0.0.0.0")  # noqa: S104 - an address that is not this machine's own
    findings = await found(beyond, monkeypatch, closed.token)
    assert findings["combiner's readers"].state == "those with a token"
    assert findings["combiner's readers"].fine


async def test_doctor_says_that_it_needs_a_token_itself(closed: Closed, monkeypatch):
    findings = await found(closed.combiner, monkeypatch, None)
    assert "DRIFTLINE_TOKEN" in findings["combiner"].remedy


async def test_doctor_finds_a_service_beyond_this_machine_that_anybody_can_read(monkeypatch):
    open_one = create_combiner(CombinerSettings(token=SecretStr("hush")), MemoryBus(), streams={})
    async with served(open_one) as address:
        beyond = f"http://0.0.0.0:{address.rpartition(':')[2]}"
        finding = (await found(beyond, monkeypatch, "hush"))["combiner's readers"]
        assert (finding.state, finding.fine) == ("anybody who reaches it", False)
        assert "DRIFTLINE_READ=token" in finding.remedy
        assert "combiner's readers" not in await found(f"http://{address}", monkeypatch, "hush")
