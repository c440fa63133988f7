"""`make bench`: the whole chain against a bare three-hop relay of as many bytes, in one run on one Kafka.

Prints ratios and writes docs/performance.md.
"""

import asyncio
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from driftline.messages import BLENDS, FORECASTS, RECORDS, Blend, Forecast, Record
from driftline.names import SERVICES
from driftline.streams.definition import StreamDefinition
from driftline.streams.tables import Rows
from driftline_cli import processes
from driftline_cli.replay import NDJSON
from driftline_cli.replay import encode as encode_lines
from driftline_cli.stack import Ports, Stack
from tests.bench.load import Clock, Sensors, labels
from tests.bench.measure import Arrivals, Latency, Usage, cpu_seconds, label, latency, paced, usage
from tests.bench.prepared import first_models, real_data, write_definition, write_history
from tests.conftest import ROOT

KEYS = 100
BULK = 20_000
BODY = 500
POSTERS = 4
ROUNDS = 3
RATES = ((20.0, 200), (100.0, 1000), (500.0, 5000))
EDGE = ("ingest", "inference", "combiner")
HOPS = ("a", "b", "c", "d")
BARS = {"throughput": 0.3, "p50": 2.5, "p99": 2.5, "memory": 300.0}


@dataclass(frozen=True)
class Side:
    """One of the two that are compared: records a second per round, latency per rate."""

    throughput: list[float]
    latencies: list[Latency]

    @property
    def median(self) -> float:
        return statistics.median(self.throughput)


async def main() -> None:
    stream, rows = real_data()
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as scratch:
        folder = Path(scratch)
        # Never retrained: a training would take the cores that are measured.
        write_definition(folder, {"retraining": {"every": 1_000_000_000}})
        history = write_history(folder, rows.take(slice(0, 40_000)), stream)
        environment = history | {"DRIFTLINE_TRAINER": ""}
        stack = Stack(folder, folder / "streams", ports=Ports.free(), environment=environment)
        try:
            await stack.up()
            await first_models(stack)
            clock = Clock(stream, rows.by_key()["R80711"], KEYS)
            sizes = await _warm_up(stack, stream, clock)
            async with relays(stack, folder, sizes):
                chain, relay, used = await _compare(stack, stream, clock, sizes)
        finally:
            stack.down()
    page = render(chain, relay, used, sizes)
    (ROOT / "docs" / "performance.md").write_text(page)
    print(page)  # noqa: T201


def _brokers(stack: Stack) -> str:
    return f"127.0.0.1:{stack.ports.kafka}"


def _blends(stack: Stack) -> Arrivals:
    return Arrivals(_brokers(stack), BLENDS.name, lambda payload: label(BLENDS.decode(payload)))


async def _post(client: httpx.AsyncClient, stream: StreamDefinition, body: bytes) -> None:
    parameters, headers = {"stream": stream.name}, {"Content-Type": NDJSON}
    (await client.post("/v1/records", params=parameters, content=body, headers=headers)).raise_for_status()


async def _warm_up(stack: Stack, stream: StreamDefinition, clock: Clock) -> list[int]:
    """Fills the series' lags; returns the usual bytes of a record, a forecast and a blend."""
    rows = clock.rows(KEYS * 20)
    async with _blends(stack) as arrivals:
        await _post_all(stack, stream, rows)
        await arrivals.until(labels(rows))
    values = dict(zip(stream.columns, rows.values[0].tolist(), strict=True))
    record = Record(stream.name, "sensor-000", int(rows.t[0]), values, time.time())
    members = {member: [12.345678901234567] for member in ("persistence", "rls", "batch", "speed")}
    versions = dict.fromkeys(("batch", "speed"), "v000001-0123456789ab")
    common: dict[str, Any] = {"stream": stream.name, "key": "sensor-000", "t": record.t, "observed": 1.25}
    common |= {"horizon": [1], "members": members, "versions": versions, "received": record.received}
    made = Blend(
        value=[12.345678901234567],
        strategy="online",
        strategies={strategy: [12.345678901234567] for strategy in ("static", "window", "online")},
        weights=members,
        **common,
    )
    return [len(RECORDS.encode(record)), len(FORECASTS.encode(Forecast(**common))), len(BLENDS.encode(made))]


