"""In CI a test may be skipped for a reason that is listed here, and for no other: it fails instead."""

import os
import re
from collections.abc import Iterator

import pytest

ALLOWED = {
    r"needs an engine: make compose-test": "CI runs one deployment, by make compose-smoke",
    r"needs root file systems: make pi-test": "it needs root and Debian, and takes minutes",
    r"needs emulated arm64: make pi-test": "emulation is the kernel's, and takes a quarter of an hour",
    r"needs helm: make helm-test": "Go takes minutes to build it; what the chart installs is compared without it",
    r"needs a Ray cluster: make ray-test": "its nodes take a minute of both cores, and give up on a busy machine",
    r"needs systemd-analyze": "make pi-test asks that of both Debians",
    r"it is a picture": "a block of README that nobody types",
    r"it would run itself": "README names make unit and make test, and this is one of them",
    r"it needs a container engine; .*": "make compose-smoke does what the block says",
    r"it needs a model of the reader's own; .*": "tests/cli/test_models.py imports one",
    r"it names a version that is the reader's own; .*": "tests/inference/test_pin.py pins one",
    r"no images for arm64 here: .*": "emulation is the kernel's; the images are made of the same files",
    r"only root may mount a small disk": "CI's user is not root",
    r"neither \S+ nor go, which could build it, is here": "Debian 12's Go is too old to build them",
}
"""By what a skip says, as a whole, why it may."""


def is_allowed(reason: str) -> bool:
    return any(re.fullmatch(pattern, reason) for pattern in ALLOWED)


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """What was said to pytest.skip or its markers."""
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return said.removeprefix("Skipped: ")


def judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip that nobody expected into a failure."""
    if not report.skipped or hasattr(report, "wasxfail") or not os.environ.get("CI"):
        return
    reason = reason_of(report)
    if not is_allowed(reason):
        report.outcome = "failed"
        report.longrepr = (
            f"skipped in CI because: {reason}. Expected it to run: give CI what it lacks, "
            "or list the reason in tests/plugins/skips.py"
        )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    judge(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Iterator[None]:
    report = yield
    judge(report)
    return report
