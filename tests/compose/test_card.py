"""A port that somebody else has, and a card that is full: each is told of, and heals when it is mended."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.compose.stack import NEEDS_ENGINE, PORTS, ComposeError, Data, Missing, Stack, eventually
from tests.conftest import ROOT

pytestmark = [
    NEEDS_ENGINE,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small card"),
]

VOLUMES = ("kafka", "store", "models")
EDGE = ("ingest", "inference", "combiner")
SIZE = "256m"


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system that is soon full."""
    folder = tmp_path_factory.mktemp("card")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "card", folder], check=True)
    try:
        for volume in VOLUMES:
            # Whoever is to write in it is somebody else in each container.
            (folder / volume).mkdir()
            (folder / volume).chmod(0o777)
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def stack(card: Path) -> Iterator[Stack]:
    compose = ROOT / "compose"
    laid_over = Path(__file__).with_name("card.yaml")
    running = Stack(compose / "everything.yaml", compose / "rest.yaml", laid_over, CARD=str(card))
    try:
        yield running
    finally:
        running.down()


def fill(card: Path) -> Path:
    """To the last byte. Gives the file that fills it."""
    filler = card / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def refused(stack: Stack, data: Data, token: str) -> None:
    """Sends until ingest takes no more: what is begun already still finds room."""
    for _ in range(50):
        try:
            stack.offer(data.stream, data.next(stack, 100), token)
        except (Missing, httpx.HTTPError):
            return
    raise AssertionError("ingest takes records although nothing can be written")


def test_a_port_that_is_taken_is_named_and_used_once_it_is_free(stack: Stack):
    with socket.create_server(("127.0.0.1", PORTS["ingest"])), pytest.raises(ComposeError, match=r"8001.*in use"):
        stack.up(*EDGE)
    stack.up(*EDGE)


def test_on_a_full_card_nothing_is_acknowledged_that_is_lost_and_with_room_all_heals(
    stack: Stack, card: Path, data: Data
):
    token = stack.token()
    stack.send(data.stream, data.next(stack, 500), token)
    filler = fill(card)
    refused(stack, data, token)
    eventually(lambda: stack.all_in({"kafka": "restarting", "ingest": "unhealthy"}))
    assert "No space left on device" in stack.compose("logs", "kafka")
    assert '"bus"' in stack.why_unhealthy("ingest")
    filler.unlink()
    eventually(lambda: stack.all_in(dict.fromkeys(("kafka", "store", *EDGE), "healthy")), 300)
    stack.send(data.stream, data.next(stack, 500), token)
    stack.all_scored(4)
