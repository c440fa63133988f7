"""A link between two sites: Toxiproxy delays and throttles what goes over it, and counts the bytes.

Toxiproxy throttles each connection by itself, and delays what is sent but no handshake.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import stamina
from prometheus_client.parser import text_string_to_metric_families

from driftline_cli import broker, processes
from tests.golang import go_program

PACKAGE = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
NAME = "toxiproxy-server"
DIRECTIONS = ("upstream", "downstream")
STARTED_S = 20.0
SETTLED_S = 20.0
COUNTER = "toxiproxy_proxy_received_bytes"


class UnsettledError(Exception):
    """The counters still move."""


@dataclass(frozen=True)
class Line:
    """What every connection over a link gets."""

    delay_ms: int
    """Each way."""
    mbit: int
    """A second, each way."""

    def toxics(self, direction: str) -> Iterator[dict[str, Any]]:
        yield {"type": "latency", "stream": direction, "attributes": {"latency": self.delay_ms}}
        yield {"type": "bandwidth", "stream": direction, "attributes": {"rate": self.mbit * 1000 // 8}}


@dataclass(frozen=True)
class Traffic:
    """Bytes that clients sent over the link, and that came back."""

    upstream: float
    downstream: float


class Toxiproxy:
    """Links to ports of this machine, all alike."""

    def __init__(self, client: httpx.Client, line: Line) -> None:
        self._client = client
        self._line = line
        self._names: list[str] = []

    def link(self, target: int) -> int:
        """A port behind which, over a link, is the port `target`."""
        name, port = f"to-{target}", broker.free_port()
        self._post("/proxies", {"name": name, "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{target}"})
        for direction in DIRECTIONS:
            for toxic in self._line.toxics(direction):
                self._post(f"/proxies/{name}/toxics", toxic)
        self._names.append(name)
        return port

    def traffic(self) -> Traffic:
        """All so far. Every connection is ended for it: Toxiproxy counts a connection's bytes when it ends."""
        for enabled in (False, True):
            for name in self._names:
                self._post(f"/proxies/{name}", {"enabled": enabled})
        before: Traffic | None = None
        retrying = stamina.retry_context(
            on=UnsettledError, attempts=None, timeout=SETTLED_S, wait_initial=0.1, wait_max=0.1, wait_jitter=0.0
        )
        for attempt in retrying:
            with attempt:
                before, found = self._counted(), before
                if before != found:
                    raise UnsettledError
        return self._counted()

    def _counted(self) -> Traffic:
        found = self._client.get("/metrics").raise_for_status().text
        counted = dict.fromkeys(DIRECTIONS, 0.0)
        for family in text_string_to_metric_families(found):
            if family.name == COUNTER:
                for sample in family.samples:
                    counted[sample.labels["direction"]] += sample.value
        return Traffic(counted["upstream"], counted["downstream"])

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self._client.post(path, json=body).raise_for_status()


@contextmanager
def toxiproxy(folder: Path, line: Line) -> Iterator[Toxiproxy]:
    """Its log lies in `folder`. Raises Unavailable where there is neither the program nor Go to build it."""
    program, port = go_program(NAME, PACKAGE), broker.free_port()
    processes.start(folder, NAME, [program, "-host", "127.0.0.1", "-port", str(port), "-proxy-metrics"])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            _answers(client)
            yield Toxiproxy(client, line)
    finally:
        processes.stop(folder, NAME)


@stamina.retry(on=httpx.HTTPError, attempts=None, timeout=STARTED_S, wait_initial=0.05, wait_max=0.2)
def _answers(client: httpx.Client) -> None:
    client.get("/version").raise_for_status()
