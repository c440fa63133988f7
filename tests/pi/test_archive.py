"""What the archive is made of, as far as that can be seen without a download and without root."""

import gzip
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from scripts import pi
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy" / "pi"
UNIT = DEPLOY / "driftline-edge.service"
MACHINE = platform.machine()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """One without wheels."""
    folder = tmp_path / "archive"
    shutil.copytree(DEPLOY, folder)
    (folder / "release").write_text(pi.release(MACHINE, 0))
    (folder / "SHA256SUMS").write_text(pi.sums(folder))
    return folder


def install(archive: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([archive / "install.sh", *options], capture_output=True, text=True, check=False)


def test_the_same_files_are_the_same_archive(archive: Path, tmp_path: Path):
    first, second = tmp_path / "first.tar.gz", tmp_path / "second.tar.gz"
    pi.pack(archive, first)
    os.utime(archive / "README", (0, 0))
    (archive / "README").chmod(0o600)
    pi.pack(archive, second)
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes())


def test_the_scripts_are_of_any_posix_shell():
    for shell in ("dash", "bash"):
        for script in ("install.sh", "driftline"):
            subprocess.run([shell, "-n", DEPLOY / script], check=True)


def test_every_python_of_the_archive_is_pinned():
    assert all(pi.Target("aarch64", python).constraints.exists() for python in pi.PYTHONS)
    assert pi.installer(pi.Target("aarch64", "3.11")).startswith("pip==")


def test_a_line_that_pins_nothing_is_an_error():
    assert pi.name_of("numpy==2.4.6") == "numpy"
    with pytest.raises(ValueError, match="found 'numpy>=2', expected NAME==VERSION"):
        pi.name_of("numpy>=2")


def test_the_release_says_what_it_is(archive: Path):
    text = "set -eu; . ./release; echo $VERSION $MACHINE $PYTHONS"
    said = subprocess.run(["sh", "-c", text], cwd=archive, capture_output=True, text=True, check=True).stdout
    assert said.split() == [version("driftline"), MACHINE, *pi.PYTHONS]


def test_settings_of_the_file_are_settings():
    """Each that is commented out there, so that none of them is passed over when it is used."""
    from driftline.service.setting_names import slips  # noqa: PLC0415
    from driftline.service.settings import Settings  # noqa: PLC0415

    lines = [line.removeprefix("#") for line in (DEPLOY / "edge.env").read_text().splitlines()]
    names = [line.split("=")[0] for line in lines if line.startswith("DRIFTLINE_")]
    assert len(names) > 5
    assert not list(slips(names, Settings.model_fields))


def test_another_machine_is_refused(archive: Path, tmp_path: Path):
    (archive / "release").write_text(pi.release("riscv64", 0))
    done = install(archive, "--prefix", str(tmp_path / "root"))
    assert done.returncode == 1
    assert done.stderr == f"driftline: found a machine of {MACHINE}, expected riscv64: take the other archive\n"


def test_a_changed_file_is_refused(archive: Path, tmp_path: Path):
    (archive / "edge.env").write_text("DRIFTLINE_HOST=0.0.0.0\n")
    done = install(archive, "--prefix", str(tmp_path / "root"))
    assert done.returncode == 1
    assert done.stderr.endswith("driftline: the archive is damaged or incomplete: copy it again\n")
    assert not (tmp_path / "root").exists()


def test_a_python_that_is_none_is_refused(archive: Path, tmp_path: Path):
    done = install(archive, "--prefix", str(tmp_path / "root"), "--python", "/bin/true")
    assert done.returncode == 1
    assert "/bin/true: found no Python, expected 64-bit Python, one of: 3.13 3.11" in done.stderr


def test_a_full_disk_is_refused(archive: Path, tmp_path: Path):
    (archive / "release").write_text(pi.release(MACHINE, 10**16))
    for python in pi.PYTHONS:
        (archive / f"requirements-{python}.txt").touch()
    (archive / "SHA256SUMS").unlink()
    (archive / "SHA256SUMS").write_text(pi.sums(archive))
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\ncase $2 in "import sys;"*) echo 3.13 ;; esac\n')
    program.chmod(0o755)
    done = install(archive, "--prefix", str(tmp_path / "root"), "--python", str(program))
    assert done.returncode == 1
    assert "MB free for" in done.stderr


def test_an_unknown_option_is_refused(archive: Path):
    done = install(archive, "--purge")
    assert done.returncode == 1
    assert done.stderr.endswith("driftline: found --purge, expected one of these options\n")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path):
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    program = tmp_path / "opt/driftline/current/bin/python"
    program.parent.mkdir(parents=True)
    program.touch()
    program.chmod(0o755)
    shutil.copy(UNIT, units)
    command = ["systemd-analyze", "verify", "--recursive-errors=no", f"--root={tmp_path}", UNIT.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
