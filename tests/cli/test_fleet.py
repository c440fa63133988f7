"""`driftline fleet` against a trainer: all edges, one edge, one version, and what it says of what is not there."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr
from rich.console import Console
from typer.testing import CliRunner, Result

from driftline.fleet.names import heartbeat_key
from driftline.fleet.notes import sealed
from driftline.models.signing import new_key
from driftline.store.folder import FolderStore
from driftline_cli.__main__ import app
from driftline_cli.commands.plainly import console
from driftline_cli.fleet_view import as_screen
from driftline_client.calls.fleet import Fleet
from driftline_trainer.app import create_app
from driftline_trainer.settings import TrainerSettings
from tests.fleet.simulated import NEW, NOW, simulated
from tests.fleet.test_rest import all_answer
from tests.serving import served


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; it runs in a thread of its own, since the command has a loop of its own."""
    folder, ready, done = tmp_path_factory.mktemp("fleet"), threading.Event(), threading.Event()
    address: list[str] = []

    async def serve() -> None:
        await _leave(folder)
        settings = TrainerSettings(signing_key=SecretStr(new_key()), data_dir=folder)
        made = create_app(settings, FolderStore(folder / "store"), streams={}, clock=lambda: NOW + 100)
        async with served(made) as at:
            await all_answer(at, 60)
            address.append(f"http://{at}")
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield address[0]
    done.set()
    thread.join()


async def _leave(folder: Path) -> None:
    store = FolderStore(folder / "store")
    for n in range(60):
        heartbeat = simulated(n, at=NOW if n != 1 else NOW - 86_400)
        await store.put(heartbeat_key(heartbeat.edge), sealed(heartbeat, None))


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the width was when the command was imported first."""
    monkeypatch.setattr(console, "_width", 160)


def run(trainer: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["fleet", *arguments, "--trainer", trainer])


def test_all_edges_are_shown_those_that_need_a_look_first(trainer: str):
    shown = run(trainer)
    assert shown.exit_code == 0
    assert shown.output.startswith("60 edges: 59 live, 0 late, 1 silent; 2 with a problem; skill ")
    assert shown.output.index("edge-0001") < shown.output.index("edge-0003") < shown.output.index("edge-0000")
    for words in ("site=site-02", "outdoor-temperature.batch v000042", "waits: store: the store does not answer"):
        assert words in shown.output


def test_one_edge_without_models_is_shown_in_few_words():
    edge = {"id": "a1", "name": "pi", "labels": {}, "state": "live", "since": NOW, "heard": NOW, "skill": None}
    model = {"version": None, "since": None, "named": None, "pinned": False}
    edge |= {"streams": {}, "models": {"power.batch": model, "power.speed": model}, "alerts": 0, "problems": []}
    summary = {"edges": 1, "live": 1, "late": 0, "silent": 0, "problems": 0, "skill": None}
    screen = Console(width=80, record=True, file=io.StringIO())
    edge |= {"software": None, "registered": False, "lag": None}
    body = {"now": NOW, "revision": 1, "whole": True, "summary": summary, "edges": [edge]}
    screen.print(as_screen(msgspec.convert(body, Fleet)))
    shown = screen.export_text()
    assert shown.splitlines()[0] == "1 edge: 1 live, 0 late, 0 silent; 0 with a problem"
    assert "none yet" in shown
    assert "power.batch" not in shown


def test_labels_and_states_choose(trainer: str):
    listed = json.loads(run(trainer, "--label", "site=site-01", "--label", "ring=canary", "--json").output)
    assert [edge["id"] for edge in listed["edges"]] == ["edge-0020", "edge-0030"]
    listed = json.loads(run(trainer, "--state", "silent", "--json").output)
    assert [edge["id"] for edge in listed["edges"]] == ["edge-0001"]


@pytest.mark.parametrize("called", ["edge-0007", "pi-7"])
def test_one_edge_is_shown_by_its_id_or_its_name(trainer: str, called: str):
    shown = run(trainer, called).output
    assert shown.startswith("pi-7 (edge-0007): live\nlabels: site=site-00, ring=main\nDriftline 0.2.0\n")
    for words in (NEW, "disk: 12.0 of 32.0 GB are free", "5,010"):
        assert words in shown


@pytest.mark.parametrize("version", [NEW, "v000042"])
def test_one_version_across_edges_is_shown(trainer: str, version: str):
    shown = run(trainer, "--version", f"outdoor-temperature.batch@{version}").output
    assert shown.startswith("v000042: 60 edges, 18,000 truths, better on 58, worse on 2\n")
    assert shown.index("pi-57") < shown.index("pi-0 ")


def test_the_versions_of_a_model_are_listed(trainer: str):
    shown = run(trainer, "--version", "outdoor-temperature.speed").output
    assert shown.splitlines() == [f"v000{n}: 20 edges, 0 truths" for n in (102, 101, 100)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nobody"], "found no edge 'nobody' among 60"),
        (["--version", "attic.batch@v000001"], "found no model 'attic.batch'"),
        (["--version", "outdoor-temperature.batch@v000001"], "found no version 'v000001'"),
        (["--label", "north"], "found 'north', expected name=value"),
    ],
)
def test_what_is_not_there_is_said(trainer: str, arguments: list[str], says: str):
    shown = run(trainer, *arguments)
    assert shown.exit_code == 1
    assert says in shown.output


def test_one_thing_is_asked_for_at_a_time(trainer: str):
    assert run(trainer, "edge-0007", "--version", "s.batch").exit_code == 2
    assert run(trainer, "edge-0007", "--state", "live").exit_code == 2


def of_edges(trainer: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["edge", *arguments, "--trainer", trainer])


def test_a_join_token_is_made_listed_and_taken_back(trainer: str):
    token = json.loads(of_edges(trainer, "token", "--name", "attic", "--label", "site=north", "--json").output)
    assert (token["name"], token["labels"], token["used_by"], bool(token["token"])) == (
        "attic",
        {"site": "north"},
        None,
        True,
    )
    listed = of_edges(trainer, "tokens").output
    assert token["token"] not in listed
    for words in (token["id"], "attic site=north", "nobody yet"):
        assert words in listed
    assert of_edges(trainer, "tokens", "--forget", token["id"]).output == f"{token['id']} admits nobody any more\n"
    assert token["id"] not in of_edges(trainer, "tokens", "--json").output


@pytest.mark.parametrize("arguments", [["tokens", "--forget", "0123456789abcdef"], ["revoke", "a/b?c"]])
def test_what_nobody_knows_of_is_said_in_a_sentence(trainer: str, arguments: list[str]):
    refused = of_edges(trainer, *arguments)
    assert (refused.exit_code, refused.output.count("\n"), "trainer answered 404" in refused.output) == (1, 1, True)


def test_without_devices_the_list_is_empty(trainer: str):
    assert json.loads(of_edges(trainer, "list", "--json").output) == []
