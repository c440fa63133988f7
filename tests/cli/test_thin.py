"""The command is thin: what only some subcommands need, the others neither import nor miss."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from driftline_cli.broker import free_port
from tests.cli.test_command import DEFINITION
from tests.cli.test_doctor import nobody
from tests.conftest import ROOT

pytestmark = pytest.mark.process
SERVICES = {"driftline_ingest", "driftline_inference", "driftline_combiner", "driftline_trainer", "driftline_edge"}
LAB = {*SERVICES, "tensorflow", "keras", "matplotlib", "ministack", "river", "scipy", "pandas"}
"""What `driftline-cli` does not bring, but for its extra, and what nobody needs at all."""
CLIENTS = {"numpy", "pyarrow", "httpx", "aiokafka", "aiobotocore", "fastapi", "cryptography"}
"""What a subcommand needs when it runs, and not for its help."""
HELPS = [
    *([], ["demo"], ["backtest"], ["accuracy"], ["check"], ["from"], ["replay"], ["status"], ["forecast"], ["train"]),
    *(["tail"], ["doctor"], ["models"], ["models", "list"], ["models", "rollback"], ["models", "pin"]),
    *(["rollout"], ["rollout", "show"], ["rollout", "abort"]),
    *(["edge"], ["up"], ["down"], ["local"], ["local", "up"], ["local", "down"], ["local", "env"], ["local", "kafka"]),
]
RUNS = {
    "status": [],
    "forecast": ["a"],
    "doctor": [],
    "tail": [],
    "check": ["{rows}", "--stream", "{stream}"],
    "from": ["{rows}", "--target", "y"],
    "replay": ["--stream", "{stream}", "--data", "{rows}", "--drift", "step", "--to", "{refusing}"],
    "train": ["--stream", "{stream}", "--history", "{rows}"],
    "models list": [],
    "models rollback": ["a.batch", "--version", "v000001-0123456789ab"],
    "models pin": ["a.batch", "--off"],
    "models show": ["a.batch"],
    "models verify": ["a.batch"],
    "models import": ["{rows}", "--stream", "{stream}"],
    "rollout show": [],
    "rollout advance": ["a.batch"],
    "local env": [],
    "local down": [],
    "down": ["--folder", "{folder}"],
}
CODE = """
import atexit, json, sys
sys.modules |= dict.fromkeys({missing})
atexit.register(lambda: print("imported", json.dumps([name for name, found in sys.modules.items() if found])))
from driftline_cli.__main__ import app
app()
"""


def run(
    *words: str, missing: AbstractSet[str] = frozenset(), environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command, as if `missing` were not installed; its last line says what it has imported."""
    return subprocess.run(
        [sys.executable, "-c", CODE.format(missing=sorted(missing)), *words],
        env={**os.environ, **(environment or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def imported(done: subprocess.CompletedProcess[str]) -> set[str]:
    last = done.stdout.splitlines()[-1]
    return {name.partition(".")[0] for name in json.loads(last.removeprefix("imported "))}


@pytest.fixture
def away(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing answers."""
    names = ("INGEST", "INFERENCE", "COMBINER", "TRAINER")
    urls = {f"DRIFTLINE_{name}": address.partition("=")[2] for name, address in zip(names, nobody(), strict=True)}
    store = {"DRIFTLINE_STORE": str(tmp_path / "store"), "DRIFTLINE_STREAMS": str(tmp_path)}
    return urls | store | {"DRIFTLINE_BROKERS": f"127.0.0.1:{free_port()}"}


class Refusing(BaseHTTPRequestHandler):
    """Answers every POST with 422: whoever is away would be waited for."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(422)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def refusing() -> Iterator[str]:
    """Address of an ingest that takes no record."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help_imports_nothing_that_takes_time(words: list[str]):
    done = run(*words, "--help")
    assert (done.returncode, "Usage" in done.stdout) == (0, True), done.stderr
    assert imported(done) & (LAB | CLIENTS) == set()


@pytest.mark.parametrize("words", RUNS)
def test_a_subcommand_against_running_services_imports_none_of_them(
    words: str, tmp_path: Path, away: dict[str, str], refusing: str
):
    (tmp_path / "a.yaml").write_text(DEFINITION)
    (tmp_path / "rows.csv").write_text("t,y\n2026-01-01T00:00:00Z,1\n2026-01-01T00:00:01Z,2\n")
    given = {"stream": str(tmp_path / "a.yaml"), "rows": str(tmp_path / "rows.csv"), "refusing": refusing}
    given["folder"] = str(tmp_path / "run")
    options = [option.format(**given) for option in RUNS[words]]
    if words.startswith("local"):
        options += ["--folder", str(tmp_path / "run")]
    done = run(*words.split(), *options, environment=away)
    assert "Traceback" not in done.stderr, done.stderr
    assert imported(done) & LAB == set()


@pytest.mark.parametrize(
    "words",
    [
        ["demo"],
        ["accuracy"],
        ["backtest", "--stream", "{stream}", "--train", "{rows}", "--test", "{rows}"],
        ["local", "up", "--folder", "{folder}"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("missing", ["driftline_trainer", "driftline_combiner"])
def test_without_the_extra_a_sentence_says_how_to_install_it(words: list[str], missing: str, tmp_path: Path):
    (tmp_path / "a.yaml").write_text(DEFINITION)
    (tmp_path / "rows.csv").write_text("t,y\n2026-01-01T00:00:00Z,1\n")
    given = {"stream": tmp_path / "a.yaml", "rows": tmp_path / "rows.csv", "folder": tmp_path / "run"}
    done = run(*(word.format(**given) for word in words), missing={missing})
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"driftline: this subcommand needs {missing}, which is not installed: pip install 'driftline-cli[lab]'"
    ]


@pytest.mark.parametrize(("words", "extra"), [("up", "driftline-cli[lab]"), ("edge", "driftline-edge[litert]")])
def test_without_the_edge_a_sentence_says_how_to_install_it(words: str, extra: str, tmp_path: Path):
    done = run(words, "--folder", str(tmp_path / "run"), missing={"driftline_edge"})
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        [f"driftline: this subcommand needs driftline_edge, which is not installed: pip install '{extra}'"],
    )


def test_without_lightgbm_a_sentence_says_how_to_install_it():
    done = run("accuracy", missing={"lightgbm"})
    sentence = "driftline: this subcommand needs lightgbm, which is not installed: pip install 'lightgbm'"
    assert (done.returncode, done.stderr.splitlines()) == (1, [sentence])


@pytest.mark.parametrize("words", [["models", "verify", "a.batch"]])
def test_without_a_runtime_a_sentence_says_how_to_install_one(words: list[str]):
    done = run(*words, missing={"ai_edge_litert", "tflite_runtime"})
    assert (done.returncode, done.stderr.count("\n"), "'driftline[litert]'" in done.stderr) == (1, 1, True)


def test_the_thin_commands_miss_nothing_when_the_extra_is_not_there(tmp_path: Path, away: dict[str, str]):
    done = run("status", missing=LAB, environment=away)
    assert (done.returncode, "down" in done.stdout) == (1, True), done.stderr