async def _post_all(stack: Stack, stream: StreamDefinition, rows: Rows) -> None:
    """As fast as ingest takes them: a few clients, each with one body under way. A key stays with one client."""
    async with httpx.AsyncClient(base_url=stack.url("ingest"), timeout=60) as client:

        async def client_of(part: int) -> None:
            mine = rows.take(np.flatnonzero(np.arange(len(rows)) % KEYS % POSTERS == part))
            for start in range(0, len(mine), BODY):
                await _post(client, stream, encode_lines(mine.take(slice(start, start + BODY)), stream))

        await asyncio.gather(*(client_of(part) for part in range(POSTERS)))


@asynccontextmanager
async def relays(stack: Stack, folder: Path, sizes: Sequence[int]) -> AsyncIterator[None]:
    admin = AIOKafkaAdminClient(bootstrap_servers=_brokers(stack))
    await admin.start()
    await admin.create_topics([NewTopic(hop, 4, 1) for hop in HOPS])
    await admin.close()
    started = []
    for source, target, size in zip(HOPS, HOPS[1:], (sizes[1], sizes[2], sizes[2]), strict=False):
        command = [sys.executable, "-m", "tests.bench.relay", _brokers(stack), source, target, str(size)]
        processes.start(folder, f"relay-{source}", command, {"PYTHONPATH": str(ROOT)})
        started.append(f"relay-{source}")
    try:
        yield
    finally:
        for relay in started:
            processes.stop(folder, relay)


async def _compare(
    stack: Stack, stream: StreamDefinition, clock: Clock, sizes: Sequence[int]
) -> tuple[Side, Side, dict[str, Usage]]:
    producer = AIOKafkaProducer(bootstrap_servers=_brokers(stack), enable_idempotence=True)
    await producer.start()
    await _relay_throughput(stack, producer, sizes[0], 2000)
    pids = {service: stack.pid(service) for service in SERVICES}
    chain: list[float] = []
    relay: list[float] = []
    before = {service: cpu_seconds(pid) for service, pid in pids.items()}
    for _ in range(ROUNDS):
        chain.append(await _chain_throughput(stack, stream, clock.rows(BULK)))
        relay.append(await _relay_throughput(stack, producer, sizes[0], BULK))
    used = {service: usage(pid, before[service]) for service, pid in pids.items()}
    await _archived(stack, stream)
    chain_latency, relay_latency = [], []
    for rate, count in RATES:
        chain_latency.append(await _chain_latency(stack, stream, clock.rows(count), rate))
        relay_latency.append(await _relay_latency(stack, producer, sizes[0], count, rate))
    await producer.stop()
    return Side(chain, chain_latency), Side(relay, relay_latency), used


