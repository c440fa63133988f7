"""`make bench`: the chain on Kafka and the edge in one process, compared with a bare three-hop relay of as many bytes
and with Quix Streams, in one run on one machine. `python -m tests.bench 1` takes other horizons.

Prints ratios and writes docs/performance.md.
"""

import asyncio
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import stamina
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from driftline.messages import BLENDS, FORECASTS, RECORDS
from driftline.names import EDGE, EDGE_SERVICES
from driftline.store.folder import FolderStore
from driftline.store.port import Store
from driftline.store.s3 import S3Settings, S3Store
from driftline.streams.definition import StreamDefinition
from driftline_cli import objects, processes
from driftline_cli.edge_stack import EdgeStack
from driftline_cli.stack import BUCKET, Ports, Stack
from driftline_combiner.dashboard_buffer import PACKED_BLENDS
from tests.bench.layers import in_archive, in_journal, in_segments
from tests.bench.live import LiveReader
from tests.bench.load import Clock
from tests.bench.measure import Arrivals, Latency, bytes_written, cpu_seconds, usage
from tests.bench.page_of_speed import Figures, Measured, Writes, render
from tests.bench.prepared import first_models, models_serving, real_data, write_definition, write_history
from tests.bench.sides import KEYS, ChainSide, HopsSide, Reader, Side
from tests.bench.writes import feed
from tests.conftest import ROOT

HORIZONS = (1, 6, 36)
BULK = 20_000
ROUNDS = 3
RATES = ((20.0, 200), (100.0, 1000), (500.0, 5000))
WARM = KEYS * 40
SIDES = ("chain", "relay", "Quix", "edge")
HOPS = {side: [f"{side}-{hop}" for hop in "abcd"] for side in ("relay", "Quix")}
PARTITIONS = 4
QUIX = ROOT / ".venv-quix" / "bin" / "python"
FEW, SOME = 4, 20
"""Series of the edge's that are looked at over HTTP: at saturation, and otherwise. A reader of all of them would be
measured with it."""
WRITTEN_S = 80
"""At one record of a series a second. In so long each state is written once: a round follows 60 s after another, and
takes 15."""
COUNTED_S = 75


@dataclass(frozen=True)
class Bench:
    """All that runs. pids: by side and process."""

    stack: Stack
    edge: EdgeStack
    stream: StreamDefinition
    clocks: Mapping[str, Clock]
    sides: Mapping[str, Side]
    pids: Mapping[str, Mapping[str, int]]
    stores: Mapping[str, Store]


async def main(horizons: Sequence[int]) -> None:
    machine = _machine()
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as scratch:
        async with everything(Path(scratch), horizons) as (bench, sizes):
            figures = await _compare(bench)
    page = render(figures, sizes, machine, horizons)
    (ROOT / "docs" / "performance.md").write_text(page)
    print(page)  # noqa: T201


def _machine() -> str:
    """With its load before the run: others on the same cores change everything."""
    load, _, _ = os.getloadavg()
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} before it"
    )


@asynccontextmanager
async def everything(folder: Path, horizons: Sequence[int]) -> AsyncIterator[tuple[Bench, Sequence[int]]]:
    """The four sides, warmed up; and the usual bytes of a record, a forecast and a blend."""
    _, rows = real_data()
    # Never retrained: a training would take the cores that are measured.
    stream = write_definition(folder, {"horizon": list(horizons), "retraining": {"every": 1_000_000_000}})
    history = write_history(folder, rows.take(slice(0, 40_000)), stream)
    quiet = {"DRIFTLINE_TRAINER": ""}
    stack = Stack(folder, folder / "streams", ports=Ports.free(), environment=history | quiet)
    edge = EdgeStack(
        folder / "edge", folder / "streams", ports=Ports.free(), environment=quiet | {"DRIFTLINE_SECRETS": ""}
    )
    template = rows.by_key()["R80711"]
    clocks = {side: Clock(stream, template, KEYS) for side in ("chain", "edge")}
    stores = _stores(stack, edge)
    try:
        await stack.up()
        await first_models(stack)
        processes.stop(folder, "trainer")
        await _same_models(stack, edge, stores)
        chain = ChainSide(stack.url("ingest"), stream, clocks["chain"], Reader(lambda *_: _blends(stack)))
        await chain.throughput(WARM)
        sizes = [await _usual_size(_brokers(stack), topic.name) for topic in (RECORDS, FORECASTS, BLENDS)]
        async with _hops(stack, folder, sizes) as hops:
            sides = {"chain": chain, **hops, "edge": _edge_side(edge, stream, clocks["edge"])}
            for side in sides.values():
                await side.throughput(WARM)
            yield Bench(stack, edge, stream, clocks, sides, _pids(folder), stores), sizes
    finally:
        edge.down()
        stack.down()
        await asyncio.gather(*(store.close() for store in stores.values()))


