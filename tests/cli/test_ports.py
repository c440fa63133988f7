"""Where a local stack and a demo listen."""

from pathlib import Path

import msgspec

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
