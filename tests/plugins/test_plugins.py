"""What a run of tests holds to: the unit lane, the skips of CI, and what is made once for all workers."""

import gc
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.docs.markdown import blocks
from tests.plugins.beside import DEMO, rank, unit_of_work
from tests.plugins.skips import is_allowed

PLUGINS = ("lanes", "skips", "shared", "beside", "leaks", "browsers")
ALONE = ("-p", "no:cacheprovider", "-p", "no:warnings", "-p", "no:schemathesis", "-p", "no:anyio", "-rA")


def pytest_on(folder: Path, *options: str, **environment: str) -> str:
    """What pytest says of the tests in a folder, with our plugins and nothing else of ours."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "PYTEST"))}
    plugins = [part for name in PLUGINS for part in ("-p", f"tests.plugins.{name}")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *ALONE, f"--rootdir={folder}", *options, "."],
        cwd=folder,
        env=inherited | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


SKIPPED = """
import pytest

@pytest.fixture
def broker():
    pytest.skip("no broker today")

def test_by_a_fixture(broker): ...

@pytest.mark.skipif(True, reason="no browser today")
def test_by_a_marker(): ...

def test_that_is_expected():
    pytest.skip("it is a picture")

@pytest.mark.xfail(reason="known")
def test_that_is_known_to_fail():
    assert False
"""


def test_in_ci_a_skip_that_nobody_listed_fails_with_a_sentence(tmp_path: Path):
    (tmp_path / "test_a.py").write_text(SKIPPED)
    said = pytest_on(tmp_path, CI="true")
    assert "1 skipped, 1 xfailed, 2 errors" in said, said
    assert "skipped in CI because: no broker today. Expected it to run: give CI what it lacks, or list" in said
    assert "skipped in CI because: no browser today." in said
    assert "3 skipped, 1 xfailed" in pytest_on(tmp_path)


def test_in_ci_a_whole_module_is_not_skipped_either(tmp_path: Path):
    (tmp_path / "test_a.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    assert "skipped in CI because: could not import 'no_such_module'" in pytest_on(tmp_path, CI="true")


def test_an_allowed_reason_is_matched_as_a_whole():
    assert is_allowed("it is a picture")
    assert not is_allowed("it is a picture, and there is no broker")


STARTS = {
    "subprocess": "import subprocess; subprocess.run(['true'])",
    "posix_spawn": "import os; os.waitpid(os.posix_spawnp('true', ['true'], {}), 0)",
    "multiprocessing": "import multiprocessing as m; m.get_context('spawn').Process(target=print).start()",
    "fork": "import os; os.fork() or os._exit(0)",
    "tensorflow": "import tensorflow",
}


@pytest.mark.parametrize("way", STARTS)
def test_in_the_unit_lane_a_process_fails_its_test_whatever_becomes_of_the_error(tmp_path: Path, way: str):
    hidden = f"def test_it():\n    try:\n        {STARTS[way]}\n    except Exception:\n        pass\n"
    (tmp_path / "test_a.py").write_text(hidden)
    said = pytest_on(tmp_path)
    assert "1 failed" in said, said
    assert "test_a.py::test_it is in the unit lane and " in said
    assert "mark it with one of kafka, s3," in said


def test_whoever_says_what_it_costs_may_start_processes_and_is_not_in_the_lane(tmp_path: Path):
    marked = f"import pytest\n@pytest.mark.process\ndef test_it():\n    {STARTS['subprocess']}\ndef test_pure(): ...\n"
    (tmp_path / "test_a.py").write_text(marked)
    assert "2 passed" in pytest_on(tmp_path)
    said = pytest_on(tmp_path, "-m", "unit")
    assert "1 passed, 1 deselected" in said, said


DEAR = """
import pytest

@pytest.fixture
def brokers(): ...

@pytest.fixture
def bus(brokers): ...

def test_it(bus): ...
"""


def test_a_fixture_that_is_dear_takes_its_test_out_of_the_lane(tmp_path: Path):
    (tmp_path / "test_a.py").write_text(DEAR)
    assert "1 deselected" in pytest_on(tmp_path, "-m", "unit")
    assert "1 passed" in pytest_on(tmp_path, "-m", "kafka")


def test_nothing_is_both_in_the_lane_and_dear(tmp_path: Path):
    (tmp_path / "test_a.py").write_text("import pytest\n@pytest.mark.unit\n@pytest.mark.s3\ndef test_it(): ...\n")
    assert "found the markers unit and s3, expected one of them" in pytest_on(tmp_path)


SHARING = """
import pytest
from pathlib import Path
from driftline_cli import processes

@pytest.fixture(scope="session")
def number(shared):
    def make(folder):
        with open("made", "a") as file:
            file.write("x")
        return processes.start(folder, "sleeper", ["sleep", "600"])
    return shared.once("sleeper", make)

