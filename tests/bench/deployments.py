"""`make bench-deployments`: the three deployments, with a link between edge and cloud, on one machine.

Prints, for each, the latency of records by stage, the bytes over the link and the time from a full window to the
swapped model, and writes them into docs/deployments.md.
"""

import asyncio
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from textwrap import fill
from typing import Any

import httpx
import stamina
import typer

from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.messages import BLENDS, FORECASTS, RECORDS, Topic
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_cli.stack import Ports, Stack
from tests.bench.live import LiveReader
from tests.bench.load import Clock, Sensors, labels
from tests.bench.measure import PATIENCE_S, Latency, label, latency, paced, swaps
from tests.bench.page import write_part
from tests.bench.prepared import first_models, real_data, write_definition, write_history
from tests.bench.toxiproxy import Line, Toxiproxy, Traffic, toxiproxy
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "deployments.md"
LINE = Line(delay_ms=40, mbit=20)
PAGE_WIDTH = 120
KEYS, WINDOW = 20, 50
RECORDS_A_ROUND = KEYS * WINDOW
"""A window of every series, with the last of which a retraining is due."""
HISTORY = 8000
DEFINITION: Mapping[str, Any] = {
    "window": WINDOW,
    "training": {"epochs": 1, "networks": 1},
    "retraining": {"every": RECORDS_A_ROUND},
    # Every model is published: what is measured is the way, not the model.
    "gate": {"parent": 1000.0, "persistence": 1000.0},
}
EDGE = ("ingest", "inference", "combiner")
STAGES = ("record on its topic", "forecast", "blend", "seen by the reader on the edge")
STEPS = ("training begins", "speed model published", "swapped in")


@dataclass(frozen=True)
class Deployment:
    """What lies beyond the link, as seen from the edge with its sensors and readers."""

    name: str
    doors_beyond: bool = False
    """Ingest's and the combiner's: every record goes over the link, and every blend comes back."""
    store_beyond: bool = False
    """Windows, events and models go over the link."""


DEPLOYMENTS = (
    Deployment("edge-centric"),
    Deployment("cloud-centric", doors_beyond=True),
    Deployment("integrated", store_beyond=True),
)


@dataclass(frozen=True)
class Round:
    """Latencies: one for each stage, from the one before. Swap: seconds of each step, from the last record of the
    windows on."""

    stages: list[Latency]
    blend: Latency
    reader: Latency
    steps: list[float]


@dataclass(frozen=True)
class Figures:
    rounds: list[Round]
    traffic: Traffic
    """Per record."""


@dataclass(frozen=True)
class Site:
    """A deployment that runs. doors: where sensors and readers find it."""

    stack: Stack
    doors: Ports
    stream: StreamDefinition
    link: Toxiproxy

    @property
    def log(self) -> Path:
        return self.stack.folder / "inference.log"


async def measure(deployment: Deployment, rounds: int, rate: float) -> Figures:
    """Brings a deployment up and down."""
    stream, rows = real_data()
    with laid_out(deployment, rows.take(slice(0, HISTORY)), stream) as site:
        await site.stack.up()
        await first_models(site.stack)
        clock = Clock(site.stream, rows.by_key()["R80711"], KEYS)
        await run(site, clock.rows(RECORDS_A_ROUND), rate)
        before = await asyncio.to_thread(site.link.traffic)
        measured = [await run(site, clock.rows(RECORDS_A_ROUND), rate) for _ in range(rounds)]
        after = await asyncio.to_thread(site.link.traffic)
    records = rounds * RECORDS_A_ROUND
    upstream, downstream = after.upstream - before.upstream, after.downstream - before.downstream
    return Figures(measured, Traffic(upstream / records, downstream / records))


@contextmanager
def laid_out(deployment: Deployment, history: Rows, stream: StreamDefinition) -> Iterator[Site]:
    """All but started; whatever was started ends."""
    ports = Ports.free()
    with tempfile.TemporaryDirectory(prefix="driftline-bench-") as scratch, toxiproxy(Path(scratch), LINE) as link:
        folder = Path(scratch)
        definition = write_definition(folder, DEFINITION)
        # A retraining is due when the windows are full: not before, for a drift, and not later, for the budget.
        quiet = {"DRIFTLINE_RETRAIN_INTERVAL": "0", "DRIFTLINE_TRAINER": ""}
        environment = write_history(folder, history, stream) | quiet
        doors = far(ports, link, "ingest", "combiner") if deployment.doors_beyond else ports
        store = replace(ports, s3=link.link(ports.s3)) if deployment.store_beyond else ports
        through = dict.fromkeys(EDGE, store)
        stack = Stack(folder, folder / "streams", ports=ports, environment=environment, through=through)
        try:
            yield Site(stack, doors, definition, link)
        finally:
            stack.down()


def far(ports: Ports, link: Toxiproxy, *services: str) -> Ports:
    """The ports as they are seen over the link."""
    beyond = {service: link.link(ports.services[service]) for service in services}
    return replace(ports, services={**ports.services, **beyond})


