"""The command as scripts see it: exit codes, one sentence for an error, examples everywhere, completion."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from driftline_cli.__main__ import app
from driftline_cli.broker import free_port
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


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """All subcommands with their whole names."""
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


def test_who_interrupts_it_gets_130_and_no_stack_trace(stream: Path, rows: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE_S)
        to = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = ["replay", "--stream", str(stream), "--data", str(rows), "--to", to]
        started = subprocess.Popen([sys.executable, "-m", "driftline_cli", *command], stderr=subprocess.PIPE)
        # It is at work when it has come to be answered, and waits for ever.
        with started as running, silent.accept()[0]:
            running.send_signal(signal.SIGINT)
            said = running.communicate(timeout=PATIENCE_S)[1].decode()
    assert running.returncode == 130, said
    assert "Traceback" not in said


def test_shells_complete_it():
    offered = driftline(_DRIFTLINE_COMPLETE="complete_bash", COMP_WORDS="driftline do", COMP_CWORD="1")
    assert "doctor" in offered.stdout