@pytest.mark.process
@pytest.mark.parametrize("n", range(3))
def test_it(number, n):
    assert Path(f"/proc/{number}").exists()
    Path("pid").write_text(str(number))
"""


@pytest.mark.parametrize("workers", [[], ["-n", "3"]], ids=["alone", "beside each other"])
def test_what_is_shared_is_made_once_a_run_and_ended_with_it(tmp_path: Path, workers: list[str]):
    for name in "abc":
        (tmp_path / f"test_{name}.py").write_text(SHARING)
    said = pytest_on(tmp_path, *workers, f"--basetemp={tmp_path / 'base'}")
    assert "9 passed" in said, said
    assert (tmp_path / "made").read_text() == "x"
    with suppress(psutil.NoSuchProcess):
        # Where nobody has asked for its exit code yet, a process that has ended is still listed.
        assert psutil.Process(int((tmp_path / "pid").read_text())).status() == psutil.STATUS_ZOMBIE


def test_a_module_stays_together_and_the_longest_begin():
    tests = ["tests/core/test_a.py::test_x[a::b]", "tests/e2e/test_b.py::test_y", "tests/docs/test_commands.py::test_z"]
    assert unit_of_work(tests[0]) == "tests/core/test_a.py"
    assert unit_of_work("tests/core/test_starting.py::test_x") == unit_of_work("tests/cli/test_doctor.py::test_y")
    assert unit_of_work("tests/rest/test_openapi.py::test_x[ingest]") == "tests/rest/test_openapi.py::test_x[ingest]"
    assert sorted(tests, key=rank) == [tests[2], tests[1], tests[0]]


def test_the_demo_may_run_apart_from_the_services_of_its_page():
    (block,) = [block for block in blocks(ROOT / "README.md") if block.text.startswith("make demo")]
    assert f"tests/docs/test_commands.py::test_a_block_does_what_it_says[README.md-{block.name}]" == DEMO
    assert unit_of_work(DEMO) == DEMO
    assert unit_of_work(DEMO.replace("make demo", "make up")) == "tests/docs/test_commands.py"


def test_what_was_collected_is_no_work_for_pythons_collector():
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000


LEAVES = """
import socket

import pytest

class Client:
    def __init__(self):
        self.itself, self.connection = self, socket.socket()

@pytest.fixture
def client():
    return Client()

@pytest.mark.{marker}
def test_leaves_a_connection_open(client): ...
"""
JUDGES = """
import gc
import warnings

def test_is_not_to_blame():
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        gc.collect()
    assert complaints == []
"""


def test_what_a_client_of_a_broker_left_of_a_connection_is_blamed_on_no_later_test(tmp_path: Path):
    (tmp_path / "test_a.py").write_text(LEAVES.format(marker="kafka") + JUDGES)
    said = pytest_on(tmp_path)
    assert "2 passed" in said


COLLECTED = """
import gc
import socket
import warnings

import pytest

class Broken:
    def __del__(self):
        raise ValueError("broken")

def test_an_open_connection():
    warnings.simplefilter("error", ResourceWarning)
    left = [socket.socket()]
    left.append(left)
    del left
    gc.collect()

def test_anything_else():
    Broken()
"""


def test_what_somebody_left_of_a_connection_is_blamed_on_nobody_and_all_else_is(tmp_path: Path):
    (tmp_path / "test_a.py").write_text(COLLECTED)
    said = pytest_on(tmp_path, "-p", "warnings", "-W", "error::pytest.PytestUnraisableExceptionWarning")
    assert "1 failed, 1 passed" in said, said
    assert "FAILED test_a.py::test_anything_else" in said


def test_what_a_module_left_of_a_connection_is_blamed_on_no_other_module(tmp_path: Path):
    (tmp_path / "test_a.py").write_text(LEAVES.format(marker="other"))
    (tmp_path / "test_b.py").write_text(JUDGES)
    said = pytest_on(tmp_path)
    assert "2 passed" in said


FAILED_ONCE = """
import pytest
from playwright.async_api import Error

pytestmark = pytest.mark.browser
runs = []

@pytest.mark.parametrize("error", [Error("not attached"), AssertionError("no such text")], ids=["browser", "page"])
def test_first_time(error):
    runs.append(error)
    if runs.count(error) == 1:
        raise error
"""


def test_what_the_browser_failed_runs_once_more_and_what_the_page_failed_does_not(tmp_path: Path):
    (tmp_path / "test_a.py").write_text(FAILED_ONCE)
    said = pytest_on(tmp_path)
    assert "PASSED test_a.py::test_first_time[browser]" in said
    assert "FAILED test_a.py::test_first_time[page]" in said
    assert "1 failed, 1 passed, 1 rerun in" in said
