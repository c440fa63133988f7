"""What can't be used is set aside, once and for good; the rest is learned from, whatever it is called."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from driftline.errors import InvalidInput, NotFound
from driftline.metrics import Metrics
from driftline.models import manifest as manifests
from driftline.store import windows
from driftline.store.folder import FolderStore
from driftline.store.windows import WindowName
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline.streams.sources import joined
from driftline.versions.releases import current
from driftline_trainer.archive import Archive
from driftline_trainer.days.sampling import Sample, Sampling
from driftline_trainer.learned import later
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.trainer import Trainer
from driftline_trainer.window_index import WindowIndexes
from tests.trainer import bombs
from tests.trainer.bombs import parquet, table
from tests.trainer.test_trainer import HISTORY, PATIENCE_S, archive, working

KEY = "R80711"
ROOM = 2_000_000


class Kept:
    """A store with its archive as one trainer sees it; `again` is the next trainer."""

    def __init__(self, store: FolderStore, stream: StreamDefinition, reading: Reading) -> None:
        self.store = store
        self.stream = stream
        self.reading = reading
        self.metrics = Metrics()
        self.aside = SetAside(store, stream, self.metrics, lambda: 0.0)
        self.archive = Archive(
            store, stream, self.aside, reading, WindowIndexes(store, self.metrics), limit=1_000_000, day_limit=4_000_000
        )

    def again(self) -> "Kept":
        return Kept(self.store, self.stream, self.reading)

    async def put(self, name: str, body: bytes | None = None) -> str:
        key = f"windows/{self.stream.name}/{KEY}/{name}"
        await self.store.put(key, self.window(name) if body is None else body)
        return key

    def window(self, name: str) -> bytes:
        """100 records; those of windows by offsets follow one another."""
        window = windows.parse(name)
        before = window.first if window is not None and window.edge is None else 0
        t = bombs.T0 + 600_000 * (before + np.arange(100))
        return parquet(table(self.stream, 100, **{self.stream.time.column: pa.array(t, pa.timestamp("ms", tz="UTC"))}))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"driftline_{name}", {"stream": self.stream.name, **labels})


@pytest.fixture
def reading() -> Iterator[Reading]:
    made = Reading(TrainerSettings().means)
    yield made
    made.close()


@pytest.fixture
def kept(tmp_path: Path, quick: StreamDefinition, reading: Reading) -> Kept:
    return Kept(FolderStore(tmp_path), quick, reading)


def by_offset(first: int) -> str:
    return WindowName(first, first + 99, None).format()


def by_time(first: int, edge: str) -> str:
    return WindowName(first, first + 99, edge).format()


async def test_a_window_that_can_not_be_used_is_set_aside_once_and_the_rest_is_read(kept: Kept, quick):
    bad = [b"", b"PAR1 and nothing", parquet(table(quick, 0)), parquet(table(quick, 9).drop([quick.target]))]
    bad += [parquet(table(quick, 9, **{quick.target: pa.array(["x"] * 9)})), bytes(2_000_000)]
    for n in range(10):
        await kept.put(by_offset(100 * n))
    for n, body in enumerate(bad, 10):
        await kept.put(by_offset(100 * n), body)
    await kept.archive.refresh()
    assert kept.archive.fresh({}) == 16
    assert len(await kept.archive.newest_rows(ROOM)) == 1000
    assert kept.archive.fresh({}) == 10
    assert kept.archive.newest() == {f"windows/{quick.name}/{KEY}": f"windows/{quick.name}/{KEY}/{by_offset(900)}"}
    assert kept.metric("files_set_aside_total", kind="windows") == len(bad)
    marks = [listed async for listed in kept.store.list("aside/")]
    assert len(marks) == len(bad)
    assert all(mark.size < 2000 for mark in marks)
    restarted = kept.again()
    await restarted.archive.refresh()
    assert restarted.archive.fresh({}) == 10
    assert len(await restarted.archive.newest_rows(ROOM)) == 1000
    assert restarted.metric("files_set_aside_total", kind="windows") == 0


async def test_a_mark_that_can_not_be_written_stops_nothing_and_is_written_later(kept: Kept, quick: StreamDefinition):
    await kept.put(by_offset(0))
    await kept.put(by_offset(100), b"bad")
    await kept.store.put("aside", b"a file where the folder of marks should be")
    await kept.archive.refresh()
    assert len(await kept.archive.newest_rows(ROOM)) == 100
    await kept.archive.refresh()
    assert kept.archive.fresh({}) == 1
    await kept.store.delete("aside")
    await kept.archive.refresh()
    assert len([listed async for listed in kept.store.list("aside/")]) == 1
    assert kept.metric("files_set_aside_total", kind="windows") == 1


async def test_another_definition_tries_again_what_was_set_aside(kept: Kept, quick: StreamDefinition):
    await kept.put(by_offset(0), parquet(table(quick, 100).drop(["P_avg"])))
    await kept.archive.refresh()
    with pytest.raises(InvalidInput):
        await kept.archive.newest_rows(ROOM)
    fewer = quick.model_copy(update={"features": {}})
    other = Kept(kept.store, fewer, kept.reading)
    await other.archive.refresh()
    assert len(await other.archive.newest_rows(ROOM)) == 100


async def test_a_removed_mark_or_another_file_of_that_name_is_tried_again(kept: Kept, quick: StreamDefinition):
    key = await kept.put(by_offset(0), b"bad")
    await kept.archive.refresh()
    with pytest.raises(InvalidInput, match="found no window of outdoor-temperature that can be used"):
        await kept.archive.newest_rows(ROOM)
    await kept.store.put(key, parquet(table(quick, 100)))
    await kept.archive.refresh()
    assert len(await kept.archive.newest_rows(ROOM)) == 100


async def test_names_of_nobody_blind_nobody_and_are_said_once(kept: Kept, quick: StreamDefinition, caplog):
    await kept.put(by_offset(0))
    await kept.put("zzz.parquet")
    await kept.store.put(f"windows/{quick.name}/zzz", b"x")
    await kept.archive.refresh()
    await kept.put(by_offset(100))
    await kept.archive.refresh()
    assert kept.archive.fresh({}) == 2
    assert kept.metric("windows_foreign") == 2
    assert sum("that no archive named" in record.message for record in caplog.records) == 1
    assert kept.archive.newest()[f"windows/{quick.name}/{KEY}"].endswith(by_offset(100))


async def test_what_a_manifest_learned_by_a_name_of_nobody_hides_nothing(kept: Kept, quick: StreamDefinition):
    series = f"windows/{quick.name}/{KEY}"
    await kept.put(by_offset(0))
    await kept.archive.refresh()
    assert kept.archive.fresh({series: f"{series}/zzz.parquet"}) == 1
    assert kept.archive.fresh({series: f"{series}/{by_offset(0)}"}) == 0
    assert later({series: f"{series}/zzz.parquet"}, {series: f"{series}/{by_offset(0)}"})[series].endswith(by_offset(0))


async def test_windows_of_a_second_edge_count_though_they_are_earlier(kept: Kept, quick: StreamDefinition):
    series = f"windows/{quick.name}/{KEY}"
    await kept.put(by_offset(500))
    await kept.put(by_time(bombs.T0 + 1000, "aa"))
    await kept.archive.refresh()
    learned = kept.archive.newest()
    assert learned.keys() == {series, f"{series}/aa"}
    assert kept.archive.fresh(learned) == 0
    await kept.put(by_time(bombs.T0, "bb"))
    await kept.put(by_time(bombs.T0 + 2000, "aa"))
    await kept.archive.refresh()
    assert kept.archive.fresh(learned) == 2


async def test_rows_of_two_edges_are_united_by_time(kept: Kept, quick: StreamDefinition):
    await kept.put(by_time(bombs.T0, "aa"))
    await kept.put(by_time(bombs.T0, "bb"))
    await kept.archive.refresh()
    rows = await kept.archive.newest_rows(ROOM)
    assert (len(rows), len(rows.by_key()[KEY])) == (100, 100)


async def test_of_a_series_that_moved_to_another_group_the_newest_windows_are_learned_from(
    tmp_path: Path, quick: StreamDefinition, reading: Reading, caplog: pytest.LogCaptureFixture
):
    kept = Kept(FolderStore(tmp_path), quick.model_copy(update={"group": "site"}), reading)
    for n, site in enumerate(["north", "north", "south"]):
        t = pa.array(range(bombs.T0 + n * 100, bombs.T0 + n * 100 + 100), pa.timestamp("ms", tz="UTC"))
        body = table(quick, 100, site=pa.array([site] * 100), **{quick.time.column: t})
        await kept.put(by_time(bombs.T0 + n * 100, "aa"), parquet(body))
    await kept.put(by_time(bombs.T0 + 300, "aa"))
    await kept.archive.refresh()
    rows = await kept.archive.newest_rows(ROOM)
    assert (len(rows), set(rows.groups)) == (100, {"south"})
    assert "rows left out: their series are in other groups since" in caplog.messages
    # A window from before there were groups.
    assert kept.metric("files_set_aside_total", kind="windows") == 1


async def test_of_thousands_of_windows_some_bad_ones_are_left_out(kept: Kept, quick: StreamDefinition):
    folder = kept.store.root / "windows" / quick.name / KEY
    folder.mkdir(parents=True)
    for n in range(3000):
        # As the store has them, but for two syncs of each.
        name = by_offset(100 * n)
        (folder / name).write_bytes(b"bad" if n % 500 == 7 else kept.window(name))
    await kept.archive.refresh()
    sample = Sample(ROOM, Sampling.of(quick))
    await kept.archive.all_rows(sample)
    assert (sample.total, kept.archive.fresh({})) == (299_400, 2994)


async def test_one_bad_window_stops_neither_retraining_nor_batch_training(tmp_path, quick, rows: Rows):
    store = FolderStore(tmp_path / "store")
    await store.put(HISTORY, tables.encode(rows.take(slice(0, 8000)), quick))
    await store.put("history/outdoor-temperature/bad.parquet", b"bad")
    settings = TrainerSettings(store=str(tmp_path), data_dir=tmp_path, store_poll=3600, retrain_interval=0)
    trainer = Trainer(settings, store, {quick.name: quick}, Metrics())
    async with working(trainer), asyncio.timeout(4 * PATIENCE_S):
        batch = await trainer.wait((await trainer.submit(quick.name, "batch")).id)
        assert (batch.state, batch.reason) == ("published", None)
        await archive(store, quick, rows.take(slice(8000, 9700)))
        bad = f"windows/{quick.name}/{KEY}/{by_offset(999_999)}"
        await store.put(bad, b"bad")
        await store.put(f"windows/{quick.name}/{KEY}/zzz.parquet", b"bad")
        await trainer.reconcile()
        speed = await current(store, quick.name, "speed")
        assert manifests.version_number(speed.version) == 2
        assert bad not in speed.manifest.windows.values()
        await archive(store, quick, rows.take(slice(9700, 11400)), begin=1000)
        await trainer.reconcile()
        assert manifests.version_number((await current(store, quick.name, "speed")).version) == 3
        refused = await trainer.wait(
            (await trainer.submit(quick.name, "batch", "history/outdoor-temperature/bad.parquet")).id
        )
        assert (refused.state, "found one line alone" in refused.reason) == ("failed", True)
    assert len([listed async for listed in store.list("aside/")]) == 2
    assert (await store.get(bad)).body == b"bad"


async def test_nothing_but_bad_windows_is_refused_and_not_tried_again(tmp_path, quick, rows: Rows):
    store = FolderStore(tmp_path / "store")
    await store.put(HISTORY, tables.encode(rows.take(slice(0, 4000)), quick))
    settings = TrainerSettings(store=str(tmp_path), data_dir=tmp_path, store_poll=3600, retrain_interval=0)
    trainer = Trainer(settings, store, {quick.name: quick}, Metrics())
    async with working(trainer), asyncio.timeout(4 * PATIENCE_S):
        await trainer.wait((await trainer.submit(quick.name, "batch", HISTORY)).id)
        for n in range(12):
            await store.put(f"windows/{quick.name}/{KEY}/{by_offset(100 * n)}", b"bad")
        await trainer.reconcile()
        assert (trainer.jobs()[0].member, trainer.jobs()[0].state) == ("speed", "failed")
        tried = len(trainer.jobs())
        await trainer.reconcile()
        assert len(trainer.jobs()) == tried


async def test_a_window_that_is_removed_while_it_is_read_is_forgotten(kept: Kept, quick: StreamDefinition):
    key = await kept.put(by_offset(0))
    await kept.put(by_offset(100))
    await kept.archive.refresh()
    await kept.store.delete(key)
    with pytest.raises(NotFound):
        await kept.store.get(key)
    assert len(await kept.archive.newest_rows(ROOM)) == 100
    assert kept.archive.fresh({}) == 1


SOURCE = """
time: {column: when, period: 10min}
key: id
window: 50
lags: 2
"""


def of_source(name: str, target: str, features: str = "") -> StreamDefinition:
    return parse(f"name: {name}\nsource: station\ntarget: {target}\nfeatures: {{{features}}}{SOURCE}", name)


def rows_of(stream: StreamDefinition, first: int, value: float) -> Rows:
    t = np.arange(first, first + 50) * 600_000
    return Rows(np.full(50, KEY), t, np.full((50, len(stream.columns)), value))


async def test_a_stream_that_is_added_to_a_source_learns_from_what_the_source_has_archived(
    tmp_path: Path, reading: Reading
):
    temperature, added = of_source("temperature", "temp"), of_source("humidity", "hum", "temp: level")
    store = FolderStore(tmp_path)
    # Before the stream had that source, before the other was there, and since.
    parts = [
        ("temperature", temperature),
        ("station", joined([temperature])),
        ("station", joined([temperature, added])),
    ]
    for number, (folder, definition) in enumerate(parts):
        name = WindowName(number * 50 * 600_000, (number * 50 + 49) * 600_000, "edge").format()
        body = tables.encode(rows_of(definition, 50 * number, number), definition)
        await store.put(f"windows/{folder}/{KEY}/{name}", body)
    expected = {
        "temperature": [[0.0], [1.0], [2.0]],
        "humidity": [[np.nan, 1.0], [2.0, 2.0]],
    }
    for stream in (temperature, added):
        trainers = Kept(store, stream, reading)
        await trainers.archive.refresh()
        rows = (await trainers.archive.newest_rows(ROOM)).by_key()[KEY]
        np.testing.assert_array_equal(rows.values[::50], expected[stream.name])
        assert trainers.metric("files_set_aside_total", kind="windows") == 0
