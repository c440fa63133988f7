"""Debian's Caddy with a Caddyfile of compose/, in which addresses alone are changed."""

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina

from driftline_cli.broker import free_port
from tests.conftest import ROOT

CADDY = shutil.which("caddy")
PATIENCE_S = 120
HOST = "localhost"
REFUSED = "400 Client sent an HTTP request to an HTTPS server."


class NotYetError(Exception):
    pass


@dataclass(frozen=True)
class Front:
    """Where Caddy listens, by the port of the Caddyfile, and its own authority."""

    ports: Mapping[int, int]
    ca_file: Path

    def url(self, port: int, scheme: str = "https") -> str:
        return f"{scheme}://{HOST}:{self.ports[port]}"

    def client(self, port: int, scheme: str = "https") -> httpx.AsyncClient:
        """One that believes this authority alone."""
        verify = ssl.create_default_context(cafile=self.ca_file)
        return httpx.AsyncClient(base_url=self.url(port, scheme), verify=verify, timeout=20)

    async def answer_to_plain_http(self, port: int, path: str, **request: Any) -> str | None:
        """What a POST by plain HTTP gets. None: the connection was cut.

        The door answers after the first bytes and closes; what of the request comes later is answered with a reset,
        which may overtake the answer.
        """
        async with self.client(port, "http") as client:
            try:
                answer = await client.post(path, **request)
            except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                return None
        return f"{answer.status_code} {answer.text.strip()}"


@asynccontextmanager
async def fronted(name: str, folder: Path, behind: Mapping[str, str]) -> AsyncIterator[Front]:
    """Caddy with compose/caddy/`name`.Caddyfile. behind: an address for each that it names, such as store:7070."""
    if CADDY is None:
        pytest.skip("no caddy here: Debian's package caddy has it")
    text = (ROOT / "compose" / "caddy" / f"{name}.Caddyfile").read_text()
    ports = {int(port): free_port() for port in re.findall(r"^https://\S+:(\d+)", text, re.MULTILINE)}
    named = set(re.findall(r"reverse_proxy (\S+)", text))
    assert named == set(behind), "every address that the file names is given another one"
    for address, other in behind.items():
        text = text.replace(f"reverse_proxy {address}", f"reverse_proxy {other}")
    for port, free in ports.items():
        text = text.replace(f"}}:{port} {{", f"}}:{free} {{")
    # Where plain HTTP is redirected from: otherwise port 80 of this machine.
    file = folder / "Caddyfile"
    file.write_text(text.replace("admin off", f"admin off\n\thttp_port {free_port()}", 1))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    with (folder / "caddy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(CADDY, "run", "--config", str(file), "--adapter", "caddyfile"),
            env=environment | {"DRIFTLINE_CLOUD": HOST, "XDG_CONFIG_HOME": str(folder / "config")},
            stdout=log,
            stderr=log,
        )
    try:
        front = Front(ports, folder / "data" / "caddy" / "pki" / "authorities" / "local" / "root.crt")
        await asyncio.to_thread(_answers, front, folder / "caddy.log")
        yield front
    finally:
        process.terminate()
        await process.wait()


@stamina.retry(on=(NotYetError, httpx.HTTPError), attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.5)
def _answers(front: Front, log: Path) -> None:
    if not front.ca_file.exists():
        raise NotYetError(log.read_text())
    for port in front.ports:
        httpx.get(front.url(port), verify=ssl.create_default_context(cafile=front.ca_file))
