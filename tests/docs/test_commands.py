"""What pages tell people to type is typed, in order, in a fresh copy of this tree; what can't be has its reason."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from driftline_cli.stack import Ports
from tests.conftest import ROOT
from tests.docs.markdown import Block, blocks

pytestmark = pytest.mark.e2e
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
SERVICES = "services"
"""What a block may need: the services, up."""
EXPORTED = ".exported"
FILES = "files"
"""What a block may need: a file of the reader's own."""


@dataclass(frozen=True)
class Typed:
    """A block that is run. `says`: what its output must hold. `seconds`: its bound."""

    says: str
    seconds: float
    needs: str = ""


@dataclass(frozen=True)
class NotTyped:
    """A block that is not run, and why."""

    why: str


README: dict[str, Typed | NotTyped] = {
    "make demo": Typed("report: demo-report/index.html", 900),
    "EDGE (Raspberry Pi)                                              CLOUD (EC2)": NotTyped("it is a picture"),
    "make up": Typed("accepted", 600, SERVICES),
    "curl -X POST localhost:8004/v1/jobs -H @.run/secrets/authorization -H 'Content-Type: application/json' \\": Typed(
        '"id"', 60, SERVICES
    ),
    "cp compose/.env.example compose/.env && make images": NotTyped(
        "it needs a container engine; `make compose-test` runs it"
    ),
    ".venv/bin/driftline edge token --name attic --label site=north": Typed("good for one device", 60, SERVICES),
    ".venv/bin/driftline backtest --data yours.csv --target temperature --save streams/yours.yaml": Typed(
        "Forecasting ", 600, FILES
    ),
    "make unit": NotTyped("it would run itself"),
}
BY_HAND: dict[str, Typed | NotTyped] = {
    'eval "$(.venv/bin/driftline local env)"': Typed("", 60, SERVICES),
    ".venv/bin/driftline train --stream streams/outdoor-temperature.yaml --history data/la-haute-borne.parquet": Typed(
        "published", 900, SERVICES
    ),
    ".venv/bin/driftline models import lstm.tflite --stream streams/outdoor-temperature.yaml \\": NotTyped(
        "it needs a model of the reader's own; tests/cli/test_models.py imports one"
    ),
    ".venv/bin/driftline models verify outdoor-temperature.batch": Typed("outdoor-temperature.batch", 120, SERVICES),
    ".venv/bin/driftline models pin outdoor-temperature.batch v000002-0123456789ab": NotTyped(
        "it names a version that is the reader's own; tests/inference/test_pin.py pins one"
    ),
}
DAY_TWO: dict[str, Typed | NotTyped] = {
    ".venv/bin/driftline fleet": Typed(" edge", 60, SERVICES),
    ".venv/bin/driftline edge token --id attic20 --name attic --label site=north > token.txt": Typed(
        "good for one device", 60, SERVICES
    ),
    "(echo DRIFTLINE_JOIN_URL=https://cloud.example.org:8443": Typed("", 60),
    ".venv/bin/driftline edge join http://127.0.0.1:8004 - --folder attic < token.txt": Typed(
        "this device is attic20 (attic)", 120, SERVICES
    ),
    ".venv/bin/driftline edge revoke attic20": Typed("revoked ", 60, SERVICES),
    ".venv/bin/driftline rollout show": Typed("", 60, SERVICES),
    '.venv/bin/driftline rollout abort outdoor-temperature.batch --reason "learned from a broken sensor"': NotTyped(
        "it names a version that is the reader's own; tests/trainer/test_rollouts.py aborts one"
    ),
    ".venv/bin/driftline status": Typed("outdoor-temperature", 60, SERVICES),
    "EDGE_ID=attic20": Typed("attic20 (attic) is cut off", 60, SERVICES),
    "head -c 32 /dev/urandom > fleet.key && chmod 600 fleet.key": Typed("", 60),
    ".venv/bin/driftline down": Typed("sealed with the fleet's key", 300, SERVICES),
    ".venv/bin/driftline restore edge.backup --folder moved": Typed("this device is the edge ", 120),
    ".venv/bin/driftline down --folder .run": Typed(" states of ", 180),
}
PAGES = {"README.md": README, "docs/model-by-hand.md": BY_HAND, "docs/day-two.md": DAY_TWO}
BLOCKS = [(page, block) for page in PAGES for block in blocks(ROOT / page)]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_typed_or_has_its_reason(page: str):
    found = [block.name for block in blocks(ROOT / page)]
    assert found == list(PAGES[page]), "say in this file what is to be done with each block"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """This tree as somebody who just cloned it has it, but for the packages, which are installed already."""
    found = tmp_path_factory.mktemp("clone")
    for name in _files():
        if (ROOT / name).exists():
            (found / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, found / name)
    _lend_packages(found)
    _lighten(found)
    yield found
    run("make down", found, 120)


