"""The archive for a Pi on emulated arm64: installed, started by hand as the unit says, sent a record, ended.

systemd is not emulated: its unit is examined by Debian's own systemd-analyze, and tried in test_install.
"""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina

from tests.compose.emulation import emulation
from tests.pi import archives
from tests.pi.machine import RELEASES, UNTIL_TERMINATED, Machine, booted, rootfs, unpack
from tests.pi.test_install import UNIT, add_stream, blended, install, runs, send

pytestmark = [
    pytest.mark.skipif("DRIFTLINE_ARM64" not in os.environ, reason="needs emulated arm64: make pi-test"),
    pytest.mark.timeout(3600),
]

MACHINE = "aarch64"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archives.unpacked(MACHINE, tmp_path_factory.mktemp("arm64"))


@pytest.fixture(params=RELEASES)
def pi(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftline" / "engine"
    with emulation(cache) as possible:
        assert possible, "this kernel does not run what is made for arm64"
        unpack(rootfs(request.param, MACHINE), tmp_path / request.param)
        with booted(tmp_path / request.param, first=UNTIL_TERMINATED) as machine:
            yield machine


def settings(unit: str, name: str) -> list[str]:
    """The values of a setting of the unit."""
    return [line.removeprefix(f"{name}=") for line in unit.splitlines() if line.startswith(f"{name}=")]


def start(pi: Machine) -> "subprocess.Popen[bytes]":
    """Runs what the unit runs, as its user, in its folder and with its environment."""
    unit = pi.path(f"/etc/systemd/system/{UNIT}").read_text()
    (user,), (folder,), (command,) = (settings(unit, name) for name in ("User", "WorkingDirectory", "ExecStart"))
    variables = [pair for line in settings(unit, "Environment") for pair in shlex.split(line)]
    as_user = f"setpriv --reuid={user} --regid={user} --clear-groups"
    script = f"cd {folder} && exec {as_user} env {shlex.join(variables)} {command}"
    return pi.start("sh", "-c", script)


@stamina.retry(on=AssertionError, attempts=None, timeout=300, wait_initial=1, wait_max=5)
def serves(pi: Machine) -> None:
    assert runs(pi) == archives.VERSION


def test_on_arm64_a_record_becomes_a_blend(pi: Machine, archive: Path):
    _, said, _ = install(pi, archive)
    assert f"installed; start it with: systemctl enable --now {UNIT}" in said
    assert pi.run("systemd-analyze", "verify", UNIT).stderr == ""
    add_stream(pi)
    process = start(pi)
    try:
        serves(pi)
        send(pi, *map(float, range(10)))
        blended(pi, 9, 9.0)
    finally:
        process.terminate()
        process.wait()
