"""What install.sh does on a Debian with systemd and Python and without a network: installs, upgrades, goes back."""

import json
import os
import shutil
from pathlib import Path

import pytest
import stamina

from tests.pi import archives
from tests.pi.machine import Machine

pytestmark = pytest.mark.skipif(archives.FOLDER not in os.environ, reason="needs root file systems: make pi-test")

UNIT = "driftline-edge.service"
STREAM = (
    "name: greenhouse\ntime: {column: t, zone: UTC, period: 1min}\nkey: sensor\ntarget: value\nlags: 3\nhorizon: 1\n"
)
TOKEN = "/etc/driftline/secrets/driftline_token"  # noqa: S105 - a file
ASK = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], data=sys.argv[2].encode() if len(sys.argv) > 2 else None)
request.add_header("Authorization", "Bearer " + open("{token}").read())
request.add_header("Content-Type", "application/json")
with urllib.request.urlopen(request, timeout=10) as answer:
    print(answer.read().decode())
"""
DROP_IN = "[Service]\nWatchdogSec=4\nTimeoutAbortSec=2\nTimeoutStopSec=2\nRestartSec=100ms\n"
ANSWERS_WITHIN = 60


@pytest.fixture(scope="session")
def later(this: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archives.later(this, tmp_path_factory.mktemp("later"))


def install(pi: Machine, archive: Path, *options: str, check: bool = True) -> tuple[int, str, str]:
    """Copies the archive there, as scp would, and runs its install.sh."""
    copied = pi.path("/root/driftline")
    shutil.rmtree(copied, ignore_errors=True)
    archives.linked(archive, copied)
    done = pi.run("/root/driftline/install.sh", *options, check=check)
    return done.returncode, done.stdout, done.stderr


def ask(pi: Machine, url: str, *body: str) -> str:
    return pi.run("python3", "-c", ASK.format(token=TOKEN), url, *body).stdout


def send(pi: Machine, *values: float) -> None:
    """A record a minute, each of which is answered by 202, behind those that were sent before."""
    rows = pi.path("/root/sent")
    before = int(rows.read_text()) if rows.exists() else 0
    sent = [
        {"t": f"2026-01-01T{minute // 60:02}:{minute % 60:02}:00", "sensor": "a", "value": value}
        for minute, value in enumerate(values, before)
    ]
    ask(pi, "http://127.0.0.1:8001/v1/records?stream=greenhouse", json.dumps(sent))
    rows.write_text(str(before + len(values)))


def blend(pi: Machine) -> tuple[int, float]:
    """Minutes since the first record at which the newest forecast was made, and what was observed then."""
    answer = json.loads(ask(pi, "http://127.0.0.1:8003/v1/blends/greenhouse/a"))
    return (answer["t"] - 1_767_225_600_000) // 60_000, answer["observed"]


@stamina.retry(on=AssertionError, attempts=None, timeout=ANSWERS_WITHIN, wait_initial=0.1, wait_max=0.5)
def blended(pi: Machine, minute: int, observed: float) -> None:
    assert blend(pi) == (minute, observed)


def scored(pi: Machine) -> int:
    """Forecasts that met their truth, as the combiner counts them for the series: its state, which must go on."""
    (weights,) = json.loads(ask(pi, "http://127.0.0.1:8003/v1/weights?stream=greenhouse"))
    return max(score["n"] for score in weights["horizons"][0]["scores"].values())


def shown(pi: Machine, name: str) -> str:
    return pi.run("systemctl", "show", "--value", f"--property={name}", UNIT).stdout.strip()


def runs(pi: Machine) -> str:
    """The version that answers."""
    return json.loads(ask(pi, "http://127.0.0.1:8001/openapi.json"))["info"]["version"]


def add_stream(pi: Machine) -> None:
    pi.path("/etc/driftline/streams/greenhouse.yaml").write_text(STREAM)


def test_it_installs_serves_upgrades_and_goes_on_and_leaves_the_data(pi: Machine, this: Path, later: Path):
    _, said, _ = install(pi, this)
    assert f"{archives.VERSION} is ready" in said
    assert pi.run("systemd-analyze", "verify", UNIT).stderr == ""
    assert (shown(pi, "ActiveState"), shown(pi, "User")) == ("active", "driftline")
    sizes(pi)

    add_stream(pi)
    send(pi, *map(float, range(30)))
    blended(pi, 29, 29.0)
    before = scored(pi)
    assert before > 0
    examined(pi)
    settings = pi.path("/etc/driftline/edge.env")
    settings.write_text("DRIFTLINE_EDGE=greenhouse-pi\n")
    token = pi.path(TOKEN).read_text()

    install(pi, later)
    assert runs(pi) == archives.LATER
    assert (settings.read_text(), pi.path(TOKEN).read_text()) == ("DRIFTLINE_EDGE=greenhouse-pi\n", token)
    assert scored(pi) == before
    send(pi, 30.0, 31.0)
    blended(pi, 31, 31.0)
    assert scored(pi) == before + 2

    pi.run("/opt/driftline/current/share/install.sh", "--uninstall")
    assert not pi.path("/opt/driftline").exists()
    assert not pi.path(f"/etc/systemd/system/{UNIT}").exists()
    assert not pi.path("/usr/local/bin/driftline").is_symlink()
    assert pi.run("id", "driftline", check=False).returncode == 1
    assert list(pi.path("/var/lib/driftline/bus").iterdir())
    assert settings.exists()

    install(pi, later)
    assert scored(pi) == before + 2


def examined(pi: Machine) -> None:
    """The command has the service's settings, and knows its bus and its store from them."""
    command = ("runuser", "-u", "driftline", "--", "driftline", "doctor", "--json")
    answer = pi.run(*command, check=False)
    assert answer.stdout, answer.stderr
    findings = {finding["what"]: finding for finding in json.loads(answer.stdout)}
    assert "/var/lib/driftline/bus" in findings["bus"]["found"]
    assert findings["store"]["found"] == "answers at /var/lib/driftline/store"
    assert all(findings[what]["fine"] for what in ("definitions", "bus", "store", "ingest", "inference", "combiner"))


