"""`make bench-day-files`: what looking at new windows costs, and training from the history of 10,000 series.

Prints the figures and writes them into docs/decisions/0039-day-files.md.
"""

import argparse
import asyncio
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from driftline.arrays import Floats
from driftline.metrics import Metrics
from driftline.store.days import DAY_MS, DayName, day_of
from driftline.store.folder import FolderStore
from driftline.store.port import Listed, Store
from driftline.store.s3 import S3Settings, S3Store
from driftline.store.timed import TimedStore
from driftline.store.windows import WindowName
from driftline.streams.definition import StreamDefinition
from driftline_cli import objects
from driftline_trainer.archive import Archive
from driftline_trainer.days.table import DayTable, encode
from driftline_trainer.fit import Task
from driftline_trainer.history import HistoryFiles, TrainingHistory
from driftline_trainer.process import TrainingProcess
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.window_index import WindowIndexes
from tests.bench.page import write_part
from tests.bench.training import peak_mb
from tests.conftest import ROOT
from tests.s3_server import S3Server

PAGE = ROOT / "docs" / "decisions" / "0039-day-files.md"
HOUR_MS = 3_600_000
FIRST = 1_735_689_600_000
"""The first of January 2025."""
KEYS = 10_000
DAYS = 365
WINDOWS = 50_000
SERIES = 1_000
EVENTS = 20
PAGE_KEYS = 1000
"""Objects of one page of S3's listing."""
STREAM = StreamDefinition.model_validate(
    {
        "name": "many",
        "time": {"column": "time", "period": "1h"},
        "key": "sensor",
        "target": "load",
        "features": {"temperature": "level"},
        "horizon": [1, 6, 24],
    }
)


