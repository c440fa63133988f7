"""Windows that are joined into day files: whenever that is done and whatever ends it, the same rows are read."""

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from driftline.errors import Conflict
from driftline.metrics import Metrics
from driftline.store.days import DayName
from driftline.store.folder import FolderStore
from driftline.store.port import Store
from driftline.store.windows import LARGEST, WindowName
from driftline.streams import tables
from driftline.streams.bounds import MEBIBYTE
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline_trainer.archive import Archive, united
from driftline_trainer.days.compaction import DayLimits, SourceCompaction
from driftline_trainer.days.files import day_files
from driftline_trainer.days.sampling import Sample, Sampling
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.window_index import WindowFile, WindowIndexes
from tests.trainer.turns import Turns, TurnStore, until_dead

HOUR_MS = 3_600_000
FIRST = 1_420_070_400_000
WINDOW = 20
STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {f: level}\nhorizon: [1, 3]\n"
    f"window: {WINDOW}\nlags: 2\n",
    "a.yaml",
)
LIMITS = DayLimits(MEBIBYTE, 4 * MEBIBYTE, MEBIBYTE)
ROOM = 1_000_000


@pytest.fixture
def reading() -> Iterator[Reading]:
    child = Reading(TrainerSettings().means)
    yield child
    child.close()


@dataclass(frozen=True)
class Archived:
    """A window as ingest writes it."""

    key: str
    body: bytes


def window(
    key: str, edge: str | None, hours: Sequence[int], values: Sequence[float], last: int | None = None
) -> Archived:
    """Of the target alone, with a feature that follows from the hour. last: the hour that its name ends with."""
    t = FIRST + np.array(hours) * HOUR_MS
    rows = Rows(np.full(len(t), key), t, np.stack([np.array(values), np.array(hours, float)], axis=1))
    first, end = int(t[0]), int(t[-1]) if last is None else last
    name = WindowName(first, end, edge) if edge else WindowName(hours[0], hours[-1], None)
    return Archived(f"windows/{STREAM.source}/{key}/{name.format()}", tables.encode(rows, STREAM))


def story(edge: str, keys: Sequence[str], days: int, chance: random.Random) -> list[Archived]:
    """What an edge archives: of some records the truth comes with a later window, and some windows come again."""
    written: list[Archived] = []
    # No edge measures what another one does.
    offset = 1000.0 * len(edge)
    for key in keys:
        late: list[int] = []
        for begin in range(0, days * 24, WINDOW):
            hours = list(range(begin, begin + WINDOW))
            without = {hour for hour in hours if chance.random() < 0.1}
            values = [np.nan if hour in without else offset + hour for hour in hours]
            brought, late = late, sorted(without)
            written.append(
                window(
                    key,
                    edge,
                    [*brought, *hours],
                    [*(offset + hour for hour in brought), *values],
                    FIRST + hours[-1] * HOUR_MS,
                )
            )
            if chance.random() < 0.3:
                # A restart writes it again.
                written.append(chance.choice(written))
    return written


async def write(store: Store, windows: Sequence[Archived]) -> None:
    for one in windows:
        with suppress(Conflict):
            await store.put(one.key, one.body, if_absent=True)


class TrainerView:
    """The archive as one trainer sees it through its store."""

    def __init__(self, store: Store, reading: Reading, stream: StreamDefinition = STREAM) -> None:
        metrics = Metrics()
        self.store = store
        self.stream = stream
        self.indexes = WindowIndexes(store, metrics)
        aside = SetAside(store, stream, metrics, lambda: 0.0)
        self.archive = Archive(store, stream, aside, reading, self.indexes, limit=MEBIBYTE, day_limit=4 * MEBIBYTE)
        self.reading = reading
        self.metrics = metrics
        self.left: list[str] = []

    async def compact(self, before: int = LARGEST, limits: DayLimits = LIMITS, name: str | None = None) -> int:
        name = name or self.stream.source
        index = self.indexes.of(name)
        await index.list_anew()
        source = SourceCompaction(
            self.store,
            name,
            self.stream,
            self.reading,
            limits,
            self.metrics,
            refuse=self._leave,
            forget=index.forget,
            pause=no_pause,
        )
        return await source.run(list(index), before)

    async def _leave(self, file: WindowFile, _: str) -> None:
        self.left.append(file.key)

    async def rows(self) -> Rows:
        sample = Sample(ROOM, Sampling.of(self.stream))
        await self.archive.refresh()
        await self.archive.all_rows(sample)
        return united(sample.parts)

    async def windows(self) -> list[str]:
        return [listed.key async for listed in self.store.list("windows/")]

    async def days(self, name: str = STREAM.source) -> list[DayName]:
        return [file.name async for file in day_files(self.store, name)]


async def no_pause() -> None:
    """Nothing to wait for."""


def assert_same(rows: Rows, expected: Rows) -> None:
    assert rows.keys.tolist() == expected.keys.tolist()
    np.testing.assert_array_equal(rows.t, expected.t)
    np.testing.assert_array_equal(rows.values, expected.values)


def times(rows: Rows) -> set[tuple[str, int]]:
    return set(zip(rows.keys.tolist(), rows.t.tolist(), strict=True))


async def compact_until_dead(store: Store, reading: Reading, turns: Turns, lives: int) -> None:
    """One trainer that dies again and again."""
    for _ in range(lives):
        view = TrainerView(TurnStore(store, turns, turns.random.randrange(1, 120)), reading)
        limits = replace(LIMITS, unpacked=turns.random.choice([1500, 4000, MEBIBYTE]))
        with suppress(Conflict):
            await until_dead(view.compact(limits=limits))


@pytest.mark.parametrize("seed", range(8))
async def test_whenever_windows_are_joined_and_whatever_ends_it_the_same_rows_are_read(
    tmp_path: Path, reading: Reading, seed: int
):
    store, twin, turns = FolderStore(tmp_path / "store"), FolderStore(tmp_path / "twin"), Turns(seed)
    stories = [story(edge, ["k", "l"], 6, turns.random) for edge in ("aa", "b")]
    written = [one for windows in stories for one in windows]
    early, rest = written[::2], written[1::2]
    await write(store, early)
    await write(twin, early)
    at_first = times(await TrainerView(twin, reading).rows())

    async def read_on() -> None:
        for _ in range(3):
            rows = await TrainerView(TurnStore(store, turns), reading).rows()
            assert at_first <= times(rows)
            assert len(times(rows)) == len(rows)

    await turns.run(
        write(TurnStore(store, turns), rest),
        compact_until_dead(store, reading, turns, 4),
        compact_until_dead(store, reading, turns, 4),
        read_on(),
    )
    await write(twin, rest)
    expected = await TrainerView(twin, reading).rows()
    assert len(expected) == 2 * 160
    assert np.isnan(expected.values).sum() <= 2 * WINDOW
    view = TrainerView(store, reading)
    assert_same(await view.rows(), expected)
    await view.compact()
    assert await view.windows() == []
    assert_same(await view.rows(), expected)
    # A restart writes what is in day files already.
    await write(store, written)
    assert_same(await view.rows(), expected)
    await view.compact()
    assert_same(await view.rows(), expected)
