"""The embedded bus by itself: `make bench-embedded` writes into docs/decisions/0026-embedded-bus.md what it costs.

In one process: a publisher and two relays that only pass on what comes, with messages as long as records, forecasts and
blends are, and states of 100 series as often as a worker writes them. FOLDER says on which disk.
"""

import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvloop

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.port import Assignment, Bus, Checkpoint, Output
from driftline.messages import Topic
from tests.bench.measure import Latency, Sightings, bytes_written, latency, paced
from tests.bench.page import write_part
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "decisions" / "0026-embedded-bus.md"
SIZES = (301, 374, 697)
"""Bytes of a record, a forecast and a blend."""
STATES = (None, 20_000, 10_000)
"""Bytes of a series' state at the hop that writes the topic."""
STATE_EVERY = 60
"""Records of a series between two states of it."""
SERIES = 100
BATCHES = (1, 10, 100)
RATES = (100.0, 500.0)
SECONDS = 20
POLL = 500


class Relayed(msgspec.Struct, frozen=True):
    """A message of a given length."""

    name: str
    pad: str


TOPICS = [Topic(f"bench-{n}", Relayed, lambda relayed: relayed.name) for n in range(3)]


def padded(name: str, size: int) -> Relayed:
    return Relayed(name, "x" * (size - len('{"name":"","pad":""}') - len(name)))


class Relay:
    """Passes on what comes: outputs, position and now and then a state, all in one commit."""

    def __init__(self, bus: Bus, hop: int) -> None:
        self._bus = bus
        self._hop = hop
        self._count = 0

    async def restore(self, partition: int, states: Mapping[str, bytes | None]) -> None:
        """It needs none of them."""

    def assigned(self, assignment: Assignment) -> None:
        """It begins wherever that is."""

    async def revoked(self, partition: int) -> None:
        """It holds nothing back."""

    async def run(self) -> None:
        source, target = TOPICS[self._hop - 1 : self._hop + 1]
        async with self._bus.join(source, f"relay-{self._hop}", self) as feed:
            while True:
                commits: dict[int, list[Output]] = {}
                ends: dict[int, int] = {}
                for raw in await feed.poll(POLL, 1.0):
                    passed = padded(source.decode(raw.payload).name, SIZES[self._hop])
                    commits.setdefault(raw.partition, []).append(Output(raw.partition, target, passed))
                    ends[raw.partition] = raw.offset + 1
                await asyncio.gather(
                    *(feed.commit(Checkpoint(p, ends[p], self._states(len(o)), o)) for p, o in commits.items())
                )

    def _states(self, messages: int) -> dict[str, bytes | None]:
        begin, self._count = self._count, self._count + messages
        changed = range(begin // STATE_EVERY, self._count // STATE_EVERY)
        return {f"s{number % SERIES}": os.urandom(STATES[self._hop] or 0) for number in changed}


@asynccontextmanager
async def chain(folder: Path) -> AsyncIterator[tuple[EmbeddedBus, Sightings]]:
    """A bus with both relays at work, and what was seen at the end of the second."""
    bus, sightings = EmbeddedBus(EmbeddedSettings(folder, retention_bytes=200_000_000)), Sightings()

    async def see() -> None:
        async with aclosing(bus.tail(TOPICS[-1])) as pages:
            async for page in pages:
                sightings.note(envelope.value.name for envelope in page)

    tasks = [asyncio.create_task(job) for job in (Relay(bus, 1).run(), Relay(bus, 2).run(), see())]
    await bus.publish(TOPICS[0], [padded("warm", SIZES[0])])
    await sightings.until(["warm"])
    try:
        yield bus, sightings
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.close()


@dataclass(frozen=True)
class Cost:
    """Of a record through all three topics."""

    batch: int
    written: float
    """Bytes, as the system counts them for this process."""
    device: float | None
    """Bytes, as the disk counts them; None where it is not known."""
    cpu: float
    """Seconds of processor time."""
    rate: float
    """Records a second, one batch after the other."""


def device_written(folder: Path) -> int | None:
    """Bytes that were written to the folder's disk, the file system's own included, by whomever."""
    device = folder.stat().st_dev
    stat = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat")
    os.sync()
    return int(stat.read_text().split()[6]) * 512 if stat.exists() else None


async def cost(folder: Path, batch: int, count: int) -> Cost:
    """Batches one after the other, each as soon as the one before has arrived."""
    async with chain(folder) as (bus, sightings):
        before, device, cpu, began = bytes_written(), device_written(folder), time.process_time(), time.perf_counter()
        for start in range(0, count, batch):
            names = [f"{batch}-{start + n}" for n in range(batch)]
            await bus.publish(TOPICS[0], [padded(name, SIZES[0]) for name in names])
            await sightings.until(names)
        taken, used, own = time.perf_counter() - began, time.process_time() - cpu, bytes_written() - before
        after = device_written(folder)
        all_in_all = None if device is None or after is None else (after - device) / count
        return Cost(batch, own / count, all_in_all, used / count, count / taken)


async def saturation(folder: Path, count: int) -> float:
    """Records a second, published in batches of 500 by four publishers."""
    async with chain(folder) as (bus, sightings):
        names = [f"all-{n}" for n in range(count)]
        began = time.perf_counter()

        async def publish(lane: int) -> None:
            for start in range(lane * POLL, count, 4 * POLL):
                await bus.publish(TOPICS[0], [padded(name, SIZES[0]) for name in names[start : start + POLL]])

        await asyncio.gather(*(publish(lane) for lane in range(4)))
        await sightings.until(names)
        return count / (time.perf_counter() - began)


async def latencies(folder: Path, rate: float) -> tuple[Latency, Latency, float]:
    """Until a single record is acknowledged, until it is readable behind two relays, and syncs a record."""
    async with chain(folder) as (bus, sightings):
        names = [f"{rate}-{n}" for n in range(int(rate * SECONDS))]
        acknowledged: dict[str, float] = {}
        syncs = bus.writing.syncs

        async def send(name: str) -> None:
            await bus.publish(TOPICS[0], [padded(name, SIZES[0])])
            acknowledged[name] = time.perf_counter()

        sent = await paced(names, rate, send)
        await sightings.until(names)
        shared = (bus.writing.syncs - syncs) / len(names)
        return latency(rate, sent, acknowledged), latency(rate, sent, sightings.at), shared


def sync_seconds(folder: Path) -> float:
    """Median of what the disk takes for 4 kB that are synced."""
    taken = []
    with (folder / "probe").open("wb") as file:
        for _ in range(200):
            began = time.perf_counter()
            file.seek(0)
            file.write(os.urandom(4096))
            file.flush()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - began)
    (folder / "probe").unlink()
    return statistics.median(taken)