def _files() -> list[str]:
    """What belongs to this tree: as git has it, or, where it is no checkout, all that is not hidden."""
    listed = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    told = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False)
    if not told.returncode:
        return [name for name in told.stdout.split("\0") if name]
    places = [path for path in ROOT.iterdir() if not path.name.startswith(".") and path.name != "demo-report"]
    files = [inner for place in places for inner in (place.rglob("*") if place.is_dir() else [place])]
    return [path.relative_to(ROOT).as_posix() for path in files if path.is_file() and "__pycache__" not in path.parts]


def _lend_packages(tree: Path) -> None:
    """Links to this run's packages, with stamps that say that they are what the copy asks for."""
    own = Path(sys.prefix)
    (tree / ".venv").mkdir()
    for part in ("bin", "include", "lib", "lib64", "pyvenv.cfg"):
        if (own / part).exists():
            (tree / ".venv" / part).symlink_to(own / part)
    code = "import bootstrap as b; b.STAMP.write_text(b.fingerprint(b.kept()))"
    for name in REQUIREMENTS:
        command = [sys.executable, "-c", f"import sys; sys.argv = ['', '{name}']; {code}"]
        subprocess.run(command, cwd=tree / "scripts", check=True)


def run(text: str, tree: Path, seconds: float) -> tuple[int, str]:
    """Types `text` into a shell that knows what the ones before have exported; returns the exit code and all that was
    said."""
    own = [tree / "core", tree / "client", tree / "cli", tree / "edge", *sorted((tree / "services").iterdir())]
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, own)), "PYTHON": sys.executable, "COLUMNS": "120"}
    process = subprocess.Popen(
        ["sh", "-euc", f"[ ! -e {EXPORTED} ] || . ./{EXPORTED}\n{text}\nexport -p > {EXPORTED}"],
        cwd=tree,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        pytest.fail(f"not over after {seconds:.0f} s:\n{said}")
    return process.returncode, said


def _lighten(tree: Path) -> None:
    """Two rounds of training are enough for what is asked of the blocks: how good a model is, others ask."""
    definition = tree / "streams" / "outdoor-temperature.yaml"
    definition.write_text(
        definition.read_text().replace("  batch_size: 512\n", "  batch_size: 512\n  epochs: 2\n  networks: 1\n")
    )


def _bring_services(tree: Path) -> None:
    if not (tree / ".run").exists() and (taken := _taken()):
        pytest.skip(f"the ports that README names are taken here: {taken}")
    code, said = run("make up", tree, 300)
    assert code == 0, said


def _taken() -> list[int]:
    return [port for port in Ports().services.values() if not _is_free(port)]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _bring_files(tree: Path) -> None:
    """What a reader has: a file of their own, that no definition describes."""
    table = pq.read_table(tree / "data" / "la-haute-borne.parquet").slice(0, 7_000)
    names = ["temperature" if name == "Ot_avg" else name for name in table.column_names]
    pc.write_csv(table.rename_columns(names), tree / "yours.csv")


BRING = {SERVICES: _bring_services, FILES: _bring_files}


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=lambda part: getattr(part, "name", part))
def test_a_block_does_what_it_says(page: str, block: Block, tree: Path):
    plan = PAGES[page][block.name]
    if isinstance(plan, NotTyped):
        pytest.skip(plan.why)
    if plan.needs:
        BRING[plan.needs](tree)
    code, said = run(block.text, tree, plan.seconds)
    assert code == 0, said
    assert plan.says in said


def test_the_token_is_in_no_log_and_no_command_line(tree: Path):
    _bring_services(tree)
    folder = tree / ".run"
    token = (folder / "secrets" / "driftline_token").read_text()
    logs = [path for path in folder.rglob("*.log*") if path.is_file()]
    assert {"edge.log", "trainer.log"} <= {path.name for path in logs}
    for path in logs:
        assert token not in path.read_text(errors="replace"), path
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            assert token.encode() not in command.read_bytes(), command
