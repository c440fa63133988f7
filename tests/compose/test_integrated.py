"""Edge and cloud on networks of their own, only HTTPS between them, and a link that is cut for a while."""

import io
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.cloud import CLOUD, COMPOSE, HERE, LINK, docker, linked_cloud, through_caddy
from tests.compose.stack import NAME, NEEDS_ENGINE, Data, Stack, eventually, wait_for

pytestmark = NEEDS_ENGINE


@pytest.fixture(scope="module")
def cloud(data_folder: Path) -> Iterator[Stack]:
    with linked_cloud(data_folder) as running:
        yield running


@pytest.fixture(scope="module")
def secrets(tmp_path_factory, cloud: Stack) -> Path:
    """What the cloud gives the edge to take along."""
    folder = tmp_path_factory.mktemp("secrets")
    with tarfile.open(fileobj=io.BytesIO(cloud.compose_bytes("run", "-T", "--rm", "bundle"))) as bundle:
        # As root's tar does: with the owners that are written in it.
        bundle.extractall(folder, filter="tar")
    return folder


@pytest.fixture(scope="module")
def edge(cloud: Stack, secrets: Path) -> Iterator[Stack]:
    running = Stack(
        COMPOSE / "edge.yaml", HERE / "link-edge.yaml", DRIFTLINE_CLOUD=CLOUD, DRIFTLINE_EDGE_SECRETS=str(secrets)
    )
    try:
        running.up()
        yield running
    finally:
        running.down()


def test_windows_go_up_and_models_come_down_over_https(cloud: Stack, edge: Stack, secrets: Path, data: Data):
    token = edge.token()
    with through_caddy((secrets / "ca.pem").read_text(), token) as request:
        asked = {"stream": NAME, "member": "batch", "history": "history.parquet"}
        job = request("POST", "/v1/jobs", asked).raise_for_status().json()["id"]
        wait_for(lambda: request("GET", f"/v1/jobs/{job}").json())
    eventually(lambda: edge.version("batch"))
    edge.send(data.stream, data.next(edge, 3000), token)
    edge.all_scored(4)
    edge.swapped_since("v000001")


def test_while_the_link_is_cut_forecasts_go_on_and_windows_follow_afterwards(cloud: Stack, edge: Stack, data: Data):
    token, before = edge.token(), edge.version("speed")
    caddy = cloud.compose("ps", "-q", "caddy").strip()
    docker("network", "disconnect", LINK, caddy)
    edge.send(data.stream, data.next(edge, 2000), token)
    edge.all_scored(4)
    assert edge.version("speed") == before
    docker("network", "connect", "--alias", CLOUD, LINK, caddy)
    edge.swapped_since(before)


def test_the_edge_believes_no_other_cloud(cloud: Stack, edge: Stack):
    """Without the cloud's own certificate authority its store is nobody."""
    script = "import urllib.request; urllib.request.urlopen('https://cloud.test:7443/')"
    done = subprocess.run(
        ["docker", "exec", "-e", "SSL_CERT_FILE=", edge.compose("ps", "-q", "ingest").strip(), "python", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr
