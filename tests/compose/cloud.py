"""The cloud of compose/cloud.yaml, on a network that reaches edges and nothing else."""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.compose.stack import Stack
from tests.conftest import ROOT

COMPOSE, HERE = ROOT / "compose", ROOT / "tests" / "compose"
CLOUD, LINK = "cloud.test", "driftline-link"

Request = Callable[..., httpx.Response]
"""Of a method, a path, and the JSON to send."""


def docker(*command: str) -> bytes:
    return subprocess.run(["docker", *command], check=True, capture_output=True).stdout


@contextmanager
def linked_cloud(data_folder: Path) -> Iterator[Stack]:
    """data_folder: what its trainer reads."""
    docker("network", "create", "--internal", LINK)
    running = Stack(
        COMPOSE / "cloud.yaml",
        HERE / "link-cloud.yaml",
        DRIFTLINE_DATA=str(data_folder),
        DRIFTLINE_CLOUD=CLOUD,
        DRIFTLINE_BIND="127.0.0.2",
    )
    try:
        running.up()
        yield running
    finally:
        running.down()
        docker("network", "rm", LINK)


@contextmanager
def through_caddy(authority: str, token: str) -> Iterator[Request]:
    """Asks the trainer, as from outside. authority: PEM."""
    with httpx.Client(
        base_url="https://127.0.0.1:8443",
        verify=ssl.create_default_context(cadata=authority),
        headers={"Authorization": f"Bearer {token}", "Host": CLOUD},
    ) as client:

        def request(method: str, path: str, asked: dict[str, Any] | None = None) -> httpx.Response:
            built = client.build_request(method, path, json=asked, extensions={"sni_hostname": CLOUD})
            return client.send(built)

        yield request
