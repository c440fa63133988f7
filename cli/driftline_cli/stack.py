"""The four services as processes of this machine, on a real Kafka and a local S3 server."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import httpx
import msgspec
import stamina

from driftline.errors import InvalidInput, Unavailable
from driftline.models import signing
from driftline.names import PORTS, SERVICES
from driftline_cli import broker, objects, processes, tokens

BUCKET = "driftline"
PORTS_FILE = "ports.json"
READY_S = 60.0
SMALL = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Memory that was freed goes back, instead of staying with one arena for each thread."""


PROCESSES = (*(f"driftline_{service}" for service in SERVICES), "ministack")
"""The modules that are run as processes."""


def look_for_services() -> None:
    """Raises ModuleNotFoundError for what `Stack.up` would start and is not installed."""
    for name in PROCESSES:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@dataclass(frozen=True)
class Ports:
    """Where everything listens, on 127.0.0.1 only."""

    kafka: int = 9092
    s3: int = 4566
    services: Mapping[str, int] = field(default_factory=lambda: dict(PORTS))

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.services[service]}"

    @classmethod
    def of(cls, folder: Path) -> "Ports":
        """Those of the stack that was started in `folder`. Raises InvalidInput when there was none."""
        try:
            return msgspec.json.decode((folder / PORTS_FILE).read_bytes(), type=cls)
        except OSError as error:
            raise InvalidInput(f"{folder}: found no stack, expected one that `driftline local up` started") from error

    @classmethod
    def chosen(cls, folder: Path, first: int | None) -> "Ports":
        """Six in a row from `first` on; without it those of the stack in `folder`, or the usual ones."""
        if first is not None:
            services = {service: first + further for further, service in enumerate(SERVICES)}
            return cls(first + len(SERVICES), first + len(SERVICES) + 1, services)
        return cls.of(folder) if (folder / PORTS_FILE).exists() else cls()

    @classmethod
    def free(cls) -> "Ports":
        """Ports that nobody has now."""
        return cls(broker.free_port(), broker.free_port(), {name: broker.free_port() for name in SERVICES})


class Stack:
    """Everything lies in `folder`: data, logs and process ids. `brokers`: a Kafka that runs already.

    `through`: by service the ports at which it reaches the store and the others, where a link stands between them.
    `token`: whether the services ask for a token, which is made when there is none.
    """

    def __init__(
        self,
        folder: Path,
        streams: Path,
        *,
        ports: Ports | None = None,
        brokers: str | None = None,
        environment: Mapping[str, str] | None = None,
        through: Mapping[str, Ports] | None = None,
        token: bool = False,
    ) -> None:
        self.folder = folder
        self.ports = ports or Ports()
        self._streams = streams
        self._brokers = brokers
        self._environment = dict(environment or {})
        self._through = dict(through or {})
        self._keys = folder.absolute() / "keys"
        self._secrets = tokens.make(folder) if token else None
        self._queues: dict[str, str] = {}

    def url(self, service: str) -> str:
        return self.ports.url(service)

    def start_kafka(self) -> None:
        if self._brokers is None and processes.running(self.folder / "kafka", "kafka") is None:
            broker.start(self.folder / "kafka", self.ports.kafka)

    async def up(self, services: Sequence[str] = SERVICES) -> None:
        """Starts what does not run yet, and returns when `services` are ready. Raises Unavailable."""
        await asyncio.to_thread(self.start_kafka)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / PORTS_FILE).write_bytes(msgspec.json.encode(self.ports))
        if processes.running(self.folder, "s3") is None:
            await asyncio.to_thread(objects.start, self.folder, self.ports.s3)
        self._queues = await objects.prepare(self.folder, self.ports.s3, BUCKET)
        if not self._keys.exists():
            signing.new_keys(self._keys)
        for service in services:
            if processes.running(self.folder, service) is None:
                self.start(service)
        for service in services:
            await self.ready(service)

    def down(self) -> None:
        """Ends the services first, so that they can write their last checkpoints."""
        for service in SERVICES:
            processes.stop(self.folder, service)
        processes.stop(self.folder, "s3")
        if self._brokers is None:
            processes.stop(self.folder / "kafka", "kafka")

    def start(
        self, service: str, replica: str = "", port: int | None = None, environment: Mapping[str, str] | None = None
    ) -> str:
        """Starts one service, or another replica of it; returns the name of its log and pid file.

        environment: what this process alone is told.
        """
        name = service + replica
        command = [sys.executable, "-m", f"driftline_{service}"]
        own = ({} if port is None else {"DRIFTLINE_PORT": str(port)}) | dict(environment or {})
        processes.start(self.folder, name, command, self._settings(service) | own)
        return name

    def signal(self, name: str, number: signal.Signals) -> None:
        """Sends a signal to a process that this stack started."""
        pid = processes.running(self.folder, name)
        if pid is None:
            raise Unavailable(f"{name} does not run; its log is {self.folder / name}.log")
        os.kill(pid, number)

    def environment(self) -> dict[str, str]:
        """With which the command finds all of it."""
        return {
            **objects.credentials(self.folder),
            "DRIFTLINE_BROKERS": self._brokers or f"127.0.0.1:{self.ports.kafka}",
            "DRIFTLINE_STORE": f"s3://{BUCKET}",
            "DRIFTLINE_STORE_ENDPOINT": f"http://127.0.0.1:{self.ports.s3}",
            "DRIFTLINE_STORE_REGION": objects.REGION,
            "DRIFTLINE_STREAMS": str(self._streams.absolute()),
            **{f"DRIFTLINE_{service.upper()}": self.url(service) for service in SERVICES},
        }

    def _settings(self, service: str) -> dict[str, str]:
        seen = self._through.get(service, self.ports)
        return {
            **self.environment(),
            **SMALL,
            "DRIFTLINE_STORE_ENDPOINT": f"http://127.0.0.1:{seen.s3}",
            "DRIFTLINE_TRAINER": seen.url("trainer"),
            "DRIFTLINE_PORT": str(self.ports.services[service]),
            "DRIFTLINE_PAGE_SERVICES": json.dumps({name: self.url(name) for name in SERVICES}),
            **self._signing(service),
            "DRIFTLINE_CACHE": str(self.folder.absolute() / "cache"),
            **({"DRIFTLINE_SECRETS": str(self._secrets)} if self._secrets else {}),
            **({"DRIFTLINE_STORE_QUEUE": self._queues[service]} if service in self._queues else {}),
            **self._environment,
        }

    def _signing(self, service: str) -> dict[str, str]:
        """Only the trainer gets the private key."""
        if service == "trainer":
            return {"DRIFTLINE_SIGNING_KEY_FILE": str(self._keys / signing.KEY_FILE)}
        return {"DRIFTLINE_TRUSTED_KEYS_FILE": str(self._keys / signing.PUBLIC_FILE)} if service == "inference" else {}

    async def ready(self, service: str) -> None:
        """Returns when the service says that it can work. Raises Unavailable when its process ended."""
        retrying = stamina.retry_context(
            on=httpx.HTTPError, attempts=None, timeout=READY_S, wait_initial=0.1, wait_max=0.5, wait_jitter=0.1
        )
        async with httpx.AsyncClient(base_url=self.url(service), timeout=10) as client:
            async for attempt in retrying:
                with attempt:
                    if processes.running(self.folder, service) is None:
                        log = processes.said(self.folder, service)[-600:]
                        raise Unavailable(f"{service} ended at once; its log says: {log}")
                    (await client.get("/readyz")).raise_for_status()
