"""`make bench-swap`: 200 models swapped in under load, and restarts without network; one edge, a real Kafka and S3.

Prints the figures and writes them into docs/models.md.
"""

import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from math import isnan
from pathlib import Path
from statistics import quantiles

import httpx
import msgspec
import psutil
import stamina

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.messages import FORECASTS, RECORDS, Record
from driftline.models.signing import KEY_FILE
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from driftline.streams.tables import read_file
from driftline_cli import objects, processes
from driftline_cli.stack import BUCKET, Ports, Stack
from driftline_trainer.fit import Task, Trained, train
from tests.bench.measure import PATIENCE_S, PERCENT, label, swaps
from tests.bench.page import write_part

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "models.md"
SWAPS = 200
WARM_UP_S = 5.0
RATE = 200.0
KEYS = 20
AROUND_S = 0.1
"""A record that is sent so long before or after a swap counts as one that it may have held up."""
RESTARTS = 5
LOST_S = 30.0
NICE = 10
BARS = {"pause": 5.0, "event": 1.0, "restart": 2.0}


@dataclass
class Seen:
    """What came out: by record its arrival and the version of its forecast; and every repeat."""

    arrived: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str | None] = field(default_factory=dict)
    first_by: dict[str, float] = field(default_factory=dict)
    repeats: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def reach(self, count: int) -> None:
        """Returns when so many records have come, or too much time has passed: then the rest is lost."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOST_S):
                while len(self.arrived) < count:
                    self.changed.clear()
                    await self.changed.wait()


@dataclass(frozen=True)
class Figures:
    lost: int
    doubled: int
    unversioned: int
    records: int
    events: list[float]
    """Seconds from the pointer's write to the swap."""
    with_swap: list[float]
    """Latencies of the records that were sent about a swap, in seconds."""
    without: list[float]
    """The same about as many moments at which models were published, but elsewhere."""
    restarts: list[float]


async def main() -> None:
    stream = load(ROOT / "streams" / "outdoor-temperature.yaml")
    rows = read_file(ROOT / "data" / "la-haute-borne.parquet", stream)
    brief = stream.model_copy(update={"training": stream.training.model_copy(update={"epochs": 1})})
    versions = [train(Task(brief, rows.take(slice(0, rows_used)))) for rows_used in (4000, 5000)]
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as scratch:
        stack = Stack(Path(scratch), ROOT / "streams", ports=Ports.free())
        try:
            await stack.up(("inference",))
            # Store and trainer are other machines in earnest: here they must not take the edge's time.
            psutil.Process(processes.running(stack.folder, "s3")).nice(NICE)
            figures = await _measure(stack, stream, rows.by_key()["R80711"], versions)
        finally:
            stack.down()
    text = render(figures)
    write_part(PAGE, "bench-swap", text)
    print(text)  # noqa: T201


async def _measure(stack: Stack, stream: StreamDefinition, rows: Rows, versions: Sequence[Trained]) -> Figures:
    bus = KafkaBus(KafkaSettings(f"127.0.0.1:{stack.ports.kafka}"))
    (stack.folder / "models.msgpack").write_bytes(msgspec.msgpack.encode(versions))
    seen, sent = Seen(), dict[str, float]()
    tasks = [asyncio.create_task(_read(bus, seen)), asyncio.create_task(_load(bus, stream, rows, sent))]
    await asyncio.sleep(WARM_UP_S)
    # The same work for publisher and store, but where inference does not look: what is left is the swap's own.
    calm = await _publish(stack, "elsewhere/", SWAPS)
    written = await _publish(stack, "", SWAPS)
    tasks[1].cancel()
    await seen.reach(len(sent))
    tasks[0].cancel()
    await asyncio.wait(tasks)
    await bus.close()
    swapped = swaps(stack.folder / "inference.log", "batch")
    first = min(seen.first_by.values())
    late = [record for record, version in seen.versions.items() if version is None and seen.arrived[record] > first + 1]
    events = [swapped[version] - at for version, at in written.items()]
    # Between the phases the moments are alike: so long after the write of the pointer.
    delay = statistics.median(events)
    return Figures(
        lost=len(sent.keys() - seen.arrived.keys()),
        doubled=seen.repeats,
        unversioned=len(late),
        records=len(sent),
        events=events,
        with_swap=_about([swapped[version] for version in written], sent, seen),
        without=_about([at + delay for at in calm.values()], sent, seen),
        restarts=[await _restart(stack) for _ in range(RESTARTS)],
    )


