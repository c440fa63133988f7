"""What must hold for a folder on which a life was cut off: nothing that was acknowledged is missing."""

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from driftline.bus.embedded import EmbeddedBus
from driftline.bus.port import Bus
from driftline.worker.observer import Unobserved
from tests.bus.conftest import PARTITIONS, Folded
from tests.bus.embedded.life import FOLDS, HELD, TICKS, folding, settings, version_of
from tests.bus.test_contract import PATIENCE_S, Holder

TURN_S = 0.05
"""So often it is looked whether the worker has failed."""


class Losses(Unobserved):
    """Counts what a worker could not read."""

    def __init__(self) -> None:
        self.count = 0

    def lost(self, messages: int) -> None:
        self.count += messages

    def rewound(self) -> None:
        self.count += 1


def newest(acknowledged: Sequence[str], what: str) -> dict[str, int]:
    """By name the highest number that was written down."""
    numbers: dict[str, int] = defaultdict(int)
    for line in acknowledged:
        kind, name, number = line.split()
        if kind == what:
            numbers[name] = max(numbers[name], int(number))
    return numbers


async def worked_off(bus: EmbeddedBus) -> None:
    """Folds everything that is there."""
    losses = Losses()
    working = folding(bus)
    working._observer = losses
    task = asyncio.create_task(working.run())
    async with asyncio.timeout(PATIENCE_S):
        while any((await bus.lag(TICKS, "fold")).values()) or working._subscription is None:
            changed = bus.change(FOLDS.name)
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_S):
                    await changed.wait()
            if task.done():
                await task
    await working.stop()
    await task
    assert losses.count == 0


def hashes(times: int) -> list[int]:
    """Of a key whose times are 0, 1, 2, …"""
    chain = [0]
    for t in range(times):
        chain.append(zlib.crc32(f"{chain[-1]}:{t}".encode()))
    return chain[1:]


def check_folds(folds: Sequence[Folded], acknowledged: Sequence[str]) -> None:
    """Each time of a key once, in order, without a gap, each made of all before it, up to what was acknowledged."""
    by_key: Mapping[str, list[Folded]] = defaultdict(list)
    for fold in folds:
        by_key[fold.key].append(fold)
    for what in ("published", "seen"):
        for key, t in newest(acknowledged, what).items():
            assert by_key[key][-1].t >= t, f"{what} {key[:2]} {t}, but there is only {by_key[key][-1].t}"
    for key, some in by_key.items():
        first, last = some[0].t, some[-1].t
        assert [fold.t for fold in some] == [*range(first, last + 1)], key[:2]
        assert [fold.hash for fold in some] == hashes(last + 1)[first:], key[:2]


async def saved_states(bus: Bus) -> dict[str, int]:
    async with bus.join(HELD, "holder", holder := Holder()) as feed:
        await holder.holds(PARTITIONS, feed)
        return {name: version_of(data) for name, data in holder.states[0].items()}


async def check(folder: Path, acknowledged: Sequence[str]) -> None:
    bus = EmbeddedBus(settings(folder))
    versions = await saved_states(bus)
    for name, version in newest(acknowledged, "saved").items():
        assert versions[name] >= version, name
    await worked_off(bus)
    check_folds([envelope.value for envelope in await bus.read(FOLDS)], acknowledged)
    await bus.close()
