"""Many keys in one stream: `make bench-keys` writes into docs/scaling.md what 10,000 of them cost.

On a real Kafka, with processes of their own: the load, a kill -9 of inference and combiner, and the start after it,
while /livez and /metrics are asked all the time. Before, the same records go through both steps in this process twice,
as one key and round-robin over many.
"""

import asyncio
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import httpx
import numpy as np
import stamina

from driftline.messages import BLENDS, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from driftline_cli import processes
from driftline_cli.replay import encode as encode_lines
from driftline_cli.stack import Ports, Stack
from driftline_client.calls.records import NDJSON
from driftline_combiner.step import BlendStep
from driftline_inference.step import ForecastStep
from tests.bench import measure, probe
from tests.bench.load import Clock, labels
from tests.bench.measure import Arrivals, label
from tests.bench.page import write_part
from tests.bench.prepared import real_data, write_definition
from tests.conftest import ROOT
from tests.e2e.stream_steps import StreamSteps

PAGE = ROOT / "docs" / "scaling.md"
KEYS = 10_000
HORIZONS = (1, 6, 36)
COMPARED = 10_000
"""Records that go through both steps as one key and as many."""
LOADS = 3
"""Records of each key until the kill."""
BODY = 500
POSTERS = 4
ASKED = 200
"""Keys whose records are sent into the restart: when all of them are forecast, it is over."""
PATIENCE_S = 60.0
AT_REST_S = 10.0
LIVEZ_S, METRICS_S = 0.02, 1.0
SERVICES = ("ingest", "inference", "combiner")
KILLED = ("inference", "combiner")
BARS = {"start": 30.0, "memory": 1000.0, "metrics": 0.2, "livez": 100.0}