async def _publish(stack: Stack, prefix: str, count: int) -> dict[str, float]:
    """Publishes so many versions and says when each was."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.publisher", str(ROOT / "streams" / "outdoor-temperature.yaml"), BUCKET),
        *(f"http://127.0.0.1:{stack.ports.s3}", prefix, str(stack.folder / "keys" / KEY_FILE)),
        *(str(stack.folder / "models.msgpack"), str(count)),
        cwd=ROOT,
        env={**os.environ, **objects.credentials(stack.folder)},
        stdout=asyncio.subprocess.PIPE,
    )
    psutil.Process(process.pid).nice(NICE)
    out, _ = await process.communicate()
    lines = [line.split() for line in out.decode().splitlines()]
    return {version: float(at) for version, at in lines}


async def _read(bus: KafkaBus, seen: Seen) -> None:
    async for page in bus.tail(FORECASTS, earliest=True):
        now = time.time()
        for forecast in (envelope.value for envelope in page):
            version = forecast.versions.get("batch")
            seen.repeats += label(forecast) in seen.arrived
            seen.arrived.setdefault(label(forecast), now)
            seen.versions.setdefault(label(forecast), version)
            if version is not None:
                seen.first_by.setdefault(version, now)
        seen.changed.set()


async def _load(bus: KafkaBus, stream: StreamDefinition, rows: Rows, sent: dict[str, float]) -> None:
    """RATE records a second, of KEYS series in turn and in order, until cancelled."""
    began = time.time()
    for n in count():
        await asyncio.sleep(max(0.0, began + n / RATE - time.time()))
        row = rows.values[(n // KEYS) % len(rows)].tolist()
        values = {name: None if isnan(value) else value for name, value in zip(stream.columns, row, strict=True)}
        t = int(rows.t[0]) + n // KEYS * stream.time.period * 1000
        record = Record(stream.name, f"sensor-{n % KEYS:02d}", t, values, time.time())
        sent[label(record)] = time.time()
        await asyncio.shield(bus.publish(RECORDS, [record]))


def _about(moments: Sequence[float], sent: dict[str, float], seen: Seen) -> list[float]:
    """Latencies of the records that were sent about one of the moments."""
    names = sorted(sent, key=sent.__getitem__)
    times = [sent[record] for record in names]
    found = []
    for moment in moments:
        about = names[bisect_left(times, moment - AROUND_S) : bisect_left(times, moment + AROUND_S)]
        found += [seen.arrived[record] - sent[record] for record in about if record in seen.arrived]
    return found


async def _restart(stack: Stack) -> float:
    """Seconds from the start of the process, after kill -9 and without a store, to its last good model serving."""
    processes.stop(stack.folder, "s3")
    stack.signal("inference", signal.SIGKILL)
    stack.start("inference")
    began = time.time()
    retrying = stamina.retry_context(
        on=(httpx.HTTPError, LookupError), attempts=None, timeout=PATIENCE_S, wait_initial=0.02, wait_max=0.02
    )
    async with httpx.AsyncClient(base_url=stack.url("inference"), timeout=10) as client:
        async for attempt in retrying:
            with attempt:
                models = (await client.get("/v1/models")).raise_for_status().json()["models"]
                if not any(model["state"] == "serving" for model in models):
                    raise LookupError
    return time.time() - began


def render(figures: Figures) -> str:
    """The figures as Markdown, beside their bars."""
    pause = _p99(figures.with_swap) - _p99(figures.without)
    middle = statistics.median(figures.with_swap) - statistics.median(figures.without)
    rows = [
        ("records under 200 swaps", f"{figures.records:,}", ""),
        ("lost, doubled, without a version", f"{figures.lost}, {figures.doubled}, {figures.unversioned}", "0, 0, 0"),
        ("write of the pointer to swap, p50", _ms(statistics.median(figures.events)), ""),
        ("write of the pointer to swap, p99", _ms(_p99(figures.events)), f"{BARS['event']:.0f} s"),
        ("latency of records about a swap, p50", _ms(statistics.median(figures.with_swap)), ""),
        ("the same, but published elsewhere, p50", _ms(statistics.median(figures.without)), ""),
        ("latency of records about a swap, p99", _ms(_p99(figures.with_swap)), ""),
        ("the same, but published elsewhere, p99", _ms(_p99(figures.without)), ""),
        ("added by a swap, p50", _ms(middle), ""),
        ("added by a swap, p99", _ms(pause), f"{BARS['pause']:.0f} ms"),
        (
            f"restart without a store to the last good model, median of {len(figures.restarts)}",
            f"{statistics.median(figures.restarts):.2f} s",
            f"{BARS['restart']:.0f} s",
        ),
    ]
    lines = ["| what | measured | bar |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    return "\n".join(lines) + "\n"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=PERCENT)[98]


if __name__ == "__main__":
    asyncio.run(main())
