"""What `make wheels` builds can be installed from its folder, and the command alone brings no service."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from scripts import version as stating
from tests.conftest import ROOT

CONSTRAINTS = ROOT / "constraints" / f"3.{sys.version_info.minor}.txt"
PARTS = ("core", "kernels", "client", "cli", "edge")
PROJECTS = [*(ROOT / part for part in PARTS), *sorted((ROOT / "services").iterdir())]
NAMES = {tomllib.loads((project / "pyproject.toml").read_text())["project"]["name"] for project in PROJECTS}
SERVICES = {"driftline-combiner", "driftline-edge", "driftline-inference", "driftline-ingest", "driftline-trainer"}
INSTALLED = "import json, importlib.metadata as m; print(json.dumps({d.name: d.version for d in m.distributions()}))"
USED = "import driftline_cli, driftline.streams.tables, driftline.service.settings, httpx, psutil, rich, typer"
"""What the command's own modules work with."""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = ["make", "wheels", f"DIST={folder}", f"VENV={sys.prefix}"]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def bare(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that got the command from that folder, and the rest from where pip gets things."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    own = shutil.which("uv") or (find_spec("uv") and f"{sys.executable} -m uv")
    command = f"{own} pip install --python {python}" if own else f"{sys.executable} -m pip --python {python} install"
    wanted = ["--find-links", str(dist), "-c", str(CONSTRAINTS), "driftline-cli"]
    environment = os.environ | ({"UV_SYSTEM_CERTS": "1"} if Path("/etc/ssl/certs").exists() else {})
    done = subprocess.run(
        [*command.split(), *wanted], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return python


def test_every_distribution_is_built(dist: Path):
    built = {tuple(wheel.name.split("-")[:2]) for wheel in dist.glob("*.whl")}
    assert built == {(name.replace("-", "_"), version("driftline")) for name in NAMES}


def test_the_command_brings_no_service_and_no_tensorflow(bare: Path):
    told = subprocess.run([bare, "-c", INSTALLED], capture_output=True, text=True, check=True).stdout
    found = {name.lower(): number for name, number in json.loads(told).items()}
    assert {"driftline", "driftline-cli", "driftline-client", "psutil", "pyarrow"} <= set(found)
    assert found["driftline-cli"] == found["driftline-client"] == found["driftline"] == version("driftline")
    assert not SERVICES & set(found)
    assert not [name for name in found if re.match(r"tensorflow|keras|matplotlib|ministack|river|ai.edge.litert", name)]


def test_what_the_command_works_with_is_there(bare: Path):
    done = subprocess.run([bare, "-c", USED], cwd=bare.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words", [("--help",), ("status", "--help"), ("doctor", "--help"), ("models", "list", "--help")]
)
def test_the_command_answers_without_the_services(bare: Path, words: tuple[str, ...]):
    command = [str(bare.with_name("driftline")), *words]
    done = subprocess.run(command, cwd=bare.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_every_place_states_the_same_version():
    pattern = stating.pattern(version("driftline"))
    assert stating.stated() == version("driftline")
    assert not [place for place in stating.PLACES if not pattern.search((ROOT / place).read_text())]
