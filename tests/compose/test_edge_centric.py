"""Everything on one machine, on a real engine: up from nothing, streamed through, killed part by part, restarted.

Run by `make compose-test`; published ports are those of 127.0.0.1.
"""

import json
import re
import subprocess
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from driftline.members import MODELS
from tests.compose import images
from tests.compose.stack import NAME, NEEDS_ENGINE, Data, Missing, Stack, eventually
from tests.conftest import ROOT
from tests.observe.test_observe import dashboards

pytestmark = NEEDS_ENGINE

PARTS = ("kafka", "store", "ingest", "inference", "combiner", "trainer", "prometheus", "alertmanager")
RECORDS = 5000


def on_volume(volume: str, *command: str) -> None:
    """As root of the machine would."""
    mounted = ("--rm", "--user=0", "--network=none", f"--volume={volume}:/volume")
    subprocess.run(["docker", "run", *mounted, images.named("ingest"), *command], check=True, capture_output=True)


@pytest.fixture(scope="module")
def stack(data_folder: Path) -> Iterator[Stack]:
    running = Stack(ROOT / "compose" / "edge-centric.yaml", DRIFTLINE_DATA=str(data_folder))
    try:
        running.up()
        yield running
    finally:
        running.down()


def test_from_nothing_to_blends_a_retraining_and_a_swap(stack: Stack, data: Data):
    token = stack.token()
    assert stack.post("ingest", f"/v1/records?stream={NAME}", [], "another").status_code == 401
    stack.train(token)
    stack.send(data.stream, data.next(stack, RECORDS), token)
    stack.all_scored(4)
    stack.swapped_since("v000001")


def test_prometheus_has_data_for_every_dashboard_query(stack: Stack):
    empty: set[str] = set()

    def answered() -> None:
        empty.clear()
        for text in dashboards().values():
            for quoted in re.findall(r'"expr": (".*")', text):
                query = json.loads(quoted).replace("$stream", NAME).replace("$horizon", "1")
                found = stack.get("prometheus", "/api/v1/query", query=query)
                assert found["status"] == "success"
                if not found["data"]["result"]:
                    empty.add(query)
        # Nothing was refused, dropped or unusable, and nothing alarmed: there is nothing to count of those.
        if {query for query in empty if not re.search("refused|dropped|dead_letters|alerts", query)}:
            raise Missing(str(empty))

    eventually(answered, 120)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_killed_once_and_heals_with_nothing_lost(stack: Stack, data: Data, part: str):
    stack.compose("kill", "-s", "SIGKILL", part)
    token = stack.token() if part != "ingest" else None
    stack.compose("up", "-d", "--no-recreate", part)
    token = token or eventually(stack.token)
    stack.send(data.stream, data.next(stack, 200), token)
    stack.all_scored(4)


def test_the_whole_stack_restarts_with_its_states_and_models(stack: Stack):
    before, version = stack.scored(), stack.version("speed")
    stack.compose("down", "--timeout", "15")
    stack.up()
    assert eventually(lambda: stack.version("speed")) >= version
    # The states are there when the partitions are assigned.
    stack.all_scored(4)
    assert stack.scored() == before


def test_no_secret_is_in_logs_or_in_what_inspect_shows(stack: Stack):
    names = ("driftline_token", "aws_credentials")
    found = [stack.compose("exec", "-T", "ingest", "cat", f"/run/driftline/{name}") for name in names]
    signing = stack.compose("exec", "-T", "trainer", "cat", "/run/driftline/driftline_signing_key")
    secrets = [found[0].strip(), found[1].split("=")[-1].strip(), signing.splitlines()[1].strip()]
    assert all(len(secret) > 20 for secret in secrets)
    containers = stack.compose("ps", "-aq").split()
    shown = subprocess.run(["docker", "inspect", *containers], capture_output=True, text=True, check=True).stdout
    logs = stack.compose("logs", "--no-color")
    for secret in secrets:
        assert secret not in shown
        assert secret not in logs


def test_a_broker_and_a_store_that_are_away_are_told_of_and_everything_heals(stack: Stack, data: Data):
    """The broker may no longer write its volume, and the store is stopped; both are mended by whoever reads of it."""
    stack.compose("stop", "kafka", "store")
    on_volume("driftline_kafka", "chmod", "0", "/volume")
    stack.compose("start", "kafka")
    in_need = {"kafka": "restarting", "ingest": "unhealthy", "inference": "unhealthy", "combiner": "unhealthy"}
    eventually(lambda: stack.all_in(in_need | {"trainer": "unhealthy"}))
    assert re.search("permission|denied|not writable", stack.compose("logs", "--tail=50", "kafka"), re.IGNORECASE)
    assert '"bus"' in stack.why_unhealthy("ingest")
    assert '"store"' in stack.why_unhealthy("trainer")
    on_volume("driftline_kafka", "chmod", "755", "/volume")
    eventually(lambda: stack.all_in({"kafka": "healthy"}), 300)
    stack.compose("start", "store")
    eventually(lambda: stack.all_in(dict.fromkeys(PARTS, "healthy")), 300)
    stack.send(data.stream, data.next(stack, 200), stack.token())
    stack.all_scored(4)


def test_the_page_for_a_raspberry_pi_can_be_followed(stack: Stack, tmp_path: Path):
    """Its last step, as it stands there: some of the sample data as CSV, sent with curl."""
    page = (ROOT / "docs" / "raspberry-pi.md").read_text()
    blocks = [textwrap.dedent(found) for found in re.findall(r"(?:^ {8}.*\n)+", page, re.MULTILINE)]
    (token,) = [line for block in blocks for line in block.splitlines() if line.startswith("TOKEN=$(docker")]
    (tmp_path / "compose").symlink_to(ROOT / "compose")
    script = "\n".join([token, blocks[-1]])
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    receipt = json.loads(done.stdout)
    # The stack has had later ones by now.
    assert receipt["accepted"] + receipt["repeated"] + receipt["out_of_order"] == 5000, done.stdout + done.stderr
    assert not receipt["refused"]


def test_on_arm64_the_edge_goes_on_with_the_same_forecasts(stack: Stack, data: Data):
    if not images.there(images.named("inference", images.PI)):
        pytest.skip("no images for arm64 here: this machine is one, or emulates none")
    # Both are asked about one version, however many are trained meanwhile.
    token, versions = stack.token(), {member: stack.version(member) for member in MODELS}
    for member, version in versions.items():
        stack.pin(member, version, token)
    here = {member: stack.inferred(member, version) for member, version in versions.items()}
    compose = ROOT / "compose"
    emulated = Stack(compose / "everything.yaml", compose / "rest.yaml", Path(__file__).with_name("arm64.yaml"))
    emulated.compose("up", "-d", "--wait", "--wait-timeout", "280", "--no-deps", "ingest", "inference", "combiner")
    machine = emulated.compose("exec", "-T", "inference", "python", "-c", "import platform; print(platform.machine())")
    assert machine.strip() == "aarch64"
    for member, version in versions.items():
        there = eventually(partial(stack.inferred, member, version))
        assert there == pytest.approx(here[member], rel=1e-5, abs=1e-5)
        stack.pin(member, None, token)
    stack.send(data.stream, data.next(stack, 400), token)
    stack.all_scored(4)
    emulated.client.close()
