"""A card with the archive and one file on its boot partition becomes a device of the fleet at its first start."""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import stamina

from driftline.fleet.device import Device
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.names import heartbeat_key
from driftline.fleet.notes import opened
from driftline.models.signing import Trust
from tests.pi import archives
from tests.pi.machine import Machine
from tests.pi.test_install import STREAM, UNIT, blended, install, send, shown
from tests.security.authority import Authority

pytestmark = pytest.mark.skipif(archives.FOLDER not in os.environ, reason="needs root file systems: make pi-test")

JOINS = "driftline-join.service"
BOOT = "/boot/firmware"
DATA = "/var/lib/driftline"
JOINS_WITHIN = 120


@dataclass(frozen=True)
class HttpsCloud:
    """What a trainer that the machine reaches has said, and where it keeps all."""

    folder: Path
    url: str
    token: str


@pytest.fixture
def cloud(pi: Machine, tmp_path: Path) -> Iterator[HttpsCloud]:
    """Its definitions are those of the greenhouse."""
    folder = tmp_path / "cloud"
    (folder / "streams").mkdir(parents=True)
    (folder / "streams" / "greenhouse.yaml").write_text(STREAM)
    with pi.serve(sys.executable, "-m", "tests.pi.cloud", str(folder)) as process:
        try:
            assert process.stdout is not None
            yield HttpsCloud(folder, **json.loads(process.stdout.readline()))
        finally:
            # Not in good order: it would wait for the edge's open requests.
            process.kill()


def prepare(pi: Machine, cloud: HttpsCloud, authority: Path) -> Path:
    """Writes the boot partition, as a person does on a laptop; gives the file."""
    pi.path(BOOT).mkdir(parents=True)
    file = pi.path(f"{BOOT}/driftline.env")
    lines = (f"DRIFTLINE_JOIN_URL={cloud.url}", f"DRIFTLINE_JOIN_TOKEN={cloud.token}", "DRIFTLINE_EDGE=attic")
    file.write_text("\r\n".join((*lines, "DRIFTLINE_JOIN_LABELS=site=north", "DRIFTLINE_HEARTBEAT_EVERY=5")))
    pi.path(f"{BOOT}/driftline-ca.pem").write_bytes(authority.read_bytes())
    return file


@stamina.retry(on=AssertionError, attempts=None, timeout=JOINS_WITHIN, wait_initial=0.2, wait_max=1.0)
def serves(pi: Machine) -> None:
    assert shown(pi, "ActiveState") == "active", pi.run("journalctl", "--no-pager", f"--unit={JOINS}").stdout


@stamina.retry(on=AssertionError, attempts=None, timeout=JOINS_WITHIN, wait_initial=0.2, wait_max=1.0)
def heard(cloud: HttpsCloud, edge: str, key: str) -> Heartbeat:
    """Of that edge with the greenhouse's definition, signed by that key."""
    file = cloud.folder / "store" / heartbeat_key(edge)
    assert file.exists()
    heartbeat = opened(file.read_bytes(), Heartbeat, Trust([key]))
    assert heartbeat.definitions is not None
    return heartbeat


@stamina.retry(on=AssertionError, attempts=None, timeout=JOINS_WITHIN, wait_initial=0.2, wait_max=1.0)
def refused(pi: Machine) -> None:
    assert "certificate" in pi.run("journalctl", "--no-pager", f"--unit={JOINS}").stdout


def test_it_joins_by_https_with_an_authority_of_its_own_and_works_with_the_fleets_definitions(
    pi: Machine, this: Path, cloud: HttpsCloud
):
    file = prepare(pi, cloud, Authority(cloud.folder / "other").file)
    _, said, _ = install(pi, this)
    assert "joins the fleet and starts" in said
    refused(pi)
    assert (cloud.token in file.read_text(), shown(pi, "ActiveState")) == (True, "inactive")
    assert not list((cloud.folder / "store" / "fleet" / "edges").glob("*")), "whom it does not know gets no token"

    pi.path(f"{BOOT}/driftline-ca.pem").write_bytes((cloud.folder / "ca.pem").read_bytes())
    serves(pi)
    assert (cloud.token in file.read_text(), "DRIFTLINE_EDGE=attic" in file.read_text()) == (False, True)
    assert cloud.token not in pi.run("journalctl", "--no-pager").stdout

    device = Device(pi.path(DATA))
    joined = device.joined()
    assert joined is not None
    assert (joined.url, joined.name, joined.labels) == (cloud.url, "attic", {"site": "north"})
    heartbeat = heard(cloud, joined.edge, device.signer().public)
    assert (heartbeat.name, dict(heartbeat.labels)) == ("attic", {"site": "north"})
    assert list(pi.path("/etc/driftline/streams").iterdir()) == [], "the fleet's definitions count"
    send(pi, *map(float, range(30)))
    blended(pi, 29, 29.0)

    # As after a power cut: it neither joins again nor has another id.
    pi.run("systemctl", "restart", JOINS, UNIT)
    serves(pi)
    send(pi, 30.0)
    blended(pi, 30, 30.0)
    assert Device(pi.path(DATA)).joined() == joined
