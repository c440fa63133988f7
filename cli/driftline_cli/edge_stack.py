"""The edge as one process and the trainer as another, over a folder store: no broker, no Java, no S3 server."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from driftline.bus.embedded import EmbeddedSettings
from driftline.errors import InvalidInput
from driftline.models import signing
from driftline.names import EDGE, EDGE_SERVICES, SERVICES
from driftline.service.setting_checks import line
from driftline_cli import processes, tokens
from driftline_cli.places import RUN
from driftline_cli.stack import SMALL, Ports, ready, refuse_beside

TRAINER = "trainer"
PROCESSES = ("driftline_edge", "driftline_trainer")
"""The modules that are run."""


class EdgeStack:
    """Everything lies in `folder`: the edge's data, the store, logs and process ids."""

    def __init__(
        self, folder: Path, streams: Path, *, ports: Ports, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.ports = replace(ports, form="edge")
        self._streams = streams
        self._environment = dict(environment or {})
        self._keys = folder.absolute() / "keys"

    def url(self, service: str) -> str:
        return self.ports.url(service)

    async def start_edge(self) -> None:
        """Returns when the edge's three services are ready. Raises Unavailable, and Conflict while the folder's other
        form runs."""
        refuse_beside(self.folder, *EDGE_SERVICES)
        self.ports.keep(self.folder, EDGE)
        signing.ensure_keys(self._keys)
        self._start(EDGE, self._of_edge())
        for service in EDGE_SERVICES:
            await ready(self.folder, EDGE, self.url(service))

    async def start_trainer(self) -> None:
        """Returns when it is ready; the edge works without it. Raises Unavailable."""
        self._start(TRAINER, self._of_trainer())
        await ready(self.folder, TRAINER, self.url(TRAINER))

    def down(self) -> None:
        """Ends both; the data stay."""
        for process in (EDGE, TRAINER):
            processes.stop(self.folder, process)

    def _start(self, process: str, settings: Mapping[str, str]) -> None:
        if processes.running(self.folder, process) is None:
            shared = {**self.environment(), **SMALL, "DRIFTLINE_SECRETS": str(tokens.make(self.folder))}
            command = [sys.executable, "-m", f"driftline_{process}"]
            processes.start(self.folder, process, command, {**shared, **settings, **self._environment})

    def environment(self) -> dict[str, str]:
        """With which the command finds all of it."""
        return {
            "DRIFTLINE_BUS": "embedded",
            "DRIFTLINE_DATA": str(self.folder.absolute() / EDGE),
            "DRIFTLINE_STORE": str(self.folder.absolute() / "store"),
            "DRIFTLINE_STREAMS": str(self._streams.absolute()),
            **{f"DRIFTLINE_{service.upper()}": self.url(service) for service in SERVICES},
        }

    def _of_edge(self) -> dict[str, str]:
        return {
            **{f"DRIFTLINE_{service.upper()}_PORT": str(self.ports.services[service]) for service in EDGE_SERVICES},
            "DRIFTLINE_TRUSTED_KEYS_FILE": str(self._keys / signing.PUBLIC_FILE),
            "DRIFTLINE_PAGE_SERVICES": json.dumps({name: self.url(name) for name in SERVICES}),
        }

    def _of_trainer(self) -> dict[str, str]:
        """It alone gets the private key."""
        return {
            "DRIFTLINE_PORT": str(self.ports.services[TRAINER]),
            "DRIFTLINE_SIGNING_KEY_FILE": str(self._keys / signing.KEY_FILE),
        }


def look_here() -> None:
    """Where no variable says where bus and store are, those of what `driftline up` started here are set."""
    if any(os.environ.get(name) for name in ("DRIFTLINE_BUS", "DRIFTLINE_BROKERS", "DRIFTLINE_STORE")):
        return
    streams = Path(os.environ.get("DRIFTLINE_STREAMS") or "streams")
    if (stack := of_folder(RUN, streams)) is not None:
        os.environ.update(stack.environment())


def is_embedded() -> bool:
    """Whether the bus lies in the edge's own process, so that this one can't read it."""
    return os.environ.get("DRIFTLINE_BUS") == "embedded"


def embedded_settings() -> EmbeddedSettings:
    """Where the embedded bus is kept, and what it may take. Raises InvalidInput."""
    data = Path(os.environ.get("DRIFTLINE_DATA") or RUN / EDGE)
    disk = os.environ.get("DRIFTLINE_DISK") or str(EmbeddedSettings.retention_bytes)
    if not disk.isdecimal():
        raise InvalidInput(line("disk", disk, "a whole number of bytes"))
    return EmbeddedSettings(data / "bus", retention_bytes=int(disk))


def of_folder(folder: Path, streams: Path) -> EdgeStack | None:
    """What `driftline up` started there, if it was this form."""
    try:
        ports = Ports.of(folder)
    except InvalidInput:
        return None
    return EdgeStack(folder, streams, ports=ports) if ports.form == "edge" else None
