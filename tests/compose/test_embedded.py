"""The edge in one container: alone, and as one of a fleet that it joins at its first start over HTTPS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.cloud import CLOUD, COMPOSE, HERE, Request, linked_cloud, through_caddy
from tests.compose.stack import NAME, NEEDS_ENGINE, ComposeError, Data, Missing, Stack, eventually, wait_for

pytestmark = NEEDS_ENGINE

FILE = COMPOSE / "edge-embedded.yaml"
SECRETS = "/var/lib/driftline/secrets/edge"


class EdgeStack(Stack):
    """One container."""

    def token(self) -> str:
        return self.compose("exec", "-T", "edge", "cat", f"{SECRETS}/driftline_token").strip()

    def kill(self) -> None:
        self.compose("kill", "-s", "SIGKILL", "edge")
        self.compose("up", "-d", "--wait", "--no-recreate", "edge")


@pytest.fixture
def alone() -> Iterator[EdgeStack]:
    """Gone with the test: the edge that joins has its name and its ports."""
    running = EdgeStack(FILE)
    try:
        running.up()
        yield running
    finally:
        running.down()


def test_alone_it_forecasts_and_a_kill_loses_nothing(alone: EdgeStack, data: Data):
    token = alone.token()
    alone.send(data.stream, data.next(alone, 2000), token)
    alone.kill()
    assert alone.token() == token, "secrets are made once"
    alone.send(data.stream, data.next(alone, 2000), token)
    alone.all_scored(4)


@pytest.fixture(scope="module")
def cloud(data_folder: Path) -> Iterator[Stack]:
    with linked_cloud(data_folder) as running:
        yield running


@pytest.fixture(scope="module")
def authority(cloud: Stack) -> str:
    """The certificate of Caddy's own authority, as PEM."""
    return cloud.compose("exec", "-T", "caddy", "cat", "/data/caddy/pki/authorities/local/root.crt")


@pytest.fixture(scope="module")
def operator(cloud: Stack, authority: str) -> Iterator[Request]:
    token = cloud.compose("exec", "-T", "trainer", "cat", "/run/driftline/driftline_token").strip()
    with through_caddy(authority, token) as request:
        yield request


def joining(authority: Path, token: str) -> EdgeStack:
    return EdgeStack(
        FILE,
        HERE / "link-embedded.yaml",
        DRIFTLINE_CLOUD=CLOUD,
        DRIFTLINE_CLOUD_CA=str(authority),
        DRIFTLINE_JOIN_URL=f"https://{CLOUD}:8443",
        DRIFTLINE_JOIN_TOKEN=token,
        DRIFTLINE_HEARTBEAT_EVERY="5",
    )


@pytest.fixture(scope="module")
def joined(cloud: Stack, operator: Request, authority: str, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    path.write_text(authority)
    path.chmod(0o644)
    token = operator("POST", "/v1/fleet/tokens", {"seconds": 3600, "name": "attic"}).raise_for_status().json()["token"]
    running = joining(path, token)
    try:
        running.up()
        yield running
    finally:
        running.down()


def test_it_joins_archives_and_gets_a_model_by_the_clouds_door_alone(joined: EdgeStack, operator: Request, data: Data):
    asked = {"stream": NAME, "member": "batch", "history": "history.parquet"}
    job = operator("POST", "/v1/jobs", asked).raise_for_status().json()["id"]
    wait_for(lambda: operator("GET", f"/v1/jobs/{job}").json())
    eventually(lambda: joined.version("batch"))
    joined.send(data.stream, data.next(joined, 3000), joined.token())
    joined.all_scored(4)
    joined.swapped_since("v000001")


def test_the_cloud_sees_it_and_it_goes_on_after_a_kill_with_the_same_token_in_its_settings(
    joined: EdgeStack, operator: Request, data: Data
):
    (edge,) = [device["edge"] for device in operator("GET", "/v1/fleet/registrations").json()]
    joined.kill()
    joined.send(data.stream, data.next(joined, 500), joined.token())
    joined.all_scored(4)

    def live() -> None:
        seen = {
            shown["id"]: shown["state"] for shown in operator("GET", "/v1/fleet").raise_for_status().json()["edges"]
        }
        if seen != {edge: "live"}:
            raise Missing(str(seen))

    eventually(live)


def test_a_revoked_edge_goes_on_forecasting_and_gets_nothing_more(joined: EdgeStack, operator: Request, data: Data):
    (edge,) = [device["edge"] for device in operator("GET", "/v1/fleet/registrations").json()]
    operator("POST", f"/v1/fleet/edges/{edge}/revoke").raise_for_status()

    def refused() -> None:
        if "revoked" not in joined.compose("logs", "--no-color", "--tail=200", "edge"):
            raise Missing

    eventually(refused)
    joined.send(data.stream, data.next(joined, 500), joined.token())
    joined.all_scored(4)


def test_a_device_does_not_join_by_a_token_that_nobody_made(
    joined: EdgeStack, operator: Request, authority: str, tmp_path: Path
):
    joined.compose("stop", "--timeout", "10")
    path = tmp_path / "ca.pem"
    path.write_text(authority)
    other = joining(path, "A" * 43)
    other.client.close()
    with pytest.raises(ComposeError):
        other.compose("-p", "driftline-other", "up", "-d", "--wait", "--wait-timeout", "30")
    try:
        said = other.compose("-p", "driftline-other", "logs", "--no-color", "edge")
        assert "found a join token that nobody made" in said
    finally:
        other.compose("-p", "driftline-other", "down", "--volumes", "--timeout", "5")