class CountedListings(TimedStore):
    """Counts the requests that listings take."""

    requests = 0

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        count = 0
        async for listed in super().list(prefix, after=after):
            count += 1
            yield listed
        self.requests += max(1, -(-count // PAGE_KEYS))


@dataclass(frozen=True)
class Looked:
    """Seconds and requests of looking at one new window: by listing all, and by its name."""

    all_s: float
    all_requests: float
    named_s: float
    named_requests: float


def window_key(series: int, n: int) -> str:
    t = FIRST + n * STREAM.window * HOUR_MS
    return f"windows/many/sensor-{series:05d}/{WindowName(t, t + (STREAM.window - 1) * HOUR_MS, 'aa').format()}"


async def fill(store: Store, put: Callable[[str], None] | None) -> None:
    """put: a faster way than the store's own."""
    keys = [window_key(series, n) for series in range(SERIES) for n in range(WINDOWS // SERIES)]
    if put is not None:
        for key in keys:
            put(key)
        return
    for first in range(0, len(keys), 32):
        await asyncio.gather(*(store.put(key, b"x" * 200) for key in keys[first : first + 32]))


async def look(plain: Store) -> Looked:
    metrics, reading = Metrics(), Reading(TrainerSettings().means)
    counted = CountedListings(plain, metrics)
    indexes = WindowIndexes(counted, metrics)
    aside = SetAside(plain, STREAM, metrics, time.time)
    archive = Archive(plain, STREAM, aside, reading, indexes, limit=1 << 24, day_limit=1 << 27)
    index = indexes.of("many")
    await index.list_anew()
    learned = archive.newest()
    spent: dict[str, list[tuple[float, int]]] = {"all": [], "named": []}
    for n in range(EVENTS):
        key = window_key(n, WINDOWS)
        await plain.put(key, b"x" * 200)
        for kind, looking in (("named", index.look([key])), ("all", index.list_anew() if n < 3 else None)):
            if looking is None:
                continue
            counted.requests, began = 0, time.perf_counter()
            await looking
            assert archive.fresh(learned) == n + 1
            spent[kind].append((time.perf_counter() - began, counted.requests))
    means = {kind: np.mean(values, axis=0) for kind, values in spent.items()}
    return Looked(*map(float, (*means["all"], *means["named"])))


async def look_in_folder() -> Looked:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store = FolderStore(Path(folder))

        def put(key: str) -> None:
            path = Path(folder) / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x" * 200)

        await fill(store, put)
        return await look(store)


@asynccontextmanager
async def s3(folder: Path) -> AsyncIterator[S3Store]:
    server = S3Server(folder)
    server.start()
    try:
        await objects.prepare(folder, server.port, "bench")
        store = S3Store(S3Settings("bench", endpoint=server.endpoint, timeout=60.0))
        yield store
        await store.close()
    finally:
        server.stop()


async def look_in_s3() -> Looked:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ |= objects.credentials(Path(folder))
        async with s3(Path(folder)) as store:
            await fill(store, None)
            return await look(store)


def day_file(number: int, keys: int) -> bytes:
    """24 hours of each series: a daily course with noise, rounded as sensors round."""
    random = np.random.default_rng(number)
    hours = np.tile(np.arange(24), keys)
    codes = np.repeat(np.arange(keys), 24)
    load = 10 * np.sin(2 * np.pi * hours / 24 + codes) + random.normal(size=len(codes))
    temperature = 15 + 8 * np.sin(2 * np.pi * (number + hours / 24) / 365) + random.normal(size=len(codes))
    t = FIRST + number * DAY_MS + hours * HOUR_MS
    names = np.array([f"sensor-{n:05d}" for n in range(keys)])
    groups = np.full(len(codes), "", dtype=object)
    values: Floats = np.asarray(np.round(np.stack([load, temperature], axis=1), 1), dtype=np.float64)
    return encode(DayTable(names, codes, t, t, groups, STREAM.columns, values), STREAM)


@dataclass(frozen=True)
class ReadHistory:
    """file: bytes of a day file; before_mb: the trainer's most memory before it read, which made the files."""

    history: TrainingHistory
    file: int
    seconds: float
    before_mb: float
    trainer_mb: float
    unpacking_mb: float

    def __str__(self) -> str:
        rows, of = len(self.history.rows), self.history.sampled_from
        memory = f"{self.before_mb:.0f} {self.trainer_mb:.0f} {self.unpacking_mb:.0f} MB"
        return f"{rows:,} of {of} rows, {self.file / 1e6:.1f} MB a file, {self.seconds:.0f} s, {memory}"


@dataclass(frozen=True)
class Trained:
    """of: records that there were; seconds and MB of the process that trains."""

    read: ReadHistory
    of: int
    seconds: float
    training_mb: float


async def read(keys: int, days: int) -> ReadHistory:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store, settings = FolderStore(Path(folder)), TrainerSettings()
        size = 0
        for number in range(days):
            path = Path(folder) / DayName(day_of(FIRST + number * DAY_MS), "aa").key("many")
            path.parent.mkdir(parents=True, exist_ok=True)
            body = day_file(number, keys)
            path.write_bytes(body)
            size = len(body)
        before_mb = own_peak_mb()
        reading, metrics = Reading(settings.means), Metrics()
        aside = SetAside(store, STREAM, metrics, time.time)
        limit = settings.history_bytes
        archive = Archive(store, STREAM, aside, reading, WindowIndexes(store, metrics), limit=limit, day_limit=limit)
        files = HistoryFiles(store, Path(folder), reading, limit=limit)
        began = time.perf_counter()
        history = await files.everything(STREAM, archive, aside, settings.training_rows)
        seconds, unpacking_mb = time.perf_counter() - began, peak_mb(reading.pid)
        reading.close()
        return ReadHistory(history, size, seconds, before_mb, own_peak_mb(), unpacking_mb)


def own_peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


async def train(keys: int, days: int) -> Trained:
    done = await read(keys, days)
    process = TrainingProcess()
    began = time.perf_counter()
    try:
        rows = done.history.rows.with_short_keys()
        trained = await process.train(Task(STREAM, rows, sampled_from=done.history.sampled_from))
        return Trained(done, trained.sampled_from or len(rows), time.perf_counter() - began, peak_mb(process.pid))
    finally:
        process.close()


def render_looked(kinds: dict[str, Looked]) -> Iterator[str]:
    yield f"One new window among {WINDOWS:,} of {SERIES:,} series, per event:\n"
    yield "| store | all listed | by the key that the event names |\n|---|---|---|"
    for name, looked in kinds.items():
        all_cost = f"{looked.all_s:.2f} s, {looked.all_requests:.0f} requests"
        yield f"| {name} | {all_cost} | {looked.named_s * 1000:.0f} ms, {looked.named_requests:.0f} request |"


def render_trained(trained: Trained, keys: int, days: int) -> Iterator[str]:
    yield f"\nA batch model from {keys:,} series, every hour of {days} days, {len(STREAM.columns)} columns:\n"
    yield "| what | measured |\n|---|---|"
    rows = len(trained.read.history.rows)
    yield f"| records in the day files, and those that are learned from | {trained.of:,}, {rows:,} |"
    yield f"| a day file | {trained.read.file / 1e6:.1f} MB |"
    yield f"| reading all day files | {trained.read.seconds:.0f} s |"
    yield f"| peak memory of the trainer while it reads | {trained.read.trainer_mb:,.0f} MB |"
    yield f"| peak memory of its child that unpacks | {trained.read.unpacking_mb:,.0f} MB |"
    yield f"| training | {trained.seconds:.0f} s |"
    yield f"| peak memory of the process that trains, TensorFlow included | {trained.training_mb:,.0f} MB |\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--dry", action="store_true", help="write no page")
    parser.add_argument("--read-only", action="store_true", help="print what reading takes, and train nothing")
    chosen = parser.parse_args()
    if chosen.read_only:
        print(asyncio.run(read(chosen.keys, chosen.days)))  # noqa: T201
        return
    kinds = {"folder": asyncio.run(look_in_folder()), "S3 server on this machine": asyncio.run(look_in_s3())}
    lines = [
        *render_looked(kinds),
        *render_trained(asyncio.run(train(chosen.keys, chosen.days)), chosen.keys, chosen.days),
    ]
    text = "\n".join(lines)
    print(text)  # noqa: T201
    if not chosen.dry:
        write_part(PAGE, "bench-day-files", text)


if __name__ == "__main__":
    main()