def records(stream: StreamDefinition, keys: int, count: int) -> list[Record]:
    values = np.random.default_rng(0).normal(size=(count, len(stream.columns)))
    names = [f"k{n}" for n in range(keys)]
    return [
        Record(stream.name, names[n % keys], n // keys * 600_000, dict(zip(stream.columns, row, strict=True)), 0.0)
        for n, row in enumerate(values.tolist())
    ]


def seconds(stream: StreamDefinition, keys: int) -> tuple[float, StreamSteps]:
    """For COMPARED records, once every series is known."""
    stream_steps = StreamSteps(stream)
    sent = records(stream, keys, keys + COMPARED)
    stream_steps.run(sent[:keys])
    began = time.perf_counter()
    stream_steps.run(sent[keys:])
    return time.perf_counter() - began, stream_steps


def restored(stream_steps: StreamSteps, stream: StreamDefinition) -> bool:
    """Whether a key's whole state is the same, to the last bit, after it was saved and restored."""
    again = StreamSteps(stream)
    for stream_step, other in ((stream_steps.forecasting, again.forecasting), (stream_steps.blending, again.blending)):
        state = stream_step.save("k0")
        other.restore("k0", state)
        if other.save("k0") != state:
            return False
    return True


def in_memory(stream_step: ForecastStep | BlendStep) -> float:
    """Bytes of a key's row in all tables."""
    tables = stream_step._tables
    arrays = [getattr(table, field.name) for table in tables for field in fields(table)]
    return sum(array.nbytes / len(array) for array in arrays)


def compared() -> str:
    """What many keys cost beside one, in one process."""
    stream = load(ROOT / "streams" / "outdoor-temperature.yaml").model_copy(update={"horizon": HORIZONS})
    one, _ = seconds(stream, 1)
    many, stream_steps = seconds(stream, KEYS)
    sizes = [len(stream_step.save("k0")) / 1000 for stream_step in (stream_steps.forecasting, stream_steps.blending)]
    arrays = [in_memory(stream_step) / 1000 for stream_step in (stream_steps.forecasting, stream_steps.blending)]
    same = "the same to the last bit" if restored(stream_steps, stream) else "NOT the same"
    return (
        f"{KEYS:,} keys in turn take {many / one:.2f} times as long as one key, for the same {COMPARED:,} records with "
        f"{len(stream.columns)} columns and {len(HORIZONS)} horizons through both steps in one process\n"
        f"({COMPARED / many:,.0f} and {COMPARED / one:,.0f} records/s). A key's saved state is {sizes[0]:.1f} kB in "
        f"inference and {sizes[1]:.1f} kB in the combiner, for {len(HORIZONS)} horizons; restored, it is\n{same}. Its "
        f"arrays in memory take {arrays[0]:.1f} kB and {arrays[1]:.1f} kB.\n"
    )


@dataclass(frozen=True)
class Phase:
    """A part of the run, in seconds since the epoch, and the killed services' memory at its end in MB."""

    name: str
    begin: float
    end: float
    memory: Mapping[str, float]


@dataclass(frozen=True)
class Found:
    """start: seconds from the processes' start until every one of the asked keys was forecast."""

    start: float
    phases: Sequence[Phase]
    livez: Mapping[str, Mapping[str, Sequence[float]]]
    """By phase and service the seconds of every answer."""
    metrics: Mapping[str, Mapping[str, Sequence[float]]]


async def run(folder: Path) -> Found:
    stream, rows = real_data()
    # Never retrained: a training would take the cores that are measured.
    write_definition(folder, {"horizon": list(HORIZONS), "retraining": {"every": 1_000_000_000}})
    stack = Stack(folder, folder / "streams", ports=Ports.free(), environment={"DRIFTLINE_TRAINER": ""})
    clock = Clock(stream, rows.by_key()["R80711"], KEYS)
    try:
        await stack.up(SERVICES)
        _probes(stack)
        phases = [await _load(stack, stream, clock, LOADS, "load"), await _rest(stack, "rest")]
        start, restart = await _restart(stack, stream, clock)
        phases += [restart, await _load(stack, stream, clock, 1, "load after it"), await _rest(stack, "rest after it")]
    finally:
        for name in ("livez", "metrics"):
            processes.stop(folder, f"probe-{name}")
        stack.down()
    return Found(start, phases, _answers(stack, "livez", phases), _answers(stack, "metrics", phases))


def _probes(stack: Stack) -> None:
    for name, every in (("livez", LIVEZ_S), ("metrics", METRICS_S)):
        urls = [f"{stack.url(service)}/{name}" for service in KILLED]
        file = str(stack.folder / f"{name}.answers")
        command = [sys.executable, "-m", "tests.bench.probe", file, str(every), *urls]
        processes.start(stack.folder, f"probe-{name}", command, {"PYTHONPATH": str(ROOT)})


def _answers(stack: Stack, name: str, phases: Sequence[Phase]) -> dict[str, dict[str, Sequence[float]]]:
    file, urls = stack.folder / f"{name}.answers", {service: f"{stack.url(service)}/{name}" for service in KILLED}
    found = {phase.name: probe.answers(file, phase.begin, phase.end) for phase in phases}
    return {phase: {service: by_url.get(url, []) for service, url in urls.items()} for phase, by_url in found.items()}


def _memory(stack: Stack) -> dict[str, float]:
    return {service: measure.usage(stack.pid(service), 0.0).pss for service in KILLED}


def _blends(stack: Stack) -> Arrivals:
    return Arrivals(f"127.0.0.1:{stack.ports.kafka}", BLENDS.name, lambda payload: label(BLENDS.decode(payload)))


async def _load(stack: Stack, stream: StreamDefinition, clock: Clock, times: int, name: str) -> Phase:
    """So many records of every key, as fast as they are taken, until all are forecast."""
    begin = time.time()
    async with _blends(stack) as arrivals:
        sent = [clock.rows(KEYS) for _ in range(times)]
        for rows in sent:
            await _post(stack, stream, rows)
        await arrivals.until([name for rows in sent for name in labels(rows)])
    return Phase(name, begin, time.time(), _memory(stack))


async def _post(stack: Stack, stream: StreamDefinition, rows: Rows) -> None:
    """A few clients, each with one body under way. A key stays with one client."""
    async with httpx.AsyncClient(base_url=stack.url("ingest"), timeout=60) as client:
        # A machine that is busy with other things may be too slow for the door: it says 503, and is asked again.
        @stamina.retry(on=httpx.HTTPError, attempts=None, timeout=PATIENCE_S, wait_max=2.0)
        async def send(content: bytes) -> None:
            asked, headers = {"stream": stream.name}, {"Content-Type": NDJSON}
            (await client.post("/v1/records", params=asked, content=content, headers=headers)).raise_for_status()

        async def client_of(mine: Rows) -> None:
            for start in range(0, len(mine), BODY):
                await send(encode_lines(mine.take(slice(start, start + BODY)), stream))

        part = -(-len(rows) // POSTERS)
        await asyncio.gather(*(client_of(rows.take(slice(n * part, (n + 1) * part))) for n in range(POSTERS)))


async def _rest(stack: Stack, name: str) -> Phase:
    begin = time.time()
    await asyncio.sleep(AT_REST_S)
    return Phase(name, begin, time.time(), _memory(stack))


async def _restart(stack: Stack, stream: StreamDefinition, clock: Clock) -> tuple[float, Phase]:
    """Kills inference and combiner, starts them, and sends records of some keys meanwhile."""
    for service in KILLED:
        stack.signal(service, signal.SIGKILL)
        processes.stop(stack.folder, service)  # returns when it is gone
    async with _blends(stack) as arrivals:
        begin = time.time()
        for service in KILLED:
            stack.start(service)
        rows = clock.rows(KEYS)
        await _post(stack, stream, rows.take(slice(0, ASKED)))
        await arrivals.until(labels(rows)[:ASKED])
        end = time.time()
        await _post(stack, stream, rows.take(slice(ASKED, KEYS)))
        await arrivals.until(labels(rows))
    return end - begin, Phase("restart", begin, end, _memory(stack))


HEAD = """
{keys:,} keys with states, on a real Kafka, {services} as processes (`kill -9`, then started again while records come):

| | found | bar |
|---|---|---|
| from process start to forecasting, s | {start:.1f} | at most {bars[start]:.0f} |
| `/metrics`, s: median, slowest | {median:.3f}, {slowest:.3f} | at most {bars[metrics]} |

PSS at the end of each phase in MB, and the slowest `/livez` in it in ms (bars: together {bars[memory]:.0f} MB,
{bars[livez]:.0f} ms):

| phase | PSS: {names}, together | `/livez`: {names} |
|---|---|---|
"""
ROW = "| {name} | {memory}, {together:.0f} | {livez} |\n"


def render(found: Found) -> str:
    every = [taken for by_service in found.metrics.values() for each in by_service.values() for taken in each]
    names = ", ".join(KILLED)
    text = HEAD.format(
        keys=KEYS,
        services=" and ".join(KILLED),
        names=names,
        start=found.start,
        median=statistics.median(every),
        slowest=max(every),
        bars=BARS,
    )
    for phase in found.phases:
        slowest = [1000 * max(found.livez[phase.name][service], default=np.nan) for service in KILLED]
        text += ROW.format(
            name=phase.name,
            memory=", ".join(f"{phase.memory[service]:.0f}" for service in KILLED),
            together=sum(phase.memory.values()),
            livez=", ".join(f"{each:.0f}" for each in slowest),
        )
    return text


def main() -> None:
    text = compared()
    with tempfile.TemporaryDirectory(prefix="driftline-keys-") as scratch:
        text += render(asyncio.run(run(Path(scratch))))
    write_part(PAGE, "bench-keys", text)
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
