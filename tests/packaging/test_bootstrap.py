"""Which Python `make` takes, and what it says of those that it passes over."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

HERE = f"3.{sys.version_info.minor}"
NEWER = "3.98"
"""A Python of the test's own."""
PROGRAM = f"""#!/bin/sh
[ "$1" = -c ] && echo {NEWER} && exit
{{venv}}
exec {sys.executable} "$@"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout that needs no package, on a machine whose uv installs nothing."""
    for folder in ("constraints", "services", "bin", "home"):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "constraints" / f"{HERE}.txt").touch()
    program(tmp_path / "bin" / "uv", f'#!/bin/sh\ncase "$*" in *{NEWER}.txt*) exit 1 ;; esac\n')
    return tmp_path


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def newer(tree: Path, *, pins: str = "", venv: str = "") -> None:
    """Gives the machine a newer Python; venv: what it does first when it is asked for an environment."""
    (tree / "constraints" / f"{NEWER}.txt").write_text(pins)
    program(tree / "bin" / f"python{NEWER}", PROGRAM.format(venv=venv))


def bootstrap(tree: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {"PATH": f"{tree / 'bin'}:/usr/bin:/bin", "HOME": str(tree / "home"), **environment}
    command = [sys.executable, str(tree / "scripts" / "bootstrap.py")]
    return subprocess.run(command, env=known, capture_output=True, text=True, check=False)


def test_an_environment_is_made_once(tree: Path):
    first = bootstrap(tree)
    assert first.returncode == 0, first.stderr
    assert f"makes .venv with Python {HERE}" in first.stdout
    assert (tree / ".venv" / "bin" / "python").exists()
    assert bootstrap(tree).stdout == ""
    assert not list(tree.glob("*.whl"))


def test_a_python_without_environments_is_passed_over(tree: Path):
    newer(tree, venv="exit 1")
    done = bootstrap(tree)
    assert done.returncode == 0, done.stderr
    assert f"passes over {tree}/bin/python{NEWER}: it can't make a virtual environment" in done.stdout
    assert f"makes .venv with Python {HERE}" in done.stdout


def test_a_python_without_packages_is_passed_over(tree: Path):
    newer(tree, pins="no pin at all")
    done = bootstrap(tree)
    assert done.returncode == 0, done.stderr
    assert f"passes over Python {NEWER}: its packages can't be installed" in done.stdout
    assert (tree / ".venv" / "requirements.txt.stamp").exists()


def test_a_python_that_is_named_is_not_passed_over(tree: Path):
    newer(tree, venv="exit 1")
    done = bootstrap(tree, PYTHON=f"python{NEWER}")
    assert done.returncode == 1
    assert done.stderr.startswith("found no Python that requirements.txt can be installed for")


def test_a_python_that_is_not_supported_is_refused(tree: Path):
    program(tree / "bin" / "python3", "#!/bin/sh\necho 3.9\n")
    done = bootstrap(tree, PYTHON="python3")
    assert done.returncode == 1
    assert done.stderr == f"PYTHON=python3: found 3.9, expected Python {HERE}\n"
