"""`make bench-many-edges`: what a trainer spends on many edges: heartbeats, the fleet's answer, the door, day files.

Prints the figures and writes them into docs/scaling.md.
"""

import argparse
import asyncio
import multiprocessing as mp
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import numpy as np
import psutil
from fastapi import FastAPI

from driftline.fleet.names import heartbeat_key, registration_key
from driftline.fleet.notes import sealed
from driftline.fleet.registration import Registration
from driftline.metrics import Metrics
from driftline.models.signing import Signer, Trust, new_key
from driftline.store.days import DAY_MS
from driftline.store.door_names import OBJECT, WATCH
from driftline.store.folder import FolderStore
from driftline.store.windows import WindowName
from driftline.streams import tables
from driftline.streams.catalog import Streams
from driftline.streams.rows import Rows
from driftline_trainer.days.compactor import DayCompactor
from driftline_trainer.fleet.book import FleetBook
from driftline_trainer.fleet.rest import routes
from driftline_trainer.fleet.watch import FleetWatch
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer
from tests.bench.day_files import FIRST, HOUR_MS, STREAM
from tests.bench.page import write_part
from tests.conftest import ROOT
from tests.fleet.cloud import Cloud
from tests.fleet.simulated import NOW, simulated

PAGE = ROOT / "docs" / "scaling.md"
EDGES = (500, 5_000)
ASKED = 3_000
"""Requests of each kind at the door."""
WAITING = 400
"""Requests at the door that wait for a change."""
WINDOWS = 2_000
"""Windows of 24 hours that are joined, of as many series."""
DEVICES = 50
"""Devices that have joined there; each may let eight requests wait."""
MODEL = "models/many/batch/current.json"


def cpu_s() -> float:
    """Processor time of this process and of its children that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + spent.ru_utime + spent.ru_stime


def rss_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 1e6


@dataclass(frozen=True)
class HeartbeatCost:
    """Processor seconds of a look at all edges after each has left a heartbeat, and of one after none has. memory_mb:
    what the trainer holds of them. answer: seconds and bytes of `GET /v1/fleet`."""

    edges: int
    changed_s: float
    unchanged_s: float
    memory_mb: float
    answer_s: float
    answer_bytes: int

    @property
    def minute_s(self) -> float:
        """Two looks a minute, one of which finds new heartbeats."""
        return self.changed_s + self.unchanged_s


async def watched(edges: int) -> HeartbeatCost:
    with tempfile.TemporaryDirectory() as folder:
        store, trainer = FolderStore(Path(folder)), Signer(new_key())
        signer = Signer(new_key())
        _join(Path(folder), edges, signer, trainer)
        _beat(Path(folder), edges, signer, 1)
        before_mb = rss_mb()
        now = NOW
        book = FleetBook(edges, now)
        watch = FleetWatch(store, book, Metrics(), Trust([trainer.public]), lambda: now)
        await watch.reconcile(None)
        spent: dict[str, float] = {}
        for number in (2, 3):
            now = NOW + 60 * number
            _beat(Path(folder), edges, signer, number)
            for kind in ("changed", "unchanged"):
                began = cpu_s()
                await watch.reconcile(None)
                spent[kind] = cpu_s() - began
        memory_mb = rss_mb() - before_mb
        seconds, size = await _answer(book, now)
        return HeartbeatCost(edges, spent["changed"], spent["unchanged"], memory_mb, seconds, size)


def _join(root: Path, edges: int, signer: Signer, trainer: Signer) -> None:
    for n in range(edges):
        edge = simulated(n).edge
        note = Registration(edge=edge, name=edge, public_key=signer.public, labels={}, joined=NOW)
        _write(root / registration_key(edge), sealed(note, trainer))


def _beat(root: Path, edges: int, signer: Signer, number: int) -> None:
    for n in range(edges):
        heartbeat = simulated(n, number, NOW + 60 * number)
        _write(root / heartbeat_key(heartbeat.edge), sealed(heartbeat, signer))


def _write(path: Path, body: bytes) -> None:
    """As the store leaves it, without waiting for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}")
    part.write_bytes(body)
    part.replace(path)


async def _answer(book: FleetBook, now: float) -> tuple[float, int]:
    app = FastAPI()
    app.include_router(routes(book, lambda: now))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trainer") as client:
        began = cpu_s()
        answer = await client.get("/v1/fleet")
        return cpu_s() - began, len(answer.content)


@dataclass(frozen=True)
class DoorCost:
    """Processor seconds of the trainer for a request of each kind at the door, and bytes that one that waits holds."""

    unchanged_s: float
    heartbeat_s: float
    waiting_bytes: float


def serve(folder: str, pipe: Connection) -> None:
    """A trainer with a door and devices that have joined. Answers each message with its processor seconds and memory,
    until an empty one comes."""

    async def run() -> None:
        async with Cloud.opened(Path(folder), STREAM, connections=2 * WAITING, store_poll=3600.0) as cloud:
            devices = [await cloud.joined() for _ in range(DEVICES)]
            await cloud.store.put(MODEL, b"x" * 500)
            pipe.send((cloud.url, [(device.edge, device.shown) for device in devices]))
            while await asyncio.to_thread(pipe.recv):
                pipe.send((time.process_time(), rss_mb()))

    asyncio.run(run())


async def asked() -> DoorCost:
    here, far = mp.Pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        trainer = mp.get_context("spawn").Process(target=serve, args=(folder, far))
        trainer.start()
        try:
            url, devices = await asyncio.to_thread(here.recv)
            async with httpx.AsyncClient(base_url=url, timeout=60, limits=httpx.Limits(max_connections=None)) as client:
                return await _ask(client, devices, lambda: _state(here))
        finally:
            here.send(False)
            trainer.join()


def _state(pipe: Connection) -> tuple[float, float]:
    pipe.send(True)
    seconds, memory_mb = pipe.recv()
    return float(seconds), float(memory_mb)


async def _ask(
    client: httpx.AsyncClient, devices: Sequence[tuple[str, str]], state: Callable[[], tuple[float, float]]
) -> DoorCost:
    edge, shown = devices[0]
    headers = {"Authorization": f"Bearer {shown}"}
    first = (await client.get(OBJECT, params={"key": MODEL}, headers=headers)).raise_for_status()
    unless = {**headers, "If-None-Match": first.headers["etag"]}
    body = sealed(simulated(1), None)

    async def get() -> None:
        assert (await client.get(OBJECT, params={"key": MODEL}, headers=unless)).status_code == httpx.codes.NOT_MODIFIED

    async def put() -> None:
        (
            await client.put(OBJECT, params={"key": heartbeat_key(edge)}, headers=headers, content=body)
        ).raise_for_status()

    unchanged_s, heartbeat_s = await _each(get, state), await _each(put, state)
    before_mb = state()[1]
    waits = [asyncio.create_task(_wait(client, devices[n % DEVICES][1])) for n in range(WAITING)]
    done, _ = await asyncio.wait(waits, timeout=10)
    held_mb = state()[1] - before_mb
    for task in waits:
        task.cancel()
    await asyncio.wait(waits)
    assert not done, "expected all requests to wait"
    return DoorCost(unchanged_s, heartbeat_s, held_mb * 1e6 / WAITING)


async def _each(ask: Callable[[], Awaitable[None]], state: Callable[[], tuple[float, float]]) -> float:
    """Processor seconds of the trainer for one."""
    before, _ = state()
    for _ in range(ASKED):
        await ask()
    return (state()[0] - before) / ASKED


async def _wait(client: httpx.AsyncClient, shown: str) -> None:
    headers = {"Authorization": f"Bearer {shown}"}
    query: dict[str, str | float] = {"prefix": "models/", "wait": 0}
    answer = (await client.get(WATCH, params=query, headers=headers)).raise_for_status()
    await client.get(WATCH, params={**query, "cursor": answer.json()["cursor"], "wait": 240}, headers=headers)


@dataclass(frozen=True)
class JoiningCost:
    """Processor seconds for joining WINDOWS windows into one day file."""

    seconds: float
    window_bytes: int
    file_bytes: int


async def joined() -> JoiningCost:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = FolderStore(Path(folder))
        size = _archive(Path(folder))
        settings = TrainerSettings(store=folder, store_poll=3600)
        streams, metrics = Streams({STREAM.name: STREAM}), Metrics()
        trainer = Trainer(settings, store, streams, metrics)
        compactor = DayCompactor(settings, store, streams, trainer, metrics, lambda: (FIRST + 5 * DAY_MS) / 1000)
        began = cpu_s()
        await compactor.compact()
        seconds = cpu_s() - began
        files = [listed async for listed in store.list("days/")]
        assert not [listed async for listed in store.list("windows/")]
        return JoiningCost(seconds, size, sum(listed.size for listed in files))


def _archive(root: Path) -> int:
    """Windows of one day; returns the bytes of one."""
    random, size = np.random.default_rng(0), 0
    t = FIRST + np.arange(24) * HOUR_MS
    for n in range(WINDOWS):
        values = np.round(random.normal(10, 3, (24, len(STREAM.columns))), 1)
        key = f"sensor-{n:05d}"
        rows = Rows(np.full(24, key), t, values)
        body = tables.encode(rows, STREAM)
        name = WindowName(int(t[0]), int(t[-1]), "aa").format()
        _write(root / "windows" / STREAM.name / key / name, body)
        size = len(body)
    return size


def render(fleets: Sequence[HeartbeatCost], door: DoorCost, days: JoiningCost) -> Iterator[str]:
    yield "Processor time of a trainer on one of 2 cores, with a folder as its store; heartbeats are signed:\n\n"
    yield "| edges | new heartbeats of all, s | a look that finds nothing new, s | both in a minute, of one core "
    yield "| `GET /v1/fleet`, s | MB | memory for them, MB |\n|---|---|---|---|---|---|---|\n"
    for seen in fleets:
        yield f"| {seen.edges:,} | {seen.changed_s:.2f} | {seen.unchanged_s:.2f} | {seen.minute_s / 60:.1%} "
        yield f"| {seen.answer_s:.3f} | {seen.answer_bytes / 1e6:.2f} | {seen.memory_mb:.0f} |\n"
    yield "\n| what | processor time, or size |\n|---|---|\n"
    yield f"| a request at the door: a pointer that has not changed | {door.unchanged_s * 1000:.2f} ms |\n"
    yield f"| a request at the door: a heartbeat | {door.heartbeat_s * 1000:.2f} ms |\n"
    yield f"| a request at the door that waits for changes | {door.waiting_bytes / 1000:.0f} kB of memory |\n"
    yield f"| {WINDOWS:,} windows of 24 rows, each of {days.window_bytes / 1000:.1f} kB, joined into a day file "
    yield f"of {days.file_bytes / 1000:.0f} kB | {days.seconds:.1f} s, {days.seconds / WINDOWS * 1000:.1f} ms each |\n"


def in_fresh_process(edges: int) -> HeartbeatCost:
    """So that its memory is that of these edges alone."""
    with mp.get_context("spawn").Pool(1) as pool:
        return pool.apply(_watched, (edges,))


def _watched(edges: int) -> HeartbeatCost:
    return asyncio.run(watched(edges))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dry", action="store_true", help="write no page")
    chosen = parser.parse_args()
    door, days = asyncio.run(asked()), asyncio.run(joined())
    text = "".join(render([in_fresh_process(edges) for edges in EDGES], door, days))
    print(text)  # noqa: T201
    if not chosen.dry:
        write_part(PAGE, "bench-many-edges", text)


if __name__ == "__main__":
    main()
