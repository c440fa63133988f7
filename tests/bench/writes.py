"""What the broker writes per record, and how long a kill takes to recover from: `python -m tests.bench.writes`.

A hundred series at one record a second, on a real Kafka, with ingest, inference and combiner as processes. The
messages' own bytes are counted, topic by topic, in the broker's segments. Then inference and combiner are killed when
most has to be read again. WRITES_S: seconds that are counted, after one interval of states.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from driftline.messages import BLENDS
from driftline.streams.definition import StreamDefinition
from driftline_cli import processes
from driftline_cli.replay import encode as encode_lines
from driftline_cli.stack import Ports, Stack
from driftline_client.calls.records import NDJSON
from tests.bench.layers import in_segments
from tests.bench.load import Clock, labels
from tests.bench.measure import Arrivals, label
from tests.bench.prepared import real_data, write_definition

SERIES = 100
HORIZONS = (1, 10, 60)
KILLED = ("inference", "combiner")


async def feed(url: str, stream: StreamDefinition, clock: Clock, seconds: float) -> list[str]:
    """One record of each series a second; the names of the last."""
    names: list[str] = []
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        begin = time.perf_counter()
        for tick in range(int(seconds)):
            rows = clock.rows(SERIES)
            names = labels(rows)
            content = encode_lines(rows, stream)
            await asyncio.sleep(max(0.0, begin + tick - time.perf_counter()))
            answer = await client.post(
                "/v1/records", params={"stream": stream.name}, content=content, headers={"Content-Type": NDJSON}
            )
            answer.raise_for_status()
    return names


async def recover(stack: Stack, stream: StreamDefinition, clock: Clock) -> float:
    """Seconds from a kill -9 of both workers and their start to the blends of all series."""
    for service in KILLED:
        stack.signal(service, signal.SIGKILL)
        processes.stop(stack.folder, service)
    async with Arrivals(
        f"127.0.0.1:{stack.ports.kafka}", BLENDS.name, lambda payload: label(BLENDS.decode(payload))
    ) as arrivals:
        begin = time.perf_counter()
        for service in KILLED:
            stack.start(service)
        await arrivals.until(await feed(stack.url("ingest"), stream, clock, 1))
        return time.perf_counter() - begin


async def run(folder: Path, environment: Mapping[str, str], before: float, counted: float) -> None:
    stream, rows = real_data()
    write_definition(folder, {"horizon": list(HORIZONS), "retraining": {"every": 1_000_000_000}})
    stack = Stack(folder, folder / "streams", ports=Ports.free(), environment={"DRIFTLINE_TRAINER": "", **environment})
    clock = Clock(stream, rows.by_key()["R80711"], SERIES)
    try:
        await stack.up(("ingest", *KILLED))
        await feed(stack.url("ingest"), stream, clock, before)
        begin = in_segments(folder / "kafka" / "data")
        await feed(stack.url("ingest"), stream, clock, counted)
        found = in_segments(folder / "kafka" / "data") - begin
        for name, size in found.most_common():
            sys.stdout.write(f"{size / (SERIES * int(counted)):10,.0f} bytes a record: {name}\n")
        sys.stdout.write(f"{found.total() / (SERIES * int(counted)):10,.0f} in all\n")
        sys.stdout.write(f"{await recover(stack, stream, clock):10.1f} s from kill -9 to the blends of all series\n")
    finally:
        stack.down()


if __name__ == "__main__":
    given = dict(line.split("=", 1) for line in sys.argv[1:])
    interval = float(given.get("DRIFTLINE_STATE_EVERY", "60"))
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(run(Path(scratch), given, 10 + interval, float(os.environ.get("WRITES_S", "60"))))