def _brokers(stack: Stack) -> str:
    return f"127.0.0.1:{stack.ports.kafka}"


def _blends(stack: Stack) -> Arrivals:
    def identify(payload: bytes) -> str:
        name = PACKED_BLENDS.decode(payload).name
        return f"{name.key}/{name.t}"

    return Arrivals(_brokers(stack), BLENDS.name, identify)


def _edge_side(edge: EdgeStack, stream: StreamDefinition, clock: Clock) -> ChainSide:
    def live(keys: Sequence[str], after: int) -> LiveReader:
        return LiveReader(edge.url("combiner"), stream.name, keys, after)

    return ChainSide(edge.url("ingest"), stream, clock, Reader(live, FEW, SOME))


def _stores(stack: Stack, edge: EdgeStack) -> dict[str, Store]:
    os.environ.update(objects.credentials(stack.folder))
    endpoint = f"http://127.0.0.1:{stack.ports.s3}"
    s3 = S3Store(S3Settings(BUCKET, endpoint=endpoint, region=objects.REGION))
    return {"chain": s3, "edge": FolderStore(edge.folder / "store")}


async def _same_models(stack: Stack, edge: EdgeStack, stores: Mapping[str, Store]) -> None:
    """Starts the edge, and returns when the models that serve in the chain serve there, too."""
    shutil.copytree(stack.folder / "keys", edge.folder / "keys")
    async for listed in stores["chain"].list("models/"):
        stored = await stores["chain"].get(listed.key)
        assert stored is not None, "only a conditional get may answer with nothing"
        await stores["edge"].put(listed.key, stored.body)
    await edge.start_edge()
    await models_serving(edge.url("inference"))


async def _usual_size(brokers: str, topic: str) -> int:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=brokers, group_id=None, auto_offset_reset="earliest")
    async with consumer:
        pages = await consumer.getmany(timeout_ms=10_000)
        return int(statistics.median(len(message.value) for messages in pages.values() for message in messages))


@asynccontextmanager
async def _hops(stack: Stack, folder: Path, sizes: Sequence[int]) -> AsyncIterator[dict[str, Side]]:
    """The relay, and the same by Quix Streams."""
    brokers = _brokers(stack)
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers)
    await admin.start()
    await admin.create_topics([NewTopic(hop, PARTITIONS, 1) for hops in HOPS.values() for hop in hops])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=brokers, enable_idempotence=True)
    await producer.start()
    try:
        with _forwarding(folder, brokers, (sizes[1], sizes[2], sizes[2])):
            yield {side: HopsSide(brokers, producer, hops, sizes[0]) for side, hops in HOPS.items()}
    finally:
        await producer.stop()


@contextmanager
def _forwarding(folder: Path, brokers: str, sizes: Sequence[int]) -> Iterator[None]:
    """A process for each hop."""
    programs = {
        "relay": lambda arguments: [sys.executable, "-m", "tests.bench.relay", *arguments],
        "Quix": lambda arguments: [str(QUIX), "tests/bench/quix_hop.py", *arguments, str(folder / "quix")],
    }
    names = []
    try:
        for side, hops in HOPS.items():
            for source, target, size in zip(hops, hops[1:], sizes, strict=False):
                command = programs[side]([brokers, source, target, str(size)])
                processes.start(folder, source, command, {"PYTHONPATH": str(ROOT)})
                names.append(source)
        yield
    finally:
        for name in names:
            processes.stop(folder, name)