TEXT = """\
{machine}, {cores} cores, Python {python}; a synced write of 4 kB takes {sync:.2f} ms here. Messages of {sizes} bytes; a
state of 20 kB and one of 10 kB every {every} records of a series. The system counts what the process writes; the disk
also the file system's own, and what others write at the time.

| records at once | bytes written a record, system | disk | processor, µs a record |
|---|---|---|---|
{costs}

| single records a second | syncs a record | acknowledged, p50 / p99, ms | readable behind two relays, p50 / p99, ms |
|---|---|---|---|
{latencies}

At saturation {saturation:,.0f} records a second pass through both relays.
"""


def _cost_row(cost: Cost) -> str:
    device = "-" if cost.device is None else f"{cost.device:,.0f}"
    return f"| {cost.batch} | {cost.written:,.0f} | {device} | {cost.cpu * 1e6:.0f} |"


def _latency_row(acknowledged: Latency, readable: Latency, syncs: float) -> str:
    both = [f"{one.p50 * 1e3:.1f} / {one.p99 * 1e3:.1f}" for one in (acknowledged, readable)]
    return f"| {acknowledged.rate:.0f} | {syncs:.2f} | {both[0]} | {both[1]} |"


async def main(parent: Path) -> None:
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = Path(name)
        sync = sync_seconds(folder)
        costs: Sequence[Cost] = [await cost(folder / f"cost-{b}", b, 200 * b if b > 1 else 1000) for b in BATCHES]
        single = [await latencies(folder / f"rate-{rate}", rate) for rate in RATES]
        full = await saturation(folder / "full", 40_000)
    text = TEXT.format(
        machine=platform.machine(),
        cores=os.cpu_count(),
        python=platform.python_version(),
        sync=sync * 1e3,
        sizes=", ".join(map(str, SIZES)),
        every=STATE_EVERY,
        costs="\n".join(map(_cost_row, costs)),
        latencies="\n".join(_latency_row(*row) for row in single),
        saturation=full,
    )
    print(text)  # noqa: T201
    if PAGE.exists():
        write_part(PAGE, "bench-embedded", text)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir())))
