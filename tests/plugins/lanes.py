"""The unit lane: every test but those that are marked as costly, and no process and no TensorFlow inside it.

Nobody puts a test there by hand. A test leaves it by a marker of its own, by its folder, or by a fixture that it uses;
one that is in the lane and starts a process all the same fails at once, with a sentence that says how it is marked.
"""

import multiprocessing.util
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.testing  # noqa: F401 - some releases ask the system for its processor when it is first used
import pytest

COSTLY = ("kafka", "s3", "e2e", "process", "browser", "training")
FOLDERS = {
    "aws": "s3",
    "bench": "process",
    "chaos": "e2e",
    "compose": "process",
    "docs": "process",
    "e2e": "e2e",
    "faults": "s3",
    "k8s": "process",
    "observe": "process",
    "packaging": "process",
    "pi": "process",
    "page": "browser",
    "plugins": "process",
    "rest": "process",
    "security": "process",
    "trainer": "training",
    "workflows": "process",
}
"""Costly as a whole. A module in one of them that is not says so: `pytestmark = pytest.mark.unit`."""
FIXTURES = {
    "brokers": "kafka",
    "secure_kafka": "kafka",
    "s3_server": "s3",
    "secure_s3": "s3",
    "versions": "training",
    "foreign": "training",
}
STARTS = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}
"""What Python's audit hooks are told when a process is started."""
TRAINING = {"tensorflow", "keras"}
TESTS = Path(__file__).parent.parent


class LeftTheLane(RuntimeError):
    """A test of the unit lane did what is too dear for it."""


class Guard:
    """Refuses processes and TensorFlow while a test of the lane runs, and remembers what it refused."""

    def __init__(self) -> None:
        self.refused: LeftTheLane | None = None
        self._running: str | None = None
        self._spawn = multiprocessing.util.spawnv_passfds
        sys.addaudithook(self._hear)
        multiprocessing.util.spawnv_passfds = self._spawned

    def watch(self, test: str | None) -> None:
        """test: that of the lane which runs from now on; None for one that may do anything."""
        self._running, self.refused = test, None

    def _hear(self, event: str, details: tuple[object, ...]) -> None:
        if self._running is None:
            return
        if event in STARTS:
            self._refuse(f"starts a process ({details[0] if details else event})")
        if event == "import" and details[0] in TRAINING:
            self._refuse(f"imports {details[0]}")

    def _spawned(self, path: bytes, args: Sequence[Any], passfds: Sequence[int]) -> int:
        # multiprocessing starts its children without a word to the audit hooks.
        if self._running is not None:
            self._refuse("starts a process of multiprocessing")
        return self._spawn(path, args, passfds)

    def _refuse(self, what: str) -> None:
        self.refused = LeftTheLane(
            f"{self._running} is in the unit lane and {what}: mark it with one of {', '.join(COSTLY)}"
        )
        raise self.refused


_guard = Guard()


def folder(item: pytest.Item) -> str | None:
    return item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else None


def costs(item: pytest.Item) -> str | None:
    """The marker by which a test is none of the unit lane."""
    for name in COSTLY:
        if item.get_closest_marker(name):
            return name
    by_fixture = [FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in FIXTURES]
    if by_fixture:
        return by_fixture[0]
    return None if item.get_closest_marker("unit") else FOLDERS.get(folder(item) or "")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        cost = costs(item)
        if cost is None:
            item.add_marker("unit")
        elif item.get_closest_marker("unit"):
            raise pytest.UsageError(f"{item.nodeid}: found the markers unit and {cost}, expected one of them")
        else:
            item.add_marker(cost)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _guard.watch(item.nodeid if item.get_closest_marker("unit") else None)
    try:
        return (yield)
    finally:
        _guard.watch(None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Whatever the test made of the refusal."""
    report = yield
    refused, _guard.refused = _guard.refused, None
    if refused is not None and not report.failed:
        report.outcome, report.longrepr = "failed", str(refused)
    return report
