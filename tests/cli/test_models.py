"""`driftline models`, typed as a person types it: against a store in a folder, and an edge that serves from it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from driftline.bus.memory import MemoryBus
from driftline.models import manifest as manifests
from driftline.models import signing
from driftline.models.signing import Signer
from driftline.store.folder import FolderStore
from driftline.streams import definition_files
from driftline.streams.definition import StreamDefinition
from driftline.streams.tables import read_file
from driftline.versions.releases import current
from driftline_inference.app import create_app
from driftline_inference.settings import InferenceSettings
from driftline_trainer.fit import Task, Trained
from driftline_trainer.publish import publish
from tests.conftest import ROOT
from tests.serving import served
from tests.shared import Shared
from tests.trained import trained_once

pytestmark = pytest.mark.process
MODEL = "outdoor-temperature.batch"
TOKEN = "hush"  # noqa: S105 - a test's


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


class Command:
    """The command with the settings of one person's shell."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.keys = folder / "keys"
        self.environment = {
            **os.environ,
            "COLUMNS": "250",
            "DRIFTLINE_STORE": str(self.store),
            "DRIFTLINE_STREAMS": str(ROOT / "streams"),
            "DRIFTLINE_SIGNING_KEY_FILE": str(self.keys / signing.KEY_FILE),
            "DRIFTLINE_TRUSTED_KEYS_FILE": str(self.keys / signing.PUBLIC_FILE),
        }

    async def __call__(self, *words: str) -> Said:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "driftline_cli", "models", *words),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        return Said(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture(scope="module")
def stream() -> StreamDefinition:
    return definition_files.load(ROOT / "streams" / "outdoor-temperature.yaml")


@pytest.fixture(scope="module")
def trained(shared: Shared, stream: StreamDefinition) -> Trained:
    quick = stream.model_copy(
        update={"training": stream.training.model_copy(update={"epochs": 1, "units": (8,), "networks": 1})}
    )
    rows = read_file(ROOT / "data" / "la-haute-borne.parquet", stream).take(slice(0, 2000))
    return trained_once(shared, Task(quick, rows))


@pytest.fixture
def command(tmp_path: Path) -> Command:
    made = Command(tmp_path)
    signing.new_keys(made.keys)
    return made


@pytest.fixture
async def names(command: Command, stream: StreamDefinition, trained: Trained) -> list[str]:
    """Two versions in the store."""
    store = FolderStore(command.store)
    signer = Signer(signing.read(command.keys / signing.KEY_FILE))
    made = []
    for now in (0.0, 1.0):
        before = await current(store, stream.name, "batch")
        manifest = await publish(
            store, stream, "batch", trained, signer=signer, before=before, parent=None, windows={}, now=now
        )
        made.append(manifest.version)
    return made


@pytest.fixture
async def edge(command: Command, stream: StreamDefinition, names: list[str]) -> AsyncIterator[str]:
    """Address of an edge that served both versions, one after the other."""
    store = FolderStore(command.store)
    settings = InferenceSettings(
        token=TOKEN, trusted_keys_file=command.keys / signing.PUBLIC_FILE, cache=None, edge="pi-7"
    )
    app = create_app(settings, MemoryBus(), store, streams={stream.name: stream})
    for version in names:
        await store.put(manifests.pointer_key(stream.name, "batch"), manifests.encode(manifests.Pointer(version)))
        await app.state.reconciler.reconcile()
    async with served(app) as address:
        command.environment |= {"DRIFTLINE_INFERENCE": f"http://{address}", "DRIFTLINE_TOKEN": TOKEN}
        yield address


async def test_list_shows_what_serves(command: Command, edge: str, names: list[str]):
    said = await command("list")
    assert said.code == 0
    line = next(line for line in said.out.splitlines() if MODEL in line)
    assert names[1] in line
    assert "named by the store's pointer" in line


async def test_rollback_goes_back_and_show_tells_it(command: Command, edge: str, names: list[str]):
    said = await command("rollback", MODEL, "--version", names[1], "--reason", "worse since noon")
    assert (said.code, said.out.split()) == (0, [f"{MODEL}:", names[0], "serves"])
    assert f"refused: {MODEL} {names[1]}: quarantine: worse since noon" in (await command("list")).out
    shown = await command("show", MODEL)
    assert shown.code == 0
    newest, oldest = (line for line in shown.out.splitlines() if line.startswith(" v0"))
    assert (names[1] in newest, "current" in newest, "quarantined" in newest) == (True, True, False)
    assert (names[0] in oldest, "serves on pi-7" in oldest) == (True, True)


async def test_list_shows_one_stream_alone_by_name_or_file(command: Command, edge: str, names: list[str]):
    for given in ("outdoor-temperature", str(ROOT / "streams" / "outdoor-temperature.yaml")):
        assert MODEL in (await command("list", "--stream", given)).out
    said = await command("list", "--stream", "attic")
    assert (said.code, "expected one of ['outdoor-temperature']" in said.err) == (1, True)


async def test_names_are_whole_on_a_narrow_screen(command: Command, edge: str, names: list[str]):
    command.environment["COLUMNS"] = "80"
    assert f"{MODEL}   {names[1]}" in (await command("list")).out


@pytest.mark.parametrize("model", ["nonsense", "attic.batch", "outdoor-temperature.nobody", "a/b.batch"])
async def test_who_steers_an_unknown_model_hears_what_is_known(
    command: Command, edge: str, model: str, names: list[str]
):
    said = await command("rollback", model, "--version", names[1])
    known = ["outdoor-temperature.batch", "outdoor-temperature.speed"]
    assert said.code == 1
    assert (
        f"found no model {model!r} at {command.environment['DRIFTLINE_INFERENCE']}, expected one of {known}" in said.err
    )


async def test_pin_and_off(command: Command, edge: str, names: list[str]):
    assert (await command("pin", MODEL, names[0])).out.split() == [f"{MODEL}:", names[0], "serves,", "pinned"]
    assert f"{names[0]} (pinned)" in (await command("list")).out
    assert (await command("pin", MODEL, "--off")).out.split() == [f"{MODEL}:", names[0], "serves"]
    assert (await command("pin", MODEL)).code == 2


async def test_without_the_token_it_says_so(command: Command, edge: str, names: list[str]):
    del command.environment["DRIFTLINE_TOKEN"]
    said = await command("pin", MODEL, names[0])
    assert (said.code, "401" in said.err) == (1, True)


async def test_without_an_edge_it_says_so(command: Command):
    command.environment["DRIFTLINE_INFERENCE"] = "http://127.0.0.1:9"
    said = await command("list")
    assert (said.code, said.err.count("\n"), "Traceback" in said.err) == (3, 1, False)


async def test_verify_believes_what_is_whole_and_nothing_else(command: Command, stream, names: list[str]):
    said = await command("verify", MODEL)
    assert (said.code, names[1] in said.out) == (0, True)
    await FolderStore(command.store).put(manifests.model_key(stream.name, "batch", names[1]), b"rot")
    said = await command("verify", MODEL)
    assert (said.code, "size: found size 3" in said.err) == (1, True)
    assert (await command("verify", MODEL, "--version", names[0])).code == 0
    (command.keys / signing.PUBLIC_FILE).write_text(f"{Signer(signing.new_key()).public}\n")
    said = await command("verify", MODEL, "--version", names[0])
    assert (said.code, "signature: found a signature by key" in said.err) == (1, True)


async def test_import_wraps_signs_and_publishes(command: Command, stream, trained: Trained, tmp_path: Path):
    file = tmp_path / "mine.tflite"
    file.write_bytes(trained.model)
    definition_file = str(ROOT / "streams" / "outdoor-temperature.yaml")
    words = ("import", str(file), "--stream", definition_file, "--inputs", "features", "--output", "difference")
    said = await command(*words)
    assert said.code == 0
    assert (await command("verify", MODEL)).code == 0
    shown = await command("show", MODEL, "--version", said.out.split()[-1])
    assert '"architecture": "imported"' in shown.out
    refused = await command("import", str(file), "--stream", definition_file)
    assert (refused.code, "shape: found" in refused.err) == (1, True)


@pytest.mark.parametrize("model", ["batch", "outdoor-temperature.nobody", "a/b"])
async def test_what_is_no_model_s_name_is_misuse(command: Command, model: str):
    said = await command("show", model)
    assert (said.code, "STREAM.MEMBER" in said.err) == (2, True)


async def test_a_store_without_versions_is_said_to_be(command: Command):
    said = await command("show", MODEL)
    assert (said.code, "found no version" in said.err) == (1, True)
