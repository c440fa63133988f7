"""Windows depend on offsets alone: whatever is cut, killed or replayed, the same names and the same bytes."""

import asyncio
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline import tables
from driftline.bus import Envelope
from driftline.definition import parse
from driftline.errors import StoreUnavailable
from driftline.folder import FolderStore
from driftline.messages import Blend, Record
from driftline.metrics import Metrics
from driftline_ingest.archive import ArchiveStep, Window
from driftline_ingest.sink import WindowSink
from driftline_ingest.windows import BlendWindows, RecordWindows

STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {x: level}\nwindow: 5\n", "a.yaml"
)
STREAMS = {"a": STREAM}


def envelopes(keys: list[str]) -> list[Envelope[Record]]:
    return [
        Envelope(0, n, 0.0, Record("a", key, n * 3_600_000, {"y": float(n), "x": None}, 0.0))
        for n, key in enumerate(keys)
    ]


def step(longest_span: int = 50_000, dropped=lambda _stream, _reason: None) -> ArchiveStep[Record]:
    return ArchiveStep(RecordWindows(STREAMS), dropped, longest_span=longest_span)


def content(window: Window) -> bytes:
    return b"".join(row.tobytes() for row in window.rows)


def named(windows: list[Window]) -> Mapping[str, bytes]:
    return {window.name: content(window) for window in windows}


KEYS = st.lists(st.sampled_from(["k", "m", "odd/key ü"]), max_size=60)


def test_a_window_is_named_by_its_series_and_offsets():
    (window,) = step().step(envelopes(["k/1", "m", "k/1", "k/1", "k/1", "k/1"]))
    assert window.name == "windows/a/k%2F1/000000000000-000000000005.parquet"


@given(KEYS, st.lists(st.integers(0, 60), max_size=5), st.sampled_from([7, 50_000]))
@settings(deadline=None)
def test_where_a_batch_is_cut_makes_no_difference(keys: list[str], cuts: list[int], span: int):
    messages = envelopes(keys)
    whole = named(step(span).step(messages))
    cutting, found = step(span), []
    bounds = [0, *sorted(min(cut, len(messages)) for cut in cuts), len(messages)]
    for begin, end in pairwise(bounds):
        found += cutting.step(messages[begin:end])
    assert named(found) == whole


@given(KEYS, st.integers(0, 60), st.integers(0, 60), st.sampled_from([7, 50_000]))
@settings(deadline=None)
def test_killed_and_restored_it_writes_the_same_windows(keys: list[str], checkpoint: int, killed: int, span: int):
    messages = envelopes(keys)
    whole = named(step(span).step(messages))
    first, found = step(span), []
    first.restore(0, {})
    checkpoint = min(checkpoint, len(messages))
    found += first.step(messages[:checkpoint])
    states, position = first.snapshot(0), first.resume_at(0, checkpoint)
    found += first.step(messages[checkpoint : max(checkpoint, killed)])
    second = step(span)
    second.restore(0, states)
    found += second.step(messages[position:])
    again: dict[str, bytes] = {}
    for window in found:
        assert again.setdefault(window.name, content(window)) == content(window)
    assert again == whole


def test_a_series_that_went_silent_is_written_and_frees_the_position():
    archive = step(longest_span=10)
    windows = archive.step(envelopes(["quiet"] + ["k"] * 12))
    assert "windows/a/quiet/000000000000-000000000000.parquet" in named(windows)
    assert archive.resume_at(0, 13) == 11


def test_repeated_and_late_records_are_in_no_window():
    counted = []
    archive = step(dropped=lambda _, reason: counted.append(reason))
    messages = envelopes(["k"] * 6)
    doubled = [messages[0], *[Envelope(0, n + 1, 0.0, m.value) for n, m in enumerate([messages[0], *messages[1:]])]]
    (window,) = archive.step(doubled)
    assert [row[1] for row in window.rows] == [0, 1, 2, 3, 4]
    assert counted == ["repeated"]


def test_a_training_window_is_a_table_of_the_stream():
    (window,) = step().step(envelopes(["k"] * 5))
    rows = tables.decode(RecordWindows(STREAMS).encode("a", "k", window.rows), STREAM, "window")
    assert rows.t.tolist() == [n * 3_600_000 for n in range(5)]
    np.testing.assert_array_equal(rows.values, [[n, np.nan] for n in range(5)])
    assert set(rows.keys) == {"k"}


def test_a_result_holds_forecasts_beside_the_truth_that_came(tmp_path: Path):
    packing = BlendWindows(STREAMS)
    rows = [
        packing.pack(Blend("a", "k", n, float(n), [1], [n + 0.5], "online", {"online": [n + 0.5]}, {"rls": [1.0]},
                           {"rls": [n + 0.5]}, {}, 0.0))
        for n in range(3)
    ]  # fmt: skip
    (tmp_path / "r.parquet").write_bytes(packing.encode("a", "k", rows))
    found = pq.read_table(tmp_path / "r.parquet").to_pydict()
    assert found["observed"] == [0.0, 1.0, 2.0]
    assert found["truth_1"] == [1.0, 2.0, None]
    assert found["blend_1"] == found["online_1"] == found["rls_1"] == [0.5, 1.5, 2.5]
    assert found["weight_rls_1"] == [1.0] * 3
    assert found["batch_1"] == [None] * 3