async def run(site: Site, rows: Rows, rate: float) -> Round:
    """Sends a round's records, and waits for the speed model that is made of them."""
    names, stream = labels(rows), site.stream
    before = swaps(site.log, "speed")
    reading = LiveReader(site.doors.url("combiner"), stream.name, sorted(set(rows.keys.tolist())), int(rows.t[0]) - 1)
    async with reading as reader, Sensors(site.doors.url("ingest"), stream, rows) as sensors:
        sent = await paced(names, rate, sensors.send)
        await reader.until(names)
    since_epoch = time.time() - time.perf_counter()
    sent = {name: at + since_epoch for name, at in sent.items()}
    seen = {name: reader.at[name] + since_epoch for name in names}
    moments = [sent, *await _produced(site, names), seen]
    between = partial(latency, rate)
    return Round(
        stages=[between(start, end) for start, end in pairwise(moments)],
        blend=between(sent, moments[-2]),
        reader=between(sent, seen),
        steps=await _steps(site, max(sent.values()), before),
    )


async def _produced(site: Site, names: Sequence[str]) -> list[dict[str, float]]:
    """By topic when each record and what was made of it was produced: read when nothing is held up by it any more."""
    bus = KafkaBus(KafkaSettings(f"127.0.0.1:{site.stack.ports.kafka}"))
    found = [await _times(bus, topic, frozenset(names)) for topic in (RECORDS, FORECASTS, BLENDS)]
    await bus.close()
    return found


async def _times(bus: KafkaBus, topic: Topic[Any], names: frozenset[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    async with asyncio.timeout(PATIENCE_S), aclosing(bus.tail(topic, earliest=True)) as pages:
        async for page in pages:
            times = {label(envelope.value): envelope.timestamp for envelope in page}
            found |= {name: times[name] for name in times.keys() & names}
            if len(found) == len(names):
                break
    return found


async def _steps(site: Site, last: float, before: Mapping[str, float]) -> list[float]:
    """Seconds from the windows' last record to each step of the retraining that follows."""
    retrying = stamina.retry_context(
        on=LookupError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.1, wait_jitter=0.0
    )
    async with httpx.AsyncClient(base_url=site.stack.url("trainer"), timeout=10) as client:
        async for attempt in retrying:
            with attempt:
                after = swaps(site.log, "speed")
                jobs = (await client.get("/v1/jobs")).raise_for_status().json()
                (job,) = [job for job in jobs if job["version"] in after.keys() - before.keys()] or [None]
                if job is None:
                    raise LookupError
    return [job["started"] - last, job["ended"] - last, after[job["version"]] - last]


def render(found: Mapping[str, Figures], rate: float) -> str:
    """The figures as Markdown."""
    rounds = len(next(iter(found.values())).rounds)
    head = (
        f"{LINE.delay_ms} ms each way and {LINE.mbit} Mbit/s for each connection, by Toxiproxy, all on one machine "
        f"({platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}); {KEYS} sensors, "
        f"{rate:.0f} records/s in all, each in a request of its own; windows of {WINDOW} records, a retraining every "
        f"{RECORDS_A_ROUND:,}. Medians of {rounds} rounds of {RECORDS_A_ROUND:,} records; latencies without the first "
        f"tenth of each round."
    )
    rows = [["", *found], ["---"] * (len(found) + 1)]
    rows += [
        [
            f"→ {stage}, p50 / p99, ms",
            *(_both([each.stages[place] for each in figures.rounds]) for figures in found.values()),
        ]
        for place, stage in enumerate(STAGES)
    ]
    rows.append(["**sent → blend**", *(_both([each.blend for each in f.rounds]) for f in found.values())])
    rows.append(["**sent → seen on the edge**", *(_both([each.reader for each in f.rounds]) for f in found.values())])
    rows.append(["bytes a record, edge → cloud", *(f"{f.traffic.upstream:,.0f}" for f in found.values())])
    rows.append(["bytes a record, cloud → edge", *(f"{f.traffic.downstream:,.0f}" for f in found.values())])
    rows += [
        [
            f"full windows → {step}, s",
            *(f"{median(each.steps[place] for each in f.rounds):.2f}" for f in found.values()),
        ]
        for place, step in enumerate(STEPS)
    ]
    return f"{fill(head, PAGE_WIDTH)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _both(latencies: Sequence[Latency]) -> str:
    p50, p99 = (median(getattr(each, which) for each in latencies) * 1000 for which in ("p50", "p99"))
    return f"{p50:.1f} / {p99:.1f}"


def main(rounds: int = 3, rate: float = 100.0) -> None:
    """Fewer rounds are for trying it out."""
    stamina.instrumentation.set_on_retry_hooks(())  # waiting is what a benchmark does
    found = {each.name: asyncio.run(measure(each, rounds, rate)) for each in DEPLOYMENTS}
    text = render(found, rate)
    write_part(PAGE, "bench-deployments", text)
    print(text)  # noqa: T201


if __name__ == "__main__":
    typer.run(main)
