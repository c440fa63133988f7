"""Our images: small, with nothing to build or install with, non-root, and telling what they hold."""

import json
import subprocess
from importlib.metadata import version
from typing import Any

import pytest

from tests.compose.images import EXTRAS, PYTHON, named
from tests.compose.stack import NEEDS_ENGINE
from tests.conftest import ROOT

pytestmark = NEEDS_ENGINE

MB = 1_000_000
LARGEST = {"ingest": 200 * MB, "combiner": 200 * MB, "inference": 250 * MB, "trainer": 2500 * MB, "edge": 300 * MB}
"""What an image may add to its base."""
TOOLS = ("pip", "pip3", "gcc", "cc", "g++", "make", "git", "curl")


def inspect(tag: str) -> dict[str, Any]:
    done = subprocess.run(["docker", "image", "inspect", tag], check=True, capture_output=True)
    return json.loads(done.stdout)[0]


def inside(service: str, *command: str) -> subprocess.CompletedProcess[str]:
    """In a container as the compose files have it: nothing can be written but /tmp."""
    options = ("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--network=none")
    whole = ["docker", "run", *options, named(service), *command]
    return subprocess.run(whole, capture_output=True, text=True, check=False)


def test_the_bake_file_makes_these_images_for_both_architectures():
    printed = subprocess.run(["docker", "buildx", "bake", "--print"], cwd=ROOT, check=True, capture_output=True).stdout
    targets = json.loads(printed)["target"]
    assert {name: target["args"].get("EXTRAS", "") for name, target in targets.items()} == EXTRAS
    for name, target in targets.items():
        assert target["platforms"] == ["linux/amd64", "linux/arm64"]
        assert target["tags"] == [named(name)]


@pytest.mark.parametrize("service", EXTRAS)
def test_an_image_adds_little_to_its_base(service: str):
    added = inspect(named(service))["Size"] - inspect(PYTHON)["Size"]
    print(f"{named(service)} without its base: {added / MB:.0f} MB")  # noqa: T201
    assert added <= LARGEST[service]


@pytest.mark.parametrize("service", EXTRAS)
def test_an_image_says_what_it_is_and_how_it_does(service: str):
    config = inspect(named(service))["Config"]
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "driftline.service.probe"]
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == f"driftline-{service}"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == version("driftline")


@pytest.mark.parametrize("service", EXTRAS)
def test_nothing_in_an_image_can_build_or_install(service: str):
    found = inside(service, "sh", "-c", f"command -v {' '.join(TOOLS)}; python -m pip; python -m ensurepip; id -u")
    assert found.stdout.split() == ["10001"]
    assert found.stderr.count("No module named") == 2


@pytest.mark.parametrize("service", EXTRAS)
def test_an_image_holds_the_bill_of_its_materials(service: str):
    bill = json.loads(inside(service, "cat", "/opt/driftline/sbom.json").stdout)
    listed = {component["name"].lower(): component["version"] for component in bill["components"]}
    script = "from importlib.metadata import distributions as d; print([[x.name.lower(), x.version] for x in d()])"
    there = dict(eval(inside(service, "/opt/driftline/bin/python", "-c", script).stdout))  # noqa: S307
    assert {"driftline", f"driftline-{service}", "fastapi", "aiokafka"} <= set(listed)
    assert listed == {name: version for name, version in there.items() if name in listed}
    assert set(there) - set(listed) == set()


def test_tensorflow_is_in_the_trainer_alone():
    found = {service: inside(service, "python", "-c", "import tensorflow").returncode for service in EXTRAS}
    assert found == {"ingest": 1, "inference": 1, "combiner": 1, "trainer": 0}
