"""What the benchmarks measure with: arrivals, quantiles, processor time and memory of processes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Self

import msgspec
import psutil
from aiokafka import AIOKafkaConsumer

from driftline.messages import Blend, Forecast, Record

PATIENCE_S = 180
PERCENT = 100


@dataclass(frozen=True)
class Latency:
    """Seconds from sent to readable."""

    rate: float
    p50: float
    p99: float
    n: int


@dataclass(frozen=True)
class Usage:
    """Processor seconds over a run; resident and proportional memory in MB after it."""

    cpu: float
    rss: float
    pss: float


def label(message: Record | Forecast | Blend) -> str:
    """What a record is called, and what is made of it."""
    return f"{message.key}/{message.t}"


class Sightings:
    """When what has an id was seen first."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self._changed = asyncio.Event()

    def note(self, ids: Iterable[str]) -> None:
        now = time.perf_counter()
        for name in ids:
            self.at.setdefault(name, now)
        self._changed.set()

    async def until(self, ids: Sequence[str]) -> None:
        """Returns when all were seen."""
        async with asyncio.timeout(PATIENCE_S):
            for name in ids:
                while name not in self.at:
                    self._changed.clear()
                    await self._changed.wait()


class Arrivals(Sightings):
    """When messages with an id arrive on a topic."""

    def __init__(self, brokers: str, topic: str, identify: Callable[[bytes], str]) -> None:
        super().__init__()
        self._consumer = AIOKafkaConsumer(topic, bootstrap_servers=brokers, group_id=None, auto_offset_reset="latest")
        self._identify = identify
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        await self._consumer.seek_to_end()
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._consumer.stop()

    async def _read(self) -> None:
        while True:
            found = await self._consumer.getmany(timeout_ms=500)
            self.note(self._identify(message.value) for messages in found.values() for message in messages)


async def paced(ids: Sequence[str], rate: float, send: Callable[[str], Awaitable[object]]) -> dict[str, float]:
    """Sends one after the other at `rate` a second, without waiting for answers, and says when each was sent."""
    sent: dict[str, float] = {}
    began = time.perf_counter()
    tasks = []
    for n, name in enumerate(ids):
        await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
        sent[name] = time.perf_counter()
        tasks.append(asyncio.ensure_future(send(name)))
    await asyncio.gather(*tasks)
    return sent


def latency(rate: float, sent: Mapping[str, float], seen: Mapping[str, float]) -> Latency:
    """Of all but the first tenth, in which connections are opened and code is warmed up."""
    names = list(sent)[len(sent) // 10 :]
    taken = sorted(seen[name] - sent[name] for name in names)
    cuts = quantiles(taken, n=PERCENT)
    return Latency(rate, cuts[49], cuts[98], len(taken))


def cpu_seconds(pid: int) -> float:
    """Of the process and its children."""
    process = psutil.Process(pid)
    times = [part.cpu_times() for part in (process, *process.children(recursive=True))]
    return sum(part.user + part.system for part in times)


def bytes_written(pid: int | str = "self") -> int:
    """Bytes that a process has caused to be written, as the system counts them."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def usage(pid: int, cpu_before: float) -> Usage:
    memory = psutil.Process(pid).memory_full_info()
    return Usage(cpu_seconds(pid) - cpu_before, memory.rss / 1e6, memory.pss / 1e6)


def swaps(log: Path, member: str) -> dict[str, float]:
    """By version of a member when inference swapped it in, in seconds since the epoch, as its log says."""
    lines = [msgspec.json.decode(line) for line in log.read_text().splitlines() if '"model swapped in"' in line]
    times = {line["version"]: line["time"] for line in lines if line["member"] == member}
    return {version: datetime.fromisoformat(time).timestamp() for version, time in times.items()}
