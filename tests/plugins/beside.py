"""How tests run beside each other in several workers: a module stays together, since its tests share fixtures.

What takes longest begins first: a run is no shorter than its longest part.
"""

from collections.abc import Sequence

import pytest

DEMO = "tests/docs/test_commands.py::test_a_block_does_what_it_says[README.md-make demo]"
LONGEST = (
    "tests/chaos/test_kill.py",
    "tests/chaos/test_chaos.py",
    DEMO,
    "tests/docs/test_commands.py",
    "tests/trainer/test_trainer.py",
    "tests/e2e",
    "tests/faults",
    "tests/docs/test_your_own_stream.py",
    "tests/cli/test_doctor.py",
    "tests/core/test_starting.py",
    "tests/trainer",
    "tests/security",
)
"""Tests, modules and folders, longest first; the others follow in the order of their paths."""
APART = (DEMO, "tests/e2e/test_other_streams.py", "tests/rest", "tests/k8s")
"""Tests, modules and folders whose tests share nothing dear, so that each may run anywhere."""
TOGETHER = {
    "default topics": ("tests/cli/test_doctor.py", "tests/core/test_starting.py"),
    "a machine under load": ("tests/chaos",),
}
"""By the reason the modules that run one after the other: they use the topics of the shared broker by their default
names, or each of them loads the machine as much as it can bear."""


def is_in(nodeid: str, places: Sequence[str]) -> bool:
    return any(nodeid == place or nodeid.startswith((f"{place}/", f"{place}::")) for place in places)


def unit_of_work(nodeid: str) -> str:
    """What the tests of one unit have in common; a unit is run by one worker, in order."""
    for reason, places in TOGETHER.items():
        if is_in(nodeid, places):
            return reason
    return nodeid if is_in(nodeid, APART) else nodeid.split("::", maxsplit=1)[0]


def rank(nodeid: str) -> int:
    return next((place for place, name in enumerate(LONGEST) if is_in(nodeid, (name,))), len(LONGEST))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Of pytest-xdist, where a run has several workers."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - a run with one worker does without

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return unit_of_work(nodeid)

    config.option.loadscopereorder = False
    return Scheduling(config, log)