def sizes(pi: Machine) -> None:
    """Prints what it takes."""
    resident = pi.run("grep", "-E", "^(Rss|Pss):", f"/proc/{shown(pi, 'MainPID')}/smaps_rollup").stdout.split()
    disk = pi.run("du", "-sk", f"/opt/driftline/{archives.VERSION}").stdout.split()[0]
    print(f"{pi.root.name}: {int(disk) // 1000} MB on the disk, {' '.join(resident)}")  # noqa: T201


def test_a_version_that_does_not_start_leaves_the_former_one_at_work(pi: Machine, this: Path, tmp_path: Path):
    install(pi, this)
    add_stream(pi)
    send(pi, *map(float, range(30)))
    blended(pi, 29, 29.0)
    status, _, said = install(pi, archives.without_service(this, tmp_path / "broken"), check=False)
    assert status == 1
    assert f"the former {archives.VERSION} goes on" in said
    assert shown(pi, "ActiveState") == "active"
    send(pi, 30.0)
    blended(pi, 30, 30.0)


def test_an_installation_again_changes_nothing(pi: Machine, this: Path):
    install(pi, this)
    before = sorted(pi.path("/opt/driftline").iterdir())
    _, said, _ = install(pi, this)
    assert f"{archives.VERSION} is in /opt/driftline/{archives.VERSION} already" in said
    assert sorted(pi.path("/opt/driftline").iterdir()) == before
    assert shown(pi, "ActiveState") == "active"


def test_a_process_that_does_not_come_round_is_restarted(pi: Machine, this: Path):
    folder = pi.path(f"/etc/systemd/system/{UNIT}.d")
    folder.mkdir(parents=True)
    (folder / "soon.conf").write_text(DROP_IN)
    install(pi, this)
    assert shown(pi, "NRestarts") == "0"
    pi.run("sh", "-c", f"kill -STOP {shown(pi, 'MainPID')}")
    restarted(pi, 1)
    assert "watchdog" in pi.run("journalctl", "--no-pager", f"--unit={UNIT}").stdout.lower()


def test_a_worker_that_died_is_restarted_with_its_process(pi: Machine, this: Path):
    install(pi, this)
    # As driftline.service.app ends its process when one of its workers dies.
    pi.run("sh", "-c", f"kill -TERM {shown(pi, 'MainPID')}")
    restarted(pi, 1)


@stamina.retry(on=AssertionError, attempts=None, timeout=ANSWERS_WITHIN, wait_initial=0.1, wait_max=0.5)
def restarted(pi: Machine, times: int) -> None:
    assert (shown(pi, "NRestarts"), shown(pi, "ActiveState")) == (str(times), "active")


def test_a_torn_copy_is_refused_before_anything_changes(pi: Machine, this: Path, tmp_path: Path):
    status, _, said = install(pi, archives.torn(this, tmp_path / "torn"), check=False)
    assert status == 1
    assert "the archive is damaged or incomplete: copy it again" in said
    assert not pi.path("/opt/driftline").exists()
    assert not pi.path("/etc/driftline").exists()
