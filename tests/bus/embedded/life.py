"""A process that lives on an embedded bus until it is killed.

    python -m tests.bus.embedded.life FOLDER ACKS TICKS SEED HOURS

It publishes ticks and folds them, and saves large states now and then. What it was given an acknowledgement for, or has
seen, it writes down: `published KEY T`, `seen KEY T`, `saved NAME VERSION`. With HOURS it keeps messages no longer.
"""

import asyncio
import os
import random
import sys
from collections import defaultdict
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.port import Checkpoint
from driftline.worker.loop import Worker
from driftline.worker.loop_settings import LoopSettings
from tests.bus.conftest import PARTITIONS, HashStep, Tick, folds, ticks
from tests.bus.test_contract import Holder

TICKS, FOLDS = ticks("ticks"), folds("folds")
HELD = ticks("held")
"""Nothing is on it: the group that saves states there needs no message."""
KEYS = 6
PAD = "x" * 250
"""Makes messages as long as records are, so that segments are full soon."""
BEHIND = 40
NAMES = 4
STATE_BYTES = 3000
ONCE = LoopSettings(exactly_once=True, exactly_once_every=0.0, state_every=0.05)
"""States so often that what they lack is never dropped here, where little is kept."""


def settings(folder: Path, hours: float = 1000.0) -> EmbeddedSettings:
    """Small segments: many begin, and are used again."""
    return EmbeddedSettings(folder, PARTITIONS, retention_bytes=8 * 64_000, retention_hours=hours, recent_bytes=20_000)


def key(number: int) -> str:
    return f"k{number}{PAD}"


def folding(bus: EmbeddedBus) -> Worker[Tick]:
    return Worker("fold", bus, TICKS, HashStep(FOLDS), ONCE)


class Life:
    """One run on a folder, from where the one before ended."""

    def __init__(self, folder: Path, acks: Path, hours: float) -> None:
        self.bus = EmbeddedBus(settings(folder, hours))
        self._path = acks
        self._acks = os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.next: dict[str, int] = defaultdict(int)
        self._seen: dict[str, int] = defaultdict(lambda: -1)
        self._changed = asyncio.Event()

    def note(self, *words: object) -> None:
        os.write(self._acks, (" ".join(map(str, words)) + "\n").encode())

    def begin(self) -> None:
        """Goes on from what was written down before."""
        for line in self._path.read_text().splitlines():
            what, name, number = line.split()
            if what == "published":
                self.next[name] = int(number) + 1
            if what == "seen":
                self._seen[name] = int(number)

    async def publish(self, times: int, draw: random.Random) -> None:
        """Never far ahead of the folds, or retention would drop what was not read yet."""
        for _ in range(times):
            batch = []
            for number in draw.sample(range(KEYS), draw.randint(1, KEYS)):
                batch.append(Tick(key(number), self.next[key(number)]))
                self.next[key(number)] += 1
            await self.bus.publish(TICKS, batch)
            for tick in batch:
                self.note("published", tick.key, tick.t)
            while any(self.next[tick.key] - self._seen[tick.key] > BEHIND for tick in batch):
                self._changed.clear()
                await self._changed.wait()

    async def see(self) -> None:
        async with aclosing(self.bus.tail(FOLDS, earliest=True)) as pages:
            async for page in pages:
                for envelope in page:
                    self.note("seen", envelope.value.key, envelope.value.t)
                    self._seen[envelope.value.key] = envelope.value.t
                self._changed.set()

    async def save(self) -> None:
        """Some states again and again, one of them only once: it must outlive the segment that it was written to."""
        async with self.bus.join(HELD, "holder", holder := Holder()) as feed:
            await holder.holds(PARTITIONS, feed)
            version = 1 + max((version_of(state) for state in holder.states[0].values()), default=0)
            while True:
                for name in [f"s{version % NAMES}", *(["s-once"] if version == 1 else [])]:
                    await feed.commit(Checkpoint(0, holder.given[0].position, {name: state(version)}))
                    self.note("saved", name, version)
                version += 1
                await asyncio.sleep(0.01)


def state(version: int) -> bytes:
    return f"{version:010d}".encode() * (STATE_BYTES // 10)


def version_of(data: bytes) -> int:
    assert data == state(int(data[:10]))
    return int(data[:10])


@asynccontextmanager
async def running(life: Life):
    tasks = [asyncio.create_task(job) for job in (folding(life.bus).run(), life.see(), life.save())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def main(folder: str, acks: str, times: str, seed: str = "1", hours: str = "1000") -> None:
    life = Life(Path(folder), Path(acks), float(hours))
    print("lives", flush=True)  # noqa: T201 - who kills it waits for this
    life.begin()
    async with running(life):
        await life.publish(int(times), random.Random(int(seed)))
    await life.bus.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
