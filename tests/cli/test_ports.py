"""Where a local stack and a demo listen."""

import sys
from pathlib import Path

import msgspec
import pytest

from driftline.errors import Conflict, InvalidInput
from driftline_cli import processes
from driftline_cli.commands import local
from driftline_cli.demo import ports_from
from driftline_cli.stack import PORTS_FILE, Ports


def test_a_first_port_is_followed_by_the_others(tmp_path: Path):
    found = Ports.chosen(tmp_path, 9001)
    assert list(found.services.values()) == [9001, 9002, 9003, 9004]
    assert (found.kafka, found.s3) == (9005, 9006)
    assert ports_from(9001) == dict(found.services)
    assert ports_from(None) == {}


def test_a_stack_keeps_its_ports_until_others_are_named(tmp_path: Path):
    assert Ports.chosen(tmp_path, None) == Ports()
    (tmp_path / PORTS_FILE).write_bytes(msgspec.json.encode(Ports.chosen(tmp_path, 9001)))
    assert Ports.chosen(tmp_path, None) == Ports.chosen(tmp_path, 9001)
    assert Ports.chosen(tmp_path, 9101).kafka == 9105


def test_a_torn_file_of_ports_is_as_none(tmp_path: Path):
    (tmp_path / PORTS_FILE).write_bytes(b"")
    assert Ports.chosen(tmp_path, None) == Ports()
    with pytest.raises(InvalidInput, match="found no stack, expected one that `driftline up` started"):
        Ports.of(tmp_path)


@pytest.mark.process
def test_ports_stay_while_a_process_listens_there(tmp_path: Path):
    Ports.chosen(tmp_path, 9001).keep(tmp_path, "sleeper")
    processes.start(tmp_path, "sleeper", [sys.executable, "-c", "import time; time.sleep(600)"])
    Ports.chosen(tmp_path, 9001).keep(tmp_path, "sleeper")
    with pytest.raises(Conflict, match=r"at other ports: end it first \(`driftline down`\)"):
        Ports.chosen(tmp_path, 9101).keep(tmp_path, "sleeper")
    processes.stop(tmp_path, "sleeper")
    Ports.chosen(tmp_path, 9101).keep(tmp_path, "sleeper")
    assert Ports.of(tmp_path) == Ports.chosen(tmp_path, 9101)


def test_a_started_stack_says_where_its_page_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    local._say_where(Ports.chosen(tmp_path, 9001), tmp_path)
    assert "dashboard: http://127.0.0.1:9003/\n" in capsys.readouterr().out
