"""Everything that is killed and paused: Kafka, an S3 server and the services as processes, and their supervisor.

What ends by itself is started again, too, and remembered: nobody killed it.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import stamina

from driftline.names import SERVICES
from driftline_cli import broker, objects, processes
from driftline_cli.stack import BUCKET, Ports, Stack

KAFKA, STORE = "kafka", "s3"
SECOND = "-b"
"""What the second replica's name ends in."""
DISTURBED = (*SERVICES, f"inference{SECOND}", f"combiner{SECOND}", KAFKA, STORE)
LOOK_S = 0.2
BACK_S = 0.5
"""Until what ended by itself is started again."""
READY_S = 300.0
TAIL_BYTES = 100_000


@dataclass(frozen=True)
class Restart:
    """A process that ended although nobody killed it. seconds: after the beginning; why: its log's last words."""

    name: str
    seconds: float
    why: str

    def __str__(self) -> str:
        return f"{self.name} ended by itself after {self.seconds:.0f} s: {self.why}"


class NotReady(Exception):
    """A service that can't work yet."""


class Fleet:
    """Processes by name: a service, a second replica of it, `kafka` and `s3`."""

    def __init__(self, folder: Path, services: Sequence[str], environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.restarts: list[Restart] = []
        self.done: Counter[tuple[str, str]] = Counter()
        """Acts, by name and kind."""
        self.services = tuple(services)
        self.began_in = 0.0
        """Seconds that all services took until they were ready, when nothing disturbed them."""
        self._ports = Ports.free()
        self._own = {name: broker.free_port() for name in services if name not in SERVICES}
        self._stack = Stack(folder, folder / "streams", ports=self._ports, environment=environment)
        self._told: dict[str, str] = {}
        self._up: set[str] = set()
        self._paused: set[str] = set()
        self._begun: set[asyncio.Task[None]] = set()
        # A service is not mended while all are ended for a turn: it would be there twice.
        self._turning = asyncio.Lock()
        self._began = time.monotonic()

    @property
    def brokers(self) -> str:
        return f"127.0.0.1:{self._ports.kafka}"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports.s3}"

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._own[name]}" if name in self._own else self._ports.url(name)

    def log(self, name: str) -> Path:
        return self._folder(name) / f"{name}.log"

    def is_up(self, name: str) -> bool:
        """Whether it should be at work now: nobody keeps it down or paused."""
        return name in self._up and name not in self._paused

    async def up(self, **told: str) -> None:
        """Starts all, and returns when all are ready. told: settings of all services, until the next `turn`."""
        self._told = told
        await self._unbroken(self._stack.up(()))
        self._up |= {KAFKA, STORE}
        began = time.monotonic()
        for name in self.services:
            await self.start(name)
        if unready := await self.unready():
            raise NotReady("; ".join(unready))
        self.began_in = time.monotonic() - began

    async def unready(self, within: float = READY_S) -> list[str]:
        """Returns when every service says that it can work, or after so many seconds, with those that don't."""
        found = await asyncio.gather(*(self._ready(name, within) for name in self.services), return_exceptions=True)
        failed = [(name, error) for name, error in zip(self.services, found, strict=True) if error is not None]
        return [f"{name}: {error!r}; its log ends: {self._last_words(name)}" for name, error in failed]

    async def _ready(self, name: str, within: float) -> None:
        async with httpx.AsyncClient(base_url=self.url(name), timeout=5) as client:
            async for attempt in stamina.retry_context(
                on=(httpx.HTTPError, NotReady), attempts=None, timeout=within, wait_initial=0.2, wait_max=1.0
            ):
                with attempt:
                    answer = await client.get("/readyz")
                    if answer.is_error:
                        raise NotReady(f"{name}: {answer.text}")

    async def start(self, name: str) -> None:
        if name == KAFKA:
            await self._unbroken(self._start_kafka())
        elif name == STORE:
            await self._unbroken(self._start_store())
        else:
            self._start_service(name)
        self._up.add(name)

    async def _unbroken(self, starting: Coroutine[Any, Any, None]) -> None:
        """What has begun to start is there in a moment, whoever is cancelled meanwhile: `down` waits for it."""
        task = asyncio.create_task(starting)
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        await asyncio.shield(task)

    async def _start_kafka(self) -> None:
        await asyncio.to_thread(broker.start, self._folder(KAFKA), self._ports.kafka)

    async def _start_store(self) -> None:
        await asyncio.to_thread(objects.start, self._folder(STORE), self._ports.s3)
        # Its queues live in memory alone, unlike those of a store that is rented.
        await objects.prepare(self.folder, self._ports.s3, BUCKET)

    def _start_service(self, name: str) -> None:
        service, _, _ = name.partition(SECOND)
        own = {} if name == service else {"DRIFTLINE_CACHE": str(self.folder.absolute() / f"cache{SECOND}")}
        self._stack.start(service, name.removeprefix(service), self._own.get(name), self._told | own)

    async def kill(self, name: str, down: float) -> None:
        """With -9; it is started again `down` seconds later."""
        if self._signal(name, signal.SIGKILL, "kill"):
            self._up.discard(name)
            await asyncio.sleep(down)
            await self.start(name)

    async def pause(self, name: str, seconds: float) -> None:
        if self._signal(name, signal.SIGSTOP, "pause"):
            self._paused.add(name)
            await asyncio.sleep(seconds)
            self._continue(name)

    async def turn(self, **told: str) -> None:
        """Ends all services as an update does, and starts them with other settings."""
        async with self._turning:
            await asyncio.gather(*(self._end(name) for name in self.services))
            self._told = told
            for name in self.services:
                await self.start(name)

    async def _end(self, name: str) -> None:
        self._up.discard(name)
        await asyncio.to_thread(processes.stop, self._folder(name), name)

    async def supervise(self) -> None:
        """Starts again what ended by itself; until cancelled."""
        while True:
            for name in sorted(self._up):
                async with self._turning:
                    await self._mend(name)
            await asyncio.sleep(LOOK_S)

    async def _mend(self, name: str) -> None:
        """Unless it runs, or is not meant to."""
        if name not in self._up or self._pid(name) is not None:
            return
        self._up.discard(name)
        self.restarts.append(Restart(name, time.monotonic() - self._began, self._last_words(name)))
        await asyncio.sleep(BACK_S)
        await self.start(name)

    def _last_words(self, name: str) -> str:
        """What its log says last that is grave, or says last at all."""
        with self.log(name).open("rb") as log:
            log.seek(max(0, self.log(name).stat().st_size - TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        for line in reversed(lines):
            with suppress(msgspec.DecodeError, TypeError, KeyError):
                said = msgspec.json.decode(line)
                if said["level"] in {"critical", "error"}:
                    return str(said["message"])[:300]
        return (lines or ["it said nothing"])[-1][:300]

    def _signal(self, name: str, number: signal.Signals, kind: str) -> bool:
        """Whether it was there to be disturbed."""
        pid = self._pid(name)
        if pid is None or not self.is_up(name):
            return False
        os.kill(pid, number)
        self.done[name, kind] += 1
        return True

    def _continue(self, name: str) -> None:
        self._paused.discard(name)
        pid = self._pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGCONT)

    async def down(self) -> None:
        """Ends everything by its id, at once: nothing here is needed again. What a trainer has begun ends with it."""
        await asyncio.gather(*self._begun, return_exceptions=True)
        for name in (*self.services, STORE, KAFKA):
            if (pid := self._pid(name)) is not None:
                os.kill(pid, signal.SIGKILL)
        self._up.clear()

    def _pid(self, name: str) -> int | None:
        return processes.running(self._folder(name), name)

    def _folder(self, name: str) -> Path:
        return self.folder / KAFKA if name == KAFKA else self.folder
