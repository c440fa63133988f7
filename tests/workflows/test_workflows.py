"""The workflows are valid, and run what .ci/run runs: make targets that there are."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from driftline.errors import Unavailable
from tests.conftest import ROOT
from tests.golang import go_program

ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def made(file: Path) -> set[str]:
    """The make targets that a file runs."""
    return set(re.findall(r"^\s*(?:- run: )?make ([a-z-]+)", file.read_text(), re.MULTILINE))


def test_actionlint_finds_nothing():
    try:
        actionlint = go_program("actionlint", ACTIONLINT)
    except Unavailable as error:
        pytest.skip(str(error))
    command = [actionlint, "-no-color", "-shellcheck=", "-pyflakes=", *map(str, WORKFLOWS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", [ROOT / ".ci" / "run", *WORKFLOWS], ids=lambda file: file.name)
def test_what_they_run_are_targets_of_the_makefile(file: Path):
    assert made(file)
    assert made(file) <= TARGETS


def test_the_workflow_runs_all_that_ci_runs():
    assert made(ROOT / ".ci" / "run") <= made(ROOT / ".github" / "workflows" / "ci.yml")


def test_the_workflow_runs_on_every_supported_python():
    supported = {path.stem for path in (ROOT / "constraints").glob("*.txt")}
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    for name in ("unit", "test"):
        assert set(jobs[name]["strategy"]["matrix"]["python"]) == supported


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_form_has_what_it_must(form: Path):
    found = yaml.safe_load(form.read_text())
    if form.name == "config.yml":
        assert set(found) == {"blank_issues_enabled"}
        return
    assert {"name", "description", "body"} <= set(found)
    for part in found["body"]:
        assert part["type"] in {"markdown", "textarea", "input"}
        assert "attributes" in part