def _pids(folder: Path) -> dict[str, dict[str, int]]:
    def running(*names: str, within: Path = folder) -> dict[str, int]:
        return {name: processes.pid_of(within, name) for name in names}

    return {
        "chain": running(*EDGE_SERVICES) | running("kafka", within=folder / "kafka") | running("s3"),
        "relay": running(*HOPS["relay"][:-1]),
        "Quix": running(*HOPS["Quix"][:-1]),
        "edge": running(EDGE, within=folder / "edge"),
    }


async def _compare(bench: Bench) -> Figures:
    before = {side: {name: cpu_seconds(pid) for name, pid in pids.items()} for side, pids in bench.pids.items()}
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(ROUNDS):
        for side in SIDES:
            rates[side].append(await bench.sides[side].throughput(BULK))
    used = {
        side: {name: usage(pid, before[side][name]) for name, pid in pids.items()} for side, pids in bench.pids.items()
    }
    await _archived(bench)
    latencies: dict[str, list[Latency]] = {side: [] for side in SIDES}
    for rate, count in RATES:
        for side in SIDES:
            latencies[side].append(await bench.sides[side].latency(rate, count))
    measured = {side: Measured(statistics.median(rates[side]), latencies[side]) for side in SIDES}
    return Figures(measured, used, await _writes(bench))


def _windows(bench: Bench, side: str) -> int:
    """Full windows of all series so far."""
    return KEYS * (bench.clocks[side].sent // KEYS // bench.stream.window)


async def _archived(bench: Bench) -> None:
    """Waits until the archives have worked off what the rounds left them: latency is measured at rest."""
    for side, url in (("chain", bench.stack.url("ingest")), ("edge", bench.edge.url("ingest"))):
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            await _archived_all(client, 2 * _windows(bench, side))


@stamina.retry(on=LookupError, attempts=None, timeout=300, wait_initial=0.2, wait_max=0.2)
async def _archived_all(client: httpx.AsyncClient, windows: int) -> None:
    lines = (await client.get("/metrics")).text.splitlines()
    counts = [float(line.split()[-1]) for line in lines if line.startswith("driftline_windows_archived_total{")]
    if sum(counts) < windows:
        raise LookupError


async def _writes(bench: Bench) -> dict[str, Writes]:
    """What chain and edge write at one record of a series a second; both at the same time, since they share nothing."""
    await _archived(bench)
    archived = {
        side: await in_archive(store) / (_windows(bench, side) * bench.stream.window)
        for side, store in bench.stores.items()
    }
    feeding = [
        asyncio.create_task(feed(url, bench.stream, bench.clocks[side], WRITTEN_S))
        for side, url in (("chain", bench.stack.url("ingest")), ("edge", bench.edge.url("ingest")))
    ]
    await asyncio.sleep(WRITTEN_S - COUNTED_S)
    begin, segments, system = time.time(), in_segments(_segments(bench)), _system(bench)
    await asyncio.sleep(COUNTED_S)
    layers = {
        "chain": in_segments(_segments(bench)) - segments,
        "edge": in_journal(bench.edge.folder / EDGE / "bus", begin, time.time()),
    }
    after = _system(bench)
    await asyncio.gather(*feeding)
    records = KEYS * COUNTED_S
    return {
        side: Writes(_each(sizes, records), archived[side], (after[side] - system[side]) / records)
        for side, sizes in layers.items()
    }


def _each(sizes: Counter[str], records: int) -> dict[str, float]:
    return {name: size / records for name, size in sizes.most_common()}


def _segments(bench: Bench) -> Path:
    return bench.stack.folder / "kafka" / "data"


def _system(bench: Bench) -> dict[str, int]:
    return {side: sum(map(bytes_written, bench.pids[side].values())) for side in ("chain", "edge")}


if __name__ == "__main__":
    asyncio.run(main([int(horizon) for horizon in sys.argv[1:]] or HORIZONS))