class AwayStore(FolderStore):
    """A real store that is away until it is told to come back."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.back = asyncio.Event()
        self.refused = 0

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if not self.back.is_set():
            self.refused += 1
            self.back.set()
            raise StoreUnavailable("the store is away")
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


async def test_a_store_that_is_away_is_waited_for(tmp_path: Path):
    store = AwayStore(tmp_path)
    windows = step().step(envelopes(["k"] * 5))
    await WindowSink(store, RecordWindows(STREAMS), Metrics())(windows)
    assert store.refused == 1
    assert [listed.key async for listed in store.list("windows/")] == [windows[0].name]


class SlowStore(FolderStore):
    """A real store whose first puts end when as many are under way as are expected at once."""

    def __init__(self, root: Path, expected: int) -> None:
        super().__init__(root)
        self.together = asyncio.Barrier(expected)
        self.begun: list[str] = []

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        self.begun.append(key)
        if len(self.begun) <= self.together.parties:
            await self.together.wait()
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


async def test_windows_of_several_series_are_written_at_once_and_those_of_one_in_order(tmp_path: Path):
    windows = step().step(envelopes(["k", "m"] * 15))
    store = SlowStore(tmp_path, expected=2)
    async with asyncio.timeout(60):
        await WindowSink(store, RecordWindows(STREAMS), Metrics())(windows)
    assert sorted(store.begun) == sorted(window.name for window in windows)
    for key in ("k", "m"):
        of_one = [name for name in store.begun if f"/{key}/" in name]
        assert of_one == sorted(of_one)
        assert len(of_one) == 3


def completed(n: int, offset: int, value: float | None) -> Envelope[Record]:
    return Envelope(0, offset, 0.0, Record("a", "k", n * 3_600_000, {"y": value, "x": 1.0}, 0.0))


def late(lacking: int, after: int) -> list[Envelope[Record]]:
    """Twelve records, of which one lacks its target, which comes after so many."""
    sent = [(n, None if n == lacking else float(n)) for n in range(12)]
    sent.insert(after, (lacking, float(lacking)))
    return [completed(n, offset, value) for offset, (n, value) in enumerate(sent)]


def rows_of(windows: list[Window]) -> tables.Rows:
    packing = RecordWindows(STREAMS)
    parts = [tables.decode(packing.encode(w.stream, w.key, w.rows), STREAM, w.name) for w in windows]
    return tables.concatenate(parts).by_key()["k"]


def test_a_target_that_comes_late_completes_its_row():
    dropped: list[str] = []
    for after in (4, 8):
        windows = step(dropped=lambda _stream, reason: dropped.append(reason)).step(late(3, after))
        rows = rows_of(windows)
        assert rows.t.tolist() == sorted(set(rows.t.tolist()))
        assert rows.values[:4, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert dropped == []


@given(st.integers(1, 13), st.integers(4, 12))
@settings(deadline=None)
def test_where_a_restart_cuts_a_late_target_makes_no_difference(cut: int, after: int):
    messages = late(3, after)
    whole = step().step(messages)
    first = step()
    written = first.step(messages[:cut])
    states, position = first.snapshot(0), first.resume_at(0, cut)
    second = step()
    second.restore(0, states)
    written += second.step(messages[position:])
    assert named(written) == named(whole)


ARRIVED = 1_772_366_400.0
T, FUTURE = round(ARRIVED * 1000), 4_102_358_400_000


def arriving(times: list[int], first: int = 0) -> list[Envelope[Record]]:
    return [
        Envelope(0, n, ARRIVED, Record("a", "k", t, {"y": 1.0, "x": None}, ARRIVED)) for n, t in enumerate(times, first)
    ]


@given(st.integers(0, 7))
@settings(deadline=None)
def test_a_time_from_the_future_neither_silences_a_series_nor_gets_into_its_windows(cut: int):
    sent = arriving([T - 7_200_000, T - 3_600_000, FUTURE, T, T + 1, T + 2, FUTURE, T + 3])
    archive = step()
    (window,) = [*archive.step(sent[:cut]), *archive.step(sent[cut:])]
    assert [int(row[0]) for row in window.rows] == [T - 7_200_000, T - 3_600_000, T, T + 1, T + 2]


def test_a_series_that_was_silenced_before_a_restart_is_archived_again():
    poisoned, renewed = step(longest_span=1), step()
    poisoned.step(
        [
            *arriving([FUTURE]),
            *(Envelope(0, n, ARRIVED, Record("a", "m", T + n, {"y": 1.0, "x": None}, ARRIVED)) for n in (1, 2)),
        ]
    )
    renewed.restore(0, poisoned.snapshot(0))
    (window,) = renewed.step(arriving([T + n for n in range(5)], first=3))
    assert [int(row[0]) for row in window.rows] == [T + n for n in range(5)]
