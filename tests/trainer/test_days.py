"""Windows that are joined into day files: whenever that is done and whatever ends it, the same rows are read."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from driftline.errors import Conflict, InvalidInput
from driftline.metrics import Metrics
from driftline.store.days import DAY_MS, DayName
from driftline.store.folder import FolderStore
from driftline.store.port import Store, Stored
from driftline.store.windows import LARGEST, WindowName
from driftline.streams import tables
from driftline.streams.bounds import MEBIBYTE
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline.streams.sources import joined
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
        return sorted([file.name async for file in day_files(self.store, name)])


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


class OvertakenStore(FolderStore):
    """A folder in which somebody else does something when a day file has just been read."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        stored = await super().get(key, unless=unless, limit=limit)
        if self.meanwhile is not None and key.startswith("days/"):
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return stored


async def test_of_two_trainers_at_one_day_file_the_later_begins_again(tmp_path: Path, reading: Reading):
    store = OvertakenStore(tmp_path)
    one, other = TrainerView(store, reading), TrainerView(FolderStore(tmp_path), reading)
    first, second, third = (window(key, "aa", range(20), [1.0] * 20) for key in "klm")
    await write(store, [first])
    await one.compact()
    await write(store, [second])

    async def overtake() -> None:
        await write(store, [third])
        await other.compact()

    store.meanwhile = overtake
    with pytest.raises(Conflict):
        await one.compact()
    assert await one.windows() == []
    assert len(await one.rows()) == 60


async def test_ten_edges_that_are_imaged_again_lose_and_double_no_window(tmp_path: Path, reading: Reading):
    store, turns = FolderStore(tmp_path), Turns(1)
    # Each goes on under a new id, and writes again what its old one had in the last window.
    old = [story(f"old{n}", [f"k{n}"], 4, turns.random) for n in range(10)]
    new = [
        [window(f"k{n}", f"new{n}", range(begin, begin + WINDOW), list(range(WINDOW))) for begin in (80, 100, 120)]
        for n in range(10)
    ]

    async def edge(n: int) -> None:
        await write(TurnStore(store, turns), old[n])
        await write(TurnStore(store, turns), new[n])

    await turns.run(*(edge(n) for n in range(10)), compact_until_dead(store, reading, turns, 6))
    view = TrainerView(store, reading)
    await view.compact()
    rows = await view.rows()
    assert await view.windows() == []
    assert times(rows) == {(f"k{n}", FIRST + hour * HOUR_MS) for n in range(10) for hour in range(140)}
    assert len(rows) == 10 * 140


async def test_a_day_is_one_file_of_all_series_of_an_edge(tmp_path: Path, reading: Reading):
    view = TrainerView(FolderStore(tmp_path), reading)
    await write(view.store, [window(key, edge, range(4, 24), [1.0] * 20) for key in "klm" for edge in ("aa", "bb")])
    assert await view.compact() == 6
    assert await view.days() == [DayName("2015-01-01", "aa"), DayName("2015-01-01", "bb")]
    assert await view.windows() == []
    assert len(await view.rows()) == 60


async def test_only_days_that_are_over_are_joined(tmp_path: Path, reading: Reading):
    view = TrainerView(FolderStore(tmp_path), reading)
    await write(
        view.store, [window("k", edge, range(n, n + WINDOW), [1.0] * WINDOW) for edge in ("aa", None) for n in (0, 20)]
    )
    assert await view.compact(FIRST + DAY_MS) == 2
    assert len(await view.windows()) == 2
    assert {name.day for name in await view.days()} == {"2015-01-01"}
    assert await view.compact(FIRST + 2 * DAY_MS) == 2
    assert await view.days() == [
        DayName("2015-01-01"),
        DayName("2015-01-01", "aa"),
        DayName("2015-01-02"),
        DayName("2015-01-02", "aa"),
    ]


async def test_windows_that_come_late_go_into_the_file_of_their_day(tmp_path: Path, reading: Reading):
    view = TrainerView(FolderStore(tmp_path), reading)
    await write(view.store, [window("k", "aa", range(20), [np.nan] + [1.0] * 19)])
    await view.compact()
    await write(
        view.store, [window("k", "aa", [0], [7.0], FIRST + 19 * HOUR_MS + 1), window("l", "aa", range(3), [2.0] * 3)]
    )
    await view.compact()
    assert await view.days() == [DayName("2015-01-01", "aa")]
    by_key = (await view.rows()).by_key()
    assert by_key["k"].values[:2].tolist() == [[7.0, 0.0], [1.0, 1.0]]
    assert len(by_key["l"]) == 3


async def test_a_day_with_too_many_rows_for_a_file_has_several(tmp_path: Path, reading: Reading):
    view = TrainerView(FolderStore(tmp_path), reading)
    await write(view.store, [window(f"k{n}", "aa", range(20), [float(n)] * 20) for n in range(12)])
    # Of 5 numbers in each of 20 rows four windows fit.
    limits = replace(LIMITS, unpacked=4 * 20 * 5 * 8)
    await view.compact(limits=limits)
    assert await view.days() == [DayName("2015-01-01", "aa", part) for part in (1, 2, 3)]
    assert (await view.rows()).values[::20, 0].tolist() == sorted(range(12), key=str)
    await write(view.store, [window("k5", "aa", range(20), [5.0] * 20)])
    await view.compact(limits=limits)
    assert len(await view.rows()) == 12 * 20


