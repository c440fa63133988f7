"""The command as scripts see it: exit codes, one sentence for an error, examples everywhere, completion."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from driftline_cli.__main__ import app
from driftline_cli.broker import free_port
from driftline_cli.stack import Ports
from tests.cli.test_doctor import driftline, nobody

pytestmark = pytest.mark.process
PATIENCE_S = 120
DEFINITION = "name: a\ntime: {column: t, period: 1s}\ntarget: y\n"


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(DEFINITION)
    return tmp_path / "a.yaml"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    (tmp_path / "rows.csv").write_text("t,y\n2026-01-01T00:00:00Z,1\n")
    return tmp_path / "rows.csv"


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """All subcommands with their whole names. Their class is of the copy of click that typer has."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for part, found in inner.items():
        yield from leaves(found, f"{name} {part}")


def test_every_subcommand_has_an_example_of_itself():
    found = dict(leaves(typer.main.get_command(app), "driftline"))
    assert len(found) > 12
    for name, command in found.items():
        assert f"Example: {name}" in command.help or f"$({name})" in command.help, name


def named(command: Any, name: str) -> Iterator[str]:
    """All commands and groups with their whole names."""
    yield name
    for part, found in getattr(command, "commands", {}).items():
        yield from named(found, f"{name} {part}")


@pytest.mark.parametrize("columns", ["40", "80", "200"])
@pytest.mark.parametrize("asked", ["--help", "-h"])
@pytest.mark.parametrize("name", [*named(typer.main.get_command(app), "")])
def test_every_help_is_given(name: str, asked: str, columns: str):
    done = CliRunner().invoke(app, [*name.split(), asked], env={"COLUMNS": columns})
    assert (done.exit_code, "Usage: " in done.output) == (0, True), done.exception


def test_it_says_its_version():
    done = driftline("--version")
    assert (done.returncode, done.stdout) == (0, f"driftline {version('driftline-cli')}\n")


def test_who_reads_no_further_hears_nothing(tmp_path: Path):
    (tmp_path / "ports.json").write_bytes(msgspec.json.encode(Ports()))
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "driftline_cli", "local", "env", "--folder", str(tmp_path)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False, timeout=PATIENCE_S)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_what_is_away_ends_with_3_and_says_where_it_was_looked_for(stream: Path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    models = driftline("models", "list", "--inference", nowhere)
    assert (models.returncode, nowhere in one_sentence(models)) == (3, True)
    train = driftline("train", "--stream", str(stream), "--trainer", nowhere)
    assert (train.returncode, nowhere in one_sentence(train)) == (3, True)
    tail = driftline("tail", DRIFTLINE_BROKERS=f"127.0.0.1:{free_port()}")
    assert (tail.returncode, "DRIFTLINE_BROKERS" in one_sentence(tail)) == (3, True)
    assert "Error" not in one_sentence(tail), "words for programmers"


def test_what_is_wrong_ends_with_1_and_says_what_was_expected(stream: Path, tmp_path: Path):
    (tmp_path / "other.csv").write_text("t,z\n2026-01-01T00:00:00Z,1\n")
    done = driftline("replay", "--stream", str(stream), "--data", str(tmp_path / "other.csv"))
    assert done.returncode == 1
    assert "found no column 'y'" in one_sentence(done)
    assert driftline("status", *nobody()).returncode == 1


def test_misuse_ends_with_2(stream: Path):
    done = driftline("replay", "--stream", str(stream), "--data", "nowhere.csv")
    assert done.returncode == 2
    assert "does not exist" in done.stderr


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Who starts the tests in the background has SIGINT ignored, which a command would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_who_interrupts_it_gets_130_and_no_stack_trace(stream: Path, rows: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        to = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = ["replay", "--stream", str(stream), "--data", str(rows), "--to", to]
        started = subprocess.Popen([sys.executable, "-m", "driftline_cli", *command], stderr=subprocess.PIPE)
        # It is at work when it has asked, and waits for ever.
        with started as running, silent.accept()[0] as asking:
            asking.recv(1)
            running.send_signal(signal.SIGINT)
            said = running.communicate(timeout=PATIENCE_S)[1].decode()
    assert running.returncode == 130, said
    assert "Traceback" not in said


def test_a_stream_is_named_by_its_file_or_its_name(stream: Path, rows: Path, tmp_path: Path):
    nowhere = f"http://127.0.0.1:{free_port()}"
    for given in (str(stream), "a"):
        done = driftline("train", "--stream", given, "--trainer", nowhere, DRIFTLINE_STREAMS=str(tmp_path))
        assert (done.returncode, nowhere in one_sentence(done)) == (3, True)
    for given in (str(tmp_path / "nobody.yaml"), "nobody"):
        done = driftline("replay", "--stream", given, "--data", str(rows), DRIFTLINE_STREAMS=str(tmp_path))
        assert (done.returncode, "nobody" in one_sentence(done)) == (1, True)
    assert "expected a definition's file or a name in" in one_sentence(done)


def test_shells_complete_it():
    offered = driftline(_DRIFTLINE_COMPLETE="complete_bash", COMP_WORDS="driftline do", COMP_CWORD="1")
    assert "doctor" in offered.stdout
