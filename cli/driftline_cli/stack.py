"""The four services as processes of this machine, on a real Kafka and a local S3 server."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec
import stamina

from driftline.errors import Conflict, InvalidInput, Unavailable
from driftline.models import signing
from driftline.names import EDGE, PORTS, SERVICES
from driftline_cli import broker, objects, processes, tokens
from driftline_cli.one_service import client_of
from driftline_client import ClientError

BUCKET = "driftline"
PORTS_FILE = "ports.json"
READY_S = 60.0
ANSWER_S = 10.0
SMALL = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
"""Memory that was freed goes back, instead of staying with one arena for each thread."""


PROCESSES = (*(f"driftline_{service}" for service in SERVICES), "ministack")
"""The modules that are run as processes."""


def look_for(modules: Sequence[str] = PROCESSES) -> None:
    """Raises ModuleNotFoundError for what would be started and is not installed."""
    for name in modules:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@dataclass(frozen=True)
class Ports:
    """Where everything listens, on 127.0.0.1 only. form: `edge` has neither Kafka nor an S3 server."""

    kafka: int = 9092
    s3: int = 4566
    services: Mapping[str, int] = field(default_factory=lambda: dict(PORTS))
    form: Literal["kafka", "edge"] = "kafka"

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.services[service]}"

    @classmethod
    def of(cls, folder: Path) -> "Ports":
        """Those of the stack that was started in `folder`. Raises InvalidInput when there was none."""
        try:
            return msgspec.json.decode((folder / PORTS_FILE).read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidInput(f"{folder}: found no stack, expected one that `driftline up` started") from error

    def keep(self, folder: Path, *processes_: str) -> None:
        """Writes them for the commands to come. Raises Conflict while one of the processes runs at other ports."""
        if any(processes.running(folder, process) is not None for process in processes_):
            if self != Ports.of(folder):
                raise Conflict(f"found it running in {folder} at other ports: end it first (`driftline down`)")
            return
        folder.mkdir(parents=True, exist_ok=True)
        part = (folder / PORTS_FILE).with_suffix(".part")
        part.write_bytes(msgspec.json.encode(self))
        part.rename(folder / PORTS_FILE)

    @classmethod
    def chosen(cls, folder: Path, first: int | None) -> "Ports":
        """Six in a row from `first` on; without it those of the stack in `folder`, or the usual ones."""
        if first is not None:
            services = {service: first + further for further, service in enumerate(SERVICES)}
            return cls(first + len(SERVICES), first + len(SERVICES) + 1, services)
        try:
            return replace(cls.of(folder), form="kafka")
        except InvalidInput:
            return cls()

    @classmethod
    def free(cls) -> "Ports":
        """Ports that nobody has now."""
        kafka, s3, *services = broker.free_ports(2 + len(SERVICES))
        return cls(kafka, s3, dict(zip(SERVICES, services, strict=True)))


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
        """Starts what does not run yet, and returns when `services` are ready. Raises Unavailable, and Conflict while
        the folder's other form runs."""
        refuse_beside(self.folder, EDGE)
        self.ports.keep(self.folder, *SERVICES)
        await asyncio.to_thread(self.start_kafka)
        if processes.running(self.folder, "s3") is None:
            await asyncio.to_thread(objects.start, self.folder, self.ports.s3)
        self._queues = await objects.prepare(self.folder, self.ports.s3, BUCKET)
        signing.ensure_keys(self._keys)
        for service in services:
            if processes.running(self.folder, service) is None:
                self.start(service)
        for service in services:
            await self.ready(service)

    def down(self) -> None:
        """Ends the services first, so that they can write their last checkpoints."""
        for process in (EDGE, *SERVICES, "s3"):
            processes.stop(self.folder, process)
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
        os.kill(self.pid(name), number)

    def pid(self, name: str) -> int:
        """The id of a process that this stack started. Raises Unavailable where it runs no more."""
        return processes.pid_of(self.folder, name)

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
        await ready(self.folder, service, self.url(service))


def refuse_beside(folder: Path, *others: str) -> None:
    """Raises Conflict while one of these processes runs, which has the ports or the data that are wanted."""
    for process in others:
        if processes.running(folder, process) is not None:
            raise Conflict(f"found {process} running in {folder}, expected nothing: end it first (`driftline down`)")


async def ready(folder: Path, process: str, url: str) -> None:
    """Returns when the service at `url` says that it can work. Raises Unavailable when its process ended."""
    retrying = stamina.retry_context(
        on=(_Starting, ClientError), attempts=None, timeout=READY_S, wait_initial=0.05, wait_max=0.5, wait_jitter=0.1
    )
    async with client_of(url, None, timeout=ANSWER_S) as client:
        async for attempt in retrying:
            with attempt:
                if processes.running(folder, process) is None:
                    log = processes.said(folder, process)[-600:]
                    raise Unavailable(f"{process} ended at once; its log says: {log}")
                readiness = await client.readiness("ingest")
                if not readiness.ready:
                    raise _Starting(f"{process} at {url} is not ready after {READY_S:g} s: {readiness.missing}")


class _Starting(Unavailable):
    """A service that answers is not ready yet."""