async def test_what_can_not_be_read_is_left_and_the_rest_is_joined(tmp_path: Path, reading: Reading):
    view = TrainerView(FolderStore(tmp_path), reading)
    good = [window("k", "aa", range(n, n + WINDOW), [1.0] * WINDOW) for n in (0, 40)]
    bad = replace(window("k", "aa", range(20, 40), [1.0] * WINDOW), body=b"bad")
    stranger = replace(window("l", "aa", range(20), [1.0] * WINDOW), body=good[0].body)
    await write(view.store, [*good, bad, stranger])
    assert await view.compact() == 2
    assert sorted(view.left) == sorted(await view.windows()) == sorted([bad.key, stranger.key])
    assert len(await view.rows()) == 40


async def test_a_day_file_that_can_not_be_used_stays_and_a_further_one_is_written(tmp_path: Path, reading: Reading):
    view = TrainerView(FolderStore(tmp_path), reading)
    name = DayName("2015-01-01", "aa")
    rows = Rows(np.array(["k"]), np.array([FIRST]), np.ones((1, 2)))
    for n, body in enumerate([b"bad", b"PAR1", tables.encode(rows, STREAM)]):
        key = replace(name, edge=f"{n}").key("a")
        await view.store.put(key, body)
        await write(view.store, [window("k", f"{n}", range(20), [1.0] * 20)])
        await view.compact()
        stored = await view.store.get(key)
        assert stored is not None
        assert stored.body == body
    assert [day.part for day in await view.days()] == [1, 2] * 3
    assert len(await view.rows()) == 20
    # Each is set aside, once.
    assert len([mark async for mark in view.store.list("aside/")]) == 3


async def test_columns_that_no_stream_has_any_more_are_kept(tmp_path: Path, reading: Reading):
    text = "source: station\ntime: {column: when, period: 1h}\nkey: id\nhorizon: [1]\nwindow: 20\n"
    one, two = (parse(f"name: {name}\ntarget: {name}\n{text}", f"{name}.yaml") for name in ("temp", "hum"))
    both = joined([one, two])
    t = FIRST + np.arange(20) * HOUR_MS
    rows = Rows(np.full(20, "k"), t, np.stack([np.arange(20.0), np.arange(20.0) + 100], axis=1))
    store = FolderStore(tmp_path)
    name = WindowName(int(t[0]), int(t[-1]), "aa").format()
    await store.put(f"windows/station/k/{name}", tables.encode(rows, both))
    # Only one of the streams is there now.
    alone = TrainerView(store, reading, joined([one]))
    assert await alone.compact() == 1
    for stream, first in ((one, 0.0), (two, 100.0)):
        learned = await TrainerView(store, reading, stream).rows()
        assert learned.values[0].tolist() == [first]


async def test_series_that_move_to_another_group_are_joined(tmp_path: Path, reading: Reading):
    stream = parse(
        "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\ngroup: site\nwindow: 4\nhorizon: [1]\n",
        "a.yaml",
    )
    store = FolderStore(tmp_path)
    for n, site in enumerate(["north", "south"]):
        t = FIRST + np.arange(4 * n, 4 * n + 4) * HOUR_MS
        rows = Rows(np.full(4, "k"), t, np.ones((4, 1)), np.full(4, site))
        await store.put(f"windows/a/k/{WindowName(int(t[0]), int(t[-1]), 'aa').format()}", tables.encode(rows, stream))
    view = TrainerView(store, reading, stream)
    assert await view.compact() == 2
    assert (await view.rows()).groups.tolist() == ["north"] * 4 + ["south"] * 4


async def test_the_newest_records_are_the_same_from_day_files(tmp_path: Path, reading: Reading):
    written = [
        window(key, "aa", range(n, n + WINDOW), list(range(WINDOW))) for key in "kl" for n in range(0, 2000, WINDOW)
    ]
    store, twin = FolderStore(tmp_path / "store"), FolderStore(tmp_path / "twin")
    view, uncompacted = TrainerView(store, reading), TrainerView(twin, reading)
    await asyncio.gather(write(store, written), write(twin, written))
    await view.compact(FIRST + 70 * DAY_MS)
    await view.archive.refresh()
    await uncompacted.archive.refresh()
    expected = await uncompacted.archive.newest_rows(ROOM)
    rows = await view.archive.newest_rows(ROOM)
    assert 0 < len(await view.windows()) < len(written)
    assert times(expected) <= times(rows) < {(key, FIRST + hour * HOUR_MS) for key in "kl" for hour in range(2000)}
    assert len(rows) == len(times(rows))


async def test_of_more_series_than_fit_some_are_tuned_on_whole(tmp_path: Path, reading: Reading):
    view = TrainerView(FolderStore(tmp_path), reading)
    keys = [f"k{n}" for n in range(16)]
    await write(
        view.store,
        [window(key, "aa", range(n, n + WINDOW), [1.0] * WINDOW) for key in keys for n in range(0, 480, WINDOW)],
    )
    for before in (FIRST, LARGEST):
        await view.compact(before)
        await view.archive.refresh()
        rows = await view.archive.newest_rows(3000)
        of_key = {key: len(part) for key, part in rows.by_key().items()}
        assert 1 <= len(of_key) < 16
        assert 300 < min(of_key.values()) == max(of_key.values())


async def test_without_anything_to_learn_from_it_is_refused(tmp_path: Path, reading: Reading):
    view = TrainerView(FolderStore(tmp_path), reading)
    await view.archive.refresh()
    assert not await view.archive.has_days()
    with pytest.raises(InvalidInput, match="found no window of a"):
        await view.archive.newest_rows(ROOM)
