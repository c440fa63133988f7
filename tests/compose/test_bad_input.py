"""What an image says of settings and folders that it can't work with: one line, at once."""

import subprocess

import pytest

from tests.compose.images import EXTRAS, named
from tests.compose.stack import NEEDS_ENGINE

pytestmark = NEEDS_ENGINE


def started(service: str, *options: str) -> subprocess.CompletedProcess[str]:
    apart = ("--rm", "--network=none", "--read-only", "--env=DRIFTLINE_HOST=127.0.0.1")
    command = ["docker", "run", *apart, *options, named(service)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("service", EXTRAS)
def test_a_setting_that_is_none_ends_a_service_with_one_line(service: str):
    ended = started(service, "--env=DRIFTLINE_PARTITIONS=zero")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("DRIFTLINE_PARTITIONS: found 'zero'")
    assert "integer" in line


@pytest.mark.parametrize("service", EXTRAS)
def test_secrets_that_are_not_there_end_a_service_with_one_line(service: str):
    ended = started(service, "--env=DRIFTLINE_SECRETS=/run/driftline")
    assert ended.returncode == 1
    assert ended.stderr == "DRIFTLINE_SECRETS: found '/run/driftline', expected a folder that can be read\n"


def test_stream_definitions_that_are_missing_are_named():
    ended = started("combiner", "--env=DRIFTLINE_STREAMS=/nowhere")
    assert ended.returncode == 1
    assert ended.stderr == "/nowhere: found no *.yaml file, expected at least one stream definition\n"
