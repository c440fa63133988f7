"""What was known ahead: read from the store, learned from, and never before it was issued."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from driftline.errors import InvalidInput
from driftline.metrics import Metrics
from driftline.store.folder import FolderStore
from driftline.store.windows import WindowName
from driftline.streams import tables
from driftline.streams.bounds import MEBIBYTE
from driftline.streams.definition_files import parse
from driftline.streams.rows import FutureRows, Rows
from driftline_trainer.datasets import building
from driftline_trainer.fit import Task, train
from driftline_trainer.futures import FutureFiles
from driftline_trainer.history import HistoryFiles
from driftline_trainer.reading import Reading
from driftline_trainer.set_aside import SetAside
from driftline_trainer.settings import TrainerSettings
from driftline_trainer.training_rows import TrainingRows

HOUR_MS = 3_600_000
FIRST = 1_420_070_400_000
STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nhorizon: [1, 3]\nfutures: {f: level}\n"
    "training: {units: [16], networks: 1, steps: 800, dropout: 0}\n",
    "a.yaml",
)
TRUTH = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nhorizon: [1, 3]\n", "a.yaml")


def walk(hours: int) -> Rows:
    """What nobody can forecast from its past."""
    y = np.random.default_rng(3).normal(size=hours).cumsum()
    return Rows(np.full(hours, "k"), FIRST + np.arange(hours) * HOUR_MS, y[:, None])


def known_ahead(rows: Rows, before: int) -> FutureRows:
    """The truth itself, issued so many hours before its time."""
    return FutureRows(rows.keys, rows.t - before * HOUR_MS, rows.t, rows.values[:, :1].copy())


def test_who_knows_the_truth_ahead_learns_it_and_who_gets_it_later_does_not():
    rows = walk(3000)
    skills = [train(Task(STREAM, rows.with_futures([known_ahead(rows, before)]))).metrics["skill"] for before in (3, 0)]
    assert skills[0] > 0.9
    assert skills[1] < 0.1


def test_of_what_comes_two_hours_ahead_one_step_is_known_and_three_are_not():
    rows = walk(500)
    built = building.build(rows.with_futures([known_ahead(rows, 2)]), STREAM)
    # Behind everything else: the moves of both horizons, and their levels.
    moves = built.inputs[:, -4:-2]
    np.testing.assert_allclose(moves[:, 0], built.targets[:, 0], atol=1e-4)
    assert (moves[:, 1] == 0).all()


def test_without_futures_all_of_them_are_missing():
    rows = walk(500)
    built, plain = building.build(rows, STREAM), building.build(rows, TRUTH)
    np.testing.assert_array_equal(built.inputs[:, :-4], plain.inputs)
    assert (built.inputs[:, -4:] == 0).all()


def test_a_key_keeps_its_futures_under_a_short_name():
    rows = walk(200)
    part = Rows(np.array(["some long name"] * 200), rows.t, rows.values)
    with_futures = part.with_futures([FutureRows(part.keys, rows.t, rows.t, rows.values), known_ahead(rows, 3)])
    short = with_futures.with_short_keys()
    assert set(short.futures.keys.tolist()) == set(short.keys.tolist())
    assert len(short.futures) == 200


@pytest.fixture
def reading() -> Iterator[Reading]:
    child = Reading(TrainerSettings().means)
    yield child
    child.close()


def aside_of(store: FolderStore) -> SetAside:
    return SetAside(store, STREAM, Metrics(), lambda: 0.0)


async def test_files_and_windows_of_futures_are_read_and_what_can_not_be_used_is_set_aside(tmp_path, reading: Reading):
    store, rows = FolderStore(tmp_path), walk(300)
    early, late = known_ahead(rows.take(slice(0, 100)), 3), known_ahead(rows.take(slice(200, 300)), 3)
    window = WindowName(int(late.issued[0]), int(late.issued[-1]), "edge").format()
    text = "".join(f"2015-01-01T0{n}:00:00Z,2015-01-01T0{n + 1}:00:00Z,k,{n}\n" for n in range(5))
    await store.put("history/a/futures-2015.csv", f"issued,when,id,f\n{text}".encode())
    await store.put("history/a/futures.parquet", tables.encode_futures(early, STREAM))
    await store.put(f"futures/a/k/{window}", tables.encode_futures(late, STREAM))
    await store.put(f"futures/a/other/{window}", tables.encode_futures(late, STREAM))
    await store.put("history/a/futures-bad.csv", b"issued,when,id,f\n2015-01-02T00:00:00Z,2015-01-01T00:00:00Z,k,1\n")
    await store.put("history/a/all.parquet", tables.encode(rows, STREAM))
    files, aside = FutureFiles(store, reading, limit=1_000_000, window_limit=1_000_000), aside_of(store)
    found_rows = await files.with_futures(rows, STREAM, aside, 10_000)
    assert len(found_rows.futures) == 5 + 100 + 100
    # One window's rows are not those of its folder's key, and one file knows its values after their time.
    assert len([mark async for mark in store.list("aside/")]) == 2
    newest_alone = await files.with_futures(rows.take(slice(290, 300)), STREAM, aside, 10_000)
    assert len(newest_alone.futures) == 5 + 100 + 100
    history = HistoryFiles(store, tmp_path, reading, limit=1_000_000)
    assert await history.any(STREAM, aside)
    assert len(await history.named(STREAM, "history/a/all.parquet")) == 300


async def test_windows_that_were_issued_long_before_are_not_read(tmp_path: Path, reading: Reading):
    store, rows = FolderStore(tmp_path), walk(300)
    early = known_ahead(rows.take(slice(0, 100)), 3)
    window = WindowName(int(early.issued[0]), int(early.issued[-1]), "edge").format()
    await store.put(f"futures/a/k/{window}", tables.encode_futures(early, STREAM))
    files = FutureFiles(store, reading, limit=1_000_000, window_limit=1_000_000)
    assert len((await files.with_futures(rows.take(slice(200, 300)), STREAM, aside_of(store), 10_000)).futures) == 0
    assert len((await files.with_futures(rows, STREAM, aside_of(store), 10_000)).futures) == 100


@contextmanager
def rows_over(store: FolderStore, settings: TrainerSettings) -> Iterator[TrainingRows]:
    training_rows = TrainingRows(settings, store, {STREAM.name: STREAM}, lambda: 0.0, Metrics())
    try:
        yield training_rows
    finally:
        training_rows.close()


async def test_a_window_of_futures_is_held_to_the_bytes_of_a_window(tmp_path: Path):
    store, rows = FolderStore(tmp_path), walk(300)
    futures = known_ahead(rows, 3)
    window = WindowName(int(futures.issued[0]), int(futures.issued[-1]), "edge").format()
    body = tables.encode_futures(futures, STREAM)
    size = len(body)
    await store.put(f"futures/a/k/{window}", body)
    await store.put("history/a/futures.parquet", body)
    for window_bytes, count in ((size, 600), (size - 1, 300)):
        with rows_over(store, TrainerSettings(window_bytes=window_bytes, history_bytes=size)) as training_rows:
            assert len((await training_rows._with_futures(STREAM, rows)).futures) == count


async def peak_bytes(store: FolderStore, files: int, size: int) -> int:
    """Of reading so many history files of futures; none can be used, and so nothing of them stays."""
    for n in range(files):
        await store.put(f"history/a/futures-{n}.csv", bytes(size))
    with rows_over(store, TrainerSettings()) as training_rows:
        tracemalloc.start()
        try:
            await training_rows._with_futures(STREAM, walk(300))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


async def test_history_files_of_futures_lie_in_memory_one_by_one(tmp_path: Path):
    two, eight = [await peak_bytes(FolderStore(tmp_path / str(files)), files, 4 * MEBIBYTE) for files in (2, 8)]
    assert eight < 1.2 * two


def test_a_table_that_knows_a_value_after_its_time_is_refused_with_both_times():
    lines = (f"2015-01-0{day}T00:00:00Z,2015-01-01T00:00:00Z,k,1" for day in (1, 2))
    body = "\n".join(["issued,when,id,f", *lines]).encode()
    expected = "column 'issued': found 2015-01-02T00:00:00.000Z in row 2, expected at most 2015-01-01T00:00:00.000Z"
    with pytest.raises(InvalidInput, match=expected):
        tables.decode_futures(body, STREAM, "futures.csv")


def test_a_table_of_futures_needs_all_its_columns():
    with pytest.raises(
        InvalidInput, match=r"found no column 'issued' among .* expected \['issued', 'when', 'id', 'f'\]"
    ):
        tables.decode_futures(b"when,id,f\n2015-01-01T00:00:00Z,k,1\n", STREAM, "futures.csv")