async def _archived(stack: Stack, stream: StreamDefinition) -> None:
    """Waits until the archive has worked off what the rounds left it: latency is measured at rest."""
    async with httpx.AsyncClient(base_url=stack.url("ingest"), timeout=30) as client, asyncio.timeout(300):
        full = 2 * KEYS * ((KEYS * 20 + ROUNDS * BULK) // KEYS // stream.window)
        while True:
            lines = (await client.get("/metrics")).text.splitlines()
            counts = [float(line.split()[-1]) for line in lines if line.startswith("driftline_windows_archived_total{")]
            if sum(counts) >= full:
                return
            await asyncio.sleep(0.2)


async def _chain_throughput(stack: Stack, stream: StreamDefinition, rows: Rows) -> float:
    async with _blends(stack) as arrivals:
        began = time.perf_counter()
        await _post_all(stack, stream, rows)
        await arrivals.until(labels(rows))
        return len(rows) / (max(arrivals.seen.values()) - began)


async def _chain_latency(stack: Stack, stream: StreamDefinition, rows: Rows, rate: float) -> Latency:
    async with _blends(stack) as arrivals, Sensors(stack.url("ingest"), stream, rows) as sensors:
        sent = await paced(labels(rows), rate, sensors.send)
        await arrivals.until(labels(rows))
        return latency(rate, sent, arrivals.seen)


def _relayed(stack: Stack) -> Arrivals:
    return Arrivals(_brokers(stack), HOPS[-1], lambda payload: payload[:16].decode())


def _names(count: int) -> list[str]:
    begin = time.time_ns() % 10**12
    return [f"{begin + n:016d}" for n in range(count)]


async def _relay_throughput(stack: Stack, producer: AIOKafkaProducer, size: int, count: int) -> float:
    names = _names(count)
    async with _relayed(stack) as arrivals:
        began = time.perf_counter()
        for start in range(0, count, BODY):
            part = names[start : start + BODY]
            sent = [
                await producer.send(HOPS[0], name.encode().ljust(size), key=b"k", partition=n % 4)
                for n, name in enumerate(part)
            ]
            await asyncio.gather(*sent)
        await arrivals.until(names)
        return count / (max(arrivals.seen.values()) - began)


async def _relay_latency(stack: Stack, producer: AIOKafkaProducer, size: int, count: int, rate: float) -> Latency:
    names = _names(count)

    async def send(name: str) -> None:
        await producer.send_and_wait(HOPS[0], name.encode().ljust(size), key=b"k", partition=int(name) % 4)

    async with _relayed(stack) as arrivals:
        sent = await paced(names, rate, send)
        await arrivals.until(names)
        return latency(rate, sent, arrivals.seen)


INTRODUCTION = """\
# How fast it is

Written by `make bench`: the whole chain (ingest over HTTP, inference with all its members, the combiner with three
strategies; the archive at work, the trainer idle) compared with three bare aiokafka processes that only forward
messages of the same size, in one run, on the same Kafka, everything on one machine. In the latency rows each record of
the chain is one HTTP request; at saturation a body holds {body}. The relay's sender speaks to Kafka directly.

{machine}, {cores} cores, Python {python}; {keys} series; a record is {sizes[0]}, a forecast {sizes[1]}, a blend
{sizes[2]} bytes; medians of {rounds} rounds of {bulk:,} records; latency without the first tenth of each run.

| | chain | relay | ratio | bar |
|---|---|---|---|---|
| records a second at saturation | {chain:,.0f} | {relay:,.0f} | {ratio:.2f} | at least {bar} |
"""
LATENCY = "| {which} at {rate:.0f}/s, sent to readable, ms | {ours:.1f} | {bare:.1f} | {ratio:.2f} | {bar} |\n"
MEMORY = """
| service | CPU seconds for all rounds | resident, MB | its own share, MB |
|---|---|---|---|
{services}

Ingest, inference and combiner together: {rss:.0f} MB resident when each is counted alone, {pss:.0f} MB when shared
memory is counted once (bar: at most {bar:.0f}).
"""


def render(chain: Side, relay: Side, used: dict[str, Usage], sizes: Sequence[int]) -> str:
    """The page, with every number as it was measured."""
    head = INTRODUCTION.format(
        body=BODY,
        machine=platform.machine(),
        cores=os.cpu_count(),
        python=platform.python_version(),
        keys=KEYS,
        sizes=sizes,
        rounds=ROUNDS,
        bulk=BULK,
        chain=chain.median,
        relay=relay.median,
        ratio=chain.median / relay.median,
        bar=BARS["throughput"],
    )
    rows = [
        LATENCY.format(
            which=which,
            rate=ours.rate,
            ours=getattr(ours, which) * 1e3,
            bare=getattr(bare, which) * 1e3,
            ratio=getattr(ours, which) / getattr(bare, which),
            bar=f"at most {BARS[which]}" if ours.rate == RATES[-1][0] else "",
        )
        for ours, bare in zip(chain.latencies, relay.latencies, strict=True)
        for which in ("p50", "p99")
    ]
    services = [f"| {service} | {u.cpu:.1f} | {u.rss:.0f} | {u.pss:.0f} |" for service, u in used.items()]
    rss, pss = (sum(getattr(used[service], kind) for service in EDGE) for kind in ("rss", "pss"))
    return head + "".join(rows) + MEMORY.format(services="\n".join(services), rss=rss, pss=pss, bar=BARS["memory"])


if __name__ == "__main__":
    asyncio.run(main())
