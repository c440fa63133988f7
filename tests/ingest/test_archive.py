"""Windows depend on the topic alone: whatever is cut, killed or replayed, the same names and the same bytes."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from driftline.bus.port import Envelope
from driftline.errors import StoreUnavailable, Unstorable
from driftline.messages import Blend, Record
from driftline.metrics import Metrics
from driftline.store.folder import FolderStore
from driftline.store.windows import parse as parse_name
from driftline.streams import tables
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows, concatenate
from driftline_ingest.archive import ArchiveStep
from driftline_ingest.census import Census
from driftline_ingest.open_windows import Progress
from driftline_ingest.packing import FullWindow
from driftline_ingest.sink import WindowArchive, WindowSink
from driftline_ingest.windows import BlendWindows, RecordWindows

STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {x: level}\nwindow: 5\n", "a.yaml"
)
STREAMS = {"a": STREAM}
EDGE = "4f2a91"
HOUR_MS = 3_600_000


async def edge() -> str:
    return EDGE


LATE = 3
"""After so many messages a truth that was missing is brought."""


def envelopes(keys: list[str]) -> list[Envelope[Record]]:
    return [
        Envelope(0, n, 0.0, Record("a", key, n * 3_600_000, {"y": float(n), "x": None}, 0.0))
        for n, key in enumerate(keys)
    ]


def with_late_truths(keys: list[str]) -> list[Envelope[Record]]:
    """Every second record lacks its target, which comes LATE messages later."""
    records: list[Record] = []
    owed: dict[int, Record] = {}
    for n, key in enumerate(keys):
        whole = Record("a", key, n * HOUR_MS, {"y": float(n), "x": None}, 0.0)
        if n % 2:
            owed[n + LATE] = whole
        records.append(replace(whole, values={"y": None, "x": None}) if n % 2 else whole)
        if n in owed:
            records.append(owed.pop(n))
    return [Envelope(0, offset, 0.0, record) for offset, record in enumerate(records)]


def step(longest_span: int = 50_000, dropped=lambda _stream, _reason: None) -> ArchiveStep[Record]:
    return ArchiveStep(RecordWindows(STREAMS), dropped, longest_span=longest_span)


def content(window: FullWindow) -> bytes:
    return b"".join(row.tobytes() for row in window.rows)


def named(windows: list[FullWindow]) -> Mapping[str, bytes]:
    return {window.name(EDGE): content(window) for window in windows}


def test_messages_that_wait_for_a_full_window_are_kept_and_no_lag():
    archive = step()
    archive.step(envelopes(["k"] * 7))
    assert archive.resume_at(0, 7) == 5
    assert archive.kept(0) == 2
    archive.step([Envelope(0, n, 0.0, e.value) for n, e in enumerate(envelopes(["k"] * 10)) if n > 6])
    assert (archive.resume_at(0, 10), archive.kept(0)) == (10, 0)
    archive.release(0)
    assert archive.kept(0) == 0


KEYS = st.lists(st.sampled_from(["k", "m", "odd/key ü", ".."]), max_size=60)


def test_a_window_is_named_by_its_series_its_times_and_its_edge():
    (window,) = step().step(envelopes(["k/1", "m", "k/1", "k/1", "k/1", "k/1"]))
    assert window.name(EDGE) == "windows/a/k%2F1/000000000000000-000000018000000-4f2a91.parquet"


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
    messages = with_late_truths(keys)
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
        assert again.setdefault(window.name(EDGE), content(window)) == content(window)
    assert again == whole


@given(KEYS, st.integers(0, 60), st.integers(1, 3), st.sampled_from([7, 50_000]))
@settings(deadline=None)
def test_states_may_be_written_and_read_in_parts(keys: list[str], checkpoint: int, limit: int, span: int):
    messages = envelopes(keys)
    first = step(span)
    first.restore(0, {})
    found = first.step(messages[:checkpoint])
    position, second = first.resume_at(0, checkpoint), step(span)
    second.restore(0, {})
    while part := first.snapshot(0, limit):
        assert len(part) <= limit
        second.restore(0, part)
    assert first.snapshot(0) == {}
    found += second.step(messages[position:])
    assert named(found) == named(step(span).step(messages))


def test_a_later_part_of_the_states_wins_and_nothing_forgets_a_series():
    archive = step()
    states: list[dict[str, bytes | None]] = [
        *({"a/k": msgspec.msgpack.encode(Progress(0, t))} for t in (3 * HOUR_MS, HOUR_MS)),
        {"a/m": msgspec.msgpack.encode(Progress(0, 99 * HOUR_MS))},
        {"a/m": None},
    ]
    for part in states:
        archive.restore(0, part)
    windows = archive.step(envelopes(["k"] * 7 + ["m"] * 5))
    assert [(window.key, window.first) for window in windows] == [("k", 2 * HOUR_MS), ("m", 7 * HOUR_MS)]


@given(KEYS, st.integers(0, 60))
@settings(deadline=None)
def test_a_topic_that_was_made_anew_is_archived_from_its_beginning(keys: list[str], lost: int):
    messages = envelopes(keys)
    archive = step()
    archive.restore(0, {})
    before = archive.step(messages[:lost])
    states = archive.snapshot(0)
    again = [Envelope(0, offset, 0.0, each.value) for offset, each in enumerate(messages[lost:])]
    fresh = step()
    fresh.restore(0, states)
    after = fresh.step(again)
    assert named(after) == named(step().step(again))
    assert not named(after).keys() & named(before).keys()


def test_what_was_archived_by_offsets_is_known_and_goes_on_by_time():
    archive = step()
    archive.restore(0, {"a/k": msgspec.msgpack.encode([3, 2 * HOUR_MS, [HOUR_MS]])})
    messages = envelopes(["k"] * 8)
    (window,) = archive.step(messages)
    # Record 1 is the truth that was missing.
    assert [row[1] for row in window.rows] == [1, 3, 4, 5, 6]
    assert (window.first, window.last) == (3 * HOUR_MS, 6 * HOUR_MS)


def test_a_series_that_went_silent_is_written_and_frees_the_position():
    archive = step(longest_span=10)
    windows = archive.step(envelopes(["quiet"] + ["k"] * 12))
    assert "windows/a/quiet/000000000000000-000000000000000-4f2a91.parquet" in named(windows)
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
        packing.pack(
            Blend(
                stream="a",
                key="k",
                t=n * 3_600_000,
                observed=float(n),
                horizon=[1],
                value=[n + 0.5],
                strategy="online",
                strategies={"online": [n + 0.5]},
                weights={"rls": [1.0]},
                members={"rls": [n + 0.5]},
                versions={},
                received=0.0,
            )
        )
        for n in range(3)
    ]
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
    await WindowSink(WindowArchive(store, Metrics()), RecordWindows(STREAMS), edge)(windows)
    assert store.refused == 1
    assert [listed.key async for listed in store.list("windows/")] == [windows[0].name(EDGE)]


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
    async with asyncio.timeout(120):
        await WindowSink(WindowArchive(store, Metrics()), RecordWindows(STREAMS), edge)(windows)
    assert sorted(store.begun) == sorted(window.name(EDGE) for window in windows)
    for key in ("k", "m"):
        of_one = [name for name in store.begun if f"/{key}/" in name]
        assert of_one == sorted(of_one)
        assert len(of_one) == 3


def completed(n: int, offset: int, value: float | None) -> Envelope[Record]:
    return Envelope(0, offset, 0.0, Record("a", "k", n * 3_600_000, {"y": value, "x": 1.0}, 0.0))


SILENT = parse(
    "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {x: level}\nwindow: 5\n"
    "lags: 2\npatience: 1\nforget: 10h\n",
    "a.yaml",
)


def sent(pairs: list[tuple[str, int]], first: int = 0) -> list[Envelope[Record]]:
    return [
        Envelope(0, n, 0.0, Record("a", key, hour * 3_600_000, {"y": float(hour), "x": None}, 0.0))
        for n, (key, hour) in enumerate(pairs, first)
    ]


def forgetting() -> tuple[Census, ArchiveStep[Record]]:
    census = Census({"a": SILENT})
    return census, ArchiveStep(RecordWindows({"a": SILENT}), lambda *_: None, census=census)


def test_a_series_is_known_from_its_first_message_on_and_after_a_restart():
    census, archive = forgetting()
    archive.step(sent([("k", 1), ("m", 1)]))
    states = archive.snapshot(0)
    assert set(states) == {"a/k", "a/m"}
    again, restored = forgetting()
    restored.restore(0, states)
    assert (census.keys("a"), again.keys("a")) == (2, 2)
    restored.release(0)
    assert again.keys("a") == 0


def test_a_silent_series_is_written_then_forgotten_once_no_restart_reads_it_again():
    census, archive = forgetting()
    pairs = [("k", 1), ("m", 1), *(("m", hour) for hour in range(2, 20))]
    windows = archive.step(sent(pairs))
    assert [window.key for window in windows if window.key == "k"] == ["k"]
    assert archive.snapshot(0)["a/k"] is None
    assert census.keys("a") == 1


def test_a_slow_series_is_not_silent_while_its_messages_are_read_again():
    census, archive = forgetting()
    # The window of k that was written last is long past; what came since is in none yet.
    pairs = [(key, hour) for hour in range(1, 6) for key in "km"]
    pairs += [(key, hour) for hour in range(6, 24) for key in ("mk" if hour in (13, 22) else "m")]
    written = archive.step(sent(pairs))
    states, position = archive.snapshot(0), archive.resume_at(0, len(pairs))
    again, restored = forgetting()
    restored.restore(0, states)
    written += restored.step(sent(pairs)[position:])
    assert [len(window.rows) for window in written if window.key == "k"] == [5]
    assert again.keys("a") == census.keys("a") == 2


@given(st.lists(st.tuples(st.sampled_from(["k", "m", "n"]), st.integers(0, 40)), max_size=60), st.integers(0, 60))
@settings(deadline=None)
def test_where_a_batch_is_cut_forgets_the_same(pairs: list[tuple[str, int]], cut: int):
    (_, whole), (_, cutting) = forgetting(), forgetting()
    messages = sent(pairs)
    expected = named(whole.step(messages))
    assert named([*cutting.step(messages[:cut]), *cutting.step(messages[cut:])]) == expected
    if messages:
        assert cutting.snapshot(0) == whole.snapshot(0)


def late(lacking: int, after: int) -> list[Envelope[Record]]:
    """Twelve records, of which one lacks its target, which comes after so many."""
    sent = [(n, None if n == lacking else float(n)) for n in range(12)]
    sent.insert(after, (lacking, float(lacking)))
    return [completed(n, offset, value) for offset, (n, value) in enumerate(sent)]


def rows_of(windows: list[FullWindow]) -> Rows:
    packing = RecordWindows(STREAMS)
    parts = [tables.decode(packing.encode(w.stream, w.key, w.rows), STREAM, w.name(EDGE)) for w in windows]
    return concatenate(parts).by_key()["k"]


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


SENT = st.lists(st.tuples(st.sampled_from("km"), st.integers(-6, 2), st.booleans()), max_size=40)
"""Of each message its key, how far it is from the newest of that key, and whether it brings the target."""
IMPATIENT = STREAM.model_copy(update={"patience": 2})


def as_sent(sent: list[tuple[str, int, bool]]) -> list[Envelope[Record]]:
    newest: dict[str, int] = {}
    found = []
    for offset, (key, ahead, there) in enumerate(sent):
        t = max(0, newest.get(key, 0) + ahead)
        newest[key] = max(t, newest.get(key, 0))
        found.append(
            Envelope(0, offset, 0.0, Record("a", key, t, {"y": float(offset) if there else None, "x": 0.0}, 0))
        )
    return found


def impatient(span: int) -> ArchiveStep[Record]:
    return ArchiveStep(RecordWindows({"a": IMPATIENT}), lambda _stream, _reason: None, longest_span=span)


@given(SENT, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=3), st.sampled_from([4, 9, 50_000]))
@settings(deadline=None, max_examples=300)
def test_late_repeated_and_missing_records_make_the_same_windows_whatever_is_killed(
    sent: list[tuple[str, int, bool]], restarts: list[tuple[int, int]], span: int
):
    messages = as_sent(sent)
    whole = impatient(span).step(messages)
    names = [window.name(EDGE) for window in whole]
    assert len(names) == len(set(names)), "each has a name of its own"
    archive, position, found = impatient(span), 0, list[FullWindow]()
    archive.restore(0, {})
    states: dict[str, bytes] = {}
    for checkpoint, killed in restarts:
        found += archive.step(messages[position : max(position, checkpoint)])
        states |= archive.snapshot(0)
        saved = archive.resume_at(0, max(position, min(checkpoint, len(messages))))
        found += archive.step(messages[max(position, checkpoint) : max(position, checkpoint, killed)])
        archive, position = impatient(span), saved
        archive.restore(0, states)
    found += archive.step(messages[position:])
    contents: dict[str, bytes] = {}
    for window in found:
        assert contents.setdefault(window.name(EDGE), content(window)) == content(window)
    assert contents == named(whole)
    for key in "km":
        of_one = [name for name in names if f"/{key}/" in name]
        assert of_one == sorted(of_one)


def rarely(truths: list[int]) -> list[Envelope[Record]]:
    """Single records of a series, an hour apart and each without its target, then truths for some of them; so rarely
    that each is a window of its own."""
    sent = [(0, None), (1, None), (2, None), *((n, float(n)) for n in truths), (3, 3.0)]
    return [completed(n, 100 * place, value) for place, (n, value) in enumerate(sent)]


def others(messages: list[Envelope[Record]]) -> list[Envelope[Record]]:
    """With a record of another series after each, by which it is overdue."""
    pairs = ((each, Envelope(0, each.offset + 50, 0.0, Record("a", "m", each.offset, each.value.values, 0.0)))
             for each in messages)  # fmt: skip
    return [each for pair in pairs for each in pair]


@given(st.permutations([0, 1, 2]).map(list), st.integers(0, 14))
@settings(deadline=None)
def test_windows_of_late_truths_alone_have_names_of_their_own_in_their_order(truths: list[int], cut: int):
    messages = others(rarely(truths))
    whole = [window for window in step(10).step(messages) if window.key == "k"]
    names = [window.name(EDGE) for window in whole]
    assert len(names) == len(set(names)) == 7
    assert names == sorted(names)
    assert [parse_name(name.rpartition("/")[2]) for name in names].count(None) == 0
    assert rows_of(whole).values[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]
    first = step(10)
    first.restore(0, {})
    written = first.step(messages[:cut])
    position = next((n for n, m in enumerate(messages) if m.offset >= first.resume_at(0, 50 * cut)), len(messages))
    second = step(10)
    second.restore(0, first.snapshot(0))
    written += second.step(messages[position:])
    assert [w.name(EDGE) for w in written if w.key == "k"] == names


class FullStore(FolderStore):
    """A real store that takes no name with more characters than it says."""

    def __init__(self, root: Path, longest: int) -> None:
        super().__init__(root)
        self._longest = longest

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if len(key) > self._longest:
            raise Unstorable(f"found a key of {len(key)} characters, expected at most {self._longest}")
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


async def test_what_the_store_will_never_take_is_left_out_and_the_rest_goes_on(tmp_path: Path, caplog):
    windows = step().step(envelopes(["k", "a key that is too long for this store"] * 10))
    metrics, store = Metrics(), FullStore(tmp_path, longest=80)
    await WindowSink(WindowArchive(store, metrics), RecordWindows(STREAMS), edge)(windows)
    assert len([listed async for listed in store.list("windows/a/k/")]) == 2
    assert counted(metrics, "windows_left_out", reason="never") == 2
    assert counted(metrics, "windows_archived") == 2
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "expected at most 80" in caplog.text


async def test_what_lies_there_under_a_window_s_name_stays(tmp_path: Path):
    (window,) = step().step(envelopes(["k"] * 5))
    metrics, store = Metrics(), FolderStore(tmp_path)
    await store.put(window.name(EDGE), b"from before the restart")
    await WindowSink(WindowArchive(store, metrics), RecordWindows(STREAMS), edge)([window])
    assert (await store.get(window.name(EDGE))).body == b"from before the restart"
    assert counted(metrics, "windows_left_out", reason="repeated") == 1
    assert counted(metrics, "windows_archived") == 0


def counted(metrics: Metrics, name: str, reason: str | None = None) -> float:
    labels = {"stream": "a", "kind": "windows"} | ({"reason": reason} if reason else {})
    return metrics.registry.get_sample_value(f"driftline_{name}_total", labels) or 0.0


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


PERIOD_MS = 600_000
LOGGER = parse("name: a\ntime: {column: when, period: 10min}\nkey: id\ntarget: y\nwindow: 50\n", "a.yaml")


def observed(ticks: Sequence[int]) -> list[Envelope[Record]]:
    return [
        Envelope(0, offset, 0.0, Record("a", "k", tick * PERIOD_MS, {"y": float(tick)}, 0.0))
        for offset, tick in enumerate(ticks)
    ]


def of_logger(dropped: list[str]) -> ArchiveStep[Record]:
    return ArchiveStep(RecordWindows({"a": LOGGER}), lambda _stream, reason: dropped.append(reason), longest_span=400)


def learned(windows: Sequence[FullWindow]) -> Rows:
    """As the trainer reads them."""
    packing = RecordWindows({"a": LOGGER})
    parts = [tables.decode(packing.encode(w.stream, w.key, w.rows), LOGGER, w.name(EDGE)) for w in windows]
    return concatenate(parts)


NEWEST_FIRST = [*range(20), 164, *range(163, 19, -1), *range(165, 700)]
OLDEST_FIRST = [*range(20), 164, *range(20, 164), *range(165, 700)]
FIRST_OF_ALL = [144, *range(143, -1, -1), *range(145, 700)]


@pytest.mark.parametrize("ticks", [NEWEST_FIRST, OLDEST_FIRST, FIRST_OF_ALL])
@pytest.mark.parametrize("copies", [1, 2])
def test_a_day_from_the_memory_of_a_logger_is_archived_once(ticks: list[int], copies: int):
    dropped: list[str] = []
    sent = [tick for tick in ticks for _ in range(copies)] if copies > 1 else ticks
    rows = learned(of_logger(dropped).step(observed(sent)))
    assert np.bincount(rows.t // PERIOD_MS).max() == 1, "none is archived twice"
    assert rows.by_key()["k"].t.tolist() == [n * PERIOD_MS for n in range(len(rows.t))]
    assert len(rows.t) >= 600
    assert len(dropped) == (copies - 1) * len(ticks)


@given(st.sampled_from([NEWEST_FIRST, OLDEST_FIRST, FIRST_OF_ALL]), st.integers(1, 700), st.integers(0, 200))
@settings(deadline=None, max_examples=60)
def test_where_a_restart_cuts_the_memory_of_a_logger_makes_no_difference(ticks: list[int], cut: int, more: int):
    messages = observed(ticks)
    whole = named(of_logger([]).step(messages))
    first = of_logger([])
    written = first.step(messages[:cut])
    states, position = first.snapshot(0), first.resume_at(0, cut)
    written += first.step(messages[cut : cut + more])
    second = of_logger([])
    second.restore(0, states)
    written += second.step(messages[position:])
    assert named(written) == whole


def test_late_rows_are_taken_as_far_back_as_a_series_is_remembered():
    dropped: list[str] = []
    patient = LOGGER.longest_silence // PERIOD_MS
    windows = of_logger(dropped).step(observed([0, patient + 5, 3, 6, *range(patient + 6, patient + 100)]))
    assert dropped == ["out_of_order"]
    assert learned(windows).by_key()["k"].t[:3].tolist() == [0, 6 * PERIOD_MS, (patient + 5) * PERIOD_MS]
