"""Everything in the cloud: records come over HTTPS with a token, and nothing else is open to the network."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.compose.stack import NAME, NEEDS_ENGINE, PLAIN, Data, Stack, eventually
from tests.conftest import ROOT

pytestmark = NEEDS_ENGINE

DOOR = "https://localhost:8443"
DOORS = {"ingest": DOOR, "inference": DOOR, "combiner": DOOR, "trainer": DOOR, "prometheus": PLAIN["prometheus"]}
OWN_AUTHORITY = "/data/caddy/pki/authorities/local/root.crt"


@pytest.fixture(scope="module")
def stack(data_folder: Path) -> Iterator[Stack]:
    running = Stack(ROOT / "compose" / "cloud-centric.yaml", doors=DOORS, DRIFTLINE_DATA=str(data_folder))
    try:
        running.up()
        running.trust(running.compose("exec", "-T", "caddy", "cat", OWN_AUTHORITY))
        yield running
    finally:
        running.down()


def test_nothing_but_https_is_open_to_the_network(stack: Stack):
    listed = map(json.loads, stack.compose("ps", "--format", "json").splitlines())
    published = {
        (container["Service"], port["PublishedPort"], port["URL"])
        for container in listed
        for port in container["Publishers"] or []
        if port["PublishedPort"]
    }
    beyond = {(service, port) for service, port, address in published if address != "127.0.0.1"}
    assert beyond == {("caddy", 8443)}
    assert httpx.get("http://localhost:8443/v1/scores").status_code == 400
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(f"{DOOR}/v1/scores")


def test_whoever_has_no_token_changes_nothing(stack: Stack):
    for service, path in (("ingest", f"/v1/records?stream={NAME}"), ("trainer", "/v1/jobs")):
        assert stack.post(service, path, [], "another").status_code == 401
        assert stack.client.post(stack.url(service, path), json=[]).status_code == 401


def test_records_over_https_become_blends_a_retraining_and_a_swap(stack: Stack, data: Data):
    token = stack.token()
    stack.train(token)
    rows = data.next(stack, 3000)
    stack.send(data.stream, rows, token)
    stack.all_scored(4)
    stack.swapped_since("v000001")
    blend = stack.get("combiner", f"/v1/blends/{NAME}/{rows.keys[-1]}")
    assert blend["t"] == int(rows.t[-1])


def test_after_a_restart_the_door_its_certificate_and_the_states_are_as_before(stack: Stack, data: Data):
    before, version = stack.scored(), stack.version("speed")
    stack.compose("down", "--timeout", "15")
    stack.up()
    assert eventually(lambda: stack.version("speed")) >= version
    stack.all_scored(4)
    assert stack.scored() == before
    stack.send(data.stream, data.next(stack, 200), stack.token())
    stack.all_scored(4)
