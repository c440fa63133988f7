"""Known futures at the door, and on their way into the store."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from driftline.bus.memory import MemoryBus
from driftline.bus.port import Assignment, Envelope
from driftline.messages import RECORDS, Record
from driftline.store.folder import FolderStore
from driftline.streams import tables
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_ingest.app import create_app
from driftline_ingest.archive import ArchiveStep
from driftline_ingest.settings import IngestSettings
from driftline_ingest.windows import FutureWindows, RecordWindows
from tests.ingest.published import published

BASE = "time: {column: when, period: 1h}\nkey: id\ntarget: y\nwindow: 5\n"
STREAM = parse(f"name: a\n{BASE}futures: {{f: level, d: angle}}\n", "a.yaml")
SITES = parse(f"name: a\n{BASE}futures: {{f: level, d: angle}}\ngroup: site\n", "a.yaml")
PLAIN = parse(f"name: plain\n{BASE}", "plain.yaml")
HOUR_MS = 3_600_000
FIRST = 1_420_070_400_000
PATIENCE_S = 10


def at(hour: int) -> str:
    return f"2015-01-01T{hour:02d}:00:00Z"


def row(issued: int, hour: int, f: object = 1.0, **more: object) -> dict[str, object]:
    return {"issued": at(issued), "when": at(hour), "id": "k", "f": f, "d": None, **more}


@asynccontextmanager
async def door(bus: MemoryBus, folder: Path, *streams: StreamDefinition, **changes: Any) -> AsyncIterator[Any]:
    known = {stream.name: stream for stream in streams or (STREAM,)}
    app = create_app(IngestSettings(**changes), bus, FolderStore(folder), streams=known)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://ingest") as client,
    ):
        yield client


async def test_a_future_is_a_message_among_the_records_that_says_when_it_was_issued(tmp_path: Path):
    bus = MemoryBus(1)
    async with door(bus, tmp_path) as client:
        answer = await client.post("/v1/futures", json=[row(1, 3), row(1, 4, None)])
        assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
        csv = "issued,when,id,f,d\n2015-01-01T02:00:00Z,2015-01-01T02:00:00Z,k,5,90\n"
        assert (await client.post("/v1/futures", content=csv, headers={"Content-Type": "text/csv"})).status_code == 202
        records = await published(bus, 3)
        assert 'driftline_futures_total{stream="a"} 3.0' in (await client.get("/metrics")).text
    assert [(record.t, record.issued) for record in records] == [
        (FIRST + 3 * HOUR_MS, FIRST + HOUR_MS),
        (FIRST + 4 * HOUR_MS, FIRST + HOUR_MS),
        (FIRST + 2 * HOUR_MS, FIRST + 2 * HOUR_MS),
    ]
    assert [record.values for record in records] == [{"f": 1, "d": None}, {"f": None, "d": None}, {"f": 5, "d": 90}]


async def test_one_that_comes_after_its_time_is_refused_with_both_times(tmp_path: Path):
    async with door(MemoryBus(1), tmp_path) as client:
        answer = await client.post("/v1/futures", json=[row(5, 4), row(4, 4)])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert answer.json()["refused"] == [
        {
            "row": 1,
            "column": "issued",
            "found": "'2015-01-01T05:00:00.000Z'",
            "expected": "at most 2015-01-01T04:00:00.000Z, the time that it is for",
        }
    ]


@pytest.mark.parametrize(
    ("wrong", "column", "expected"),
    [
        ({"issued": "2099-01-01T00:00:00Z", "when": "2099-01-02T00:00:00Z"}, "issued", "at most "),
        ({"issued": "yesterday"}, "issued", "a time such as"),
        ({"f": "warm"}, "f", "a number between"),
        ({"issued": None}, "issued", "a time such as"),
    ],
)
async def test_what_is_no_future_is_refused(tmp_path: Path, wrong: dict[str, object], column: str, expected: str):
    async with door(MemoryBus(1), tmp_path) as client:
        answer = await client.post("/v1/futures", json={**row(1, 3), **wrong})
        (refused,) = answer.json()["refused"]
        assert (answer.status_code, refused["column"]) == (422, column)
        assert refused["expected"].startswith(expected)
        # The time that it is for may be far ahead.
        assert (await client.post("/v1/futures", json=row(1, 3, when="2098-01-01T00:00:00Z"))).status_code == 202


async def test_a_stream_without_futures_takes_none(tmp_path: Path):
    async with door(MemoryBus(1), tmp_path, STREAM, PLAIN) as client:
        answer = await client.post("/v1/futures?stream=plain", json=row(1, 3))
    assert answer.status_code == 422
    assert "'plain', expected none: its definition has no `futures`" in answer.json()["detail"]


def envelopes(messages: list[Record]) -> list[Envelope[Record]]:
    return [Envelope(0, n, 0.0, message) for n, message in enumerate(messages)]


def hours(count: int) -> list[Record]:
    """Records, and after each of them what is issued for 30 hours to come; before the first of them, too."""
    sent: list[Record] = []
    for hour in range(count):
        issued = FIRST + hour * HOUR_MS
        sent += [
            Record("a", "k", issued + ahead * HOUR_MS, {"f": 1.0 * ahead, "d": None}, 0.0, issued=issued)
            for ahead in range(30)
        ]
        sent.append(Record("a", "k", issued, {"y": 1.0}, 0.0))
    return sent


def new_step(span: int = 50_000) -> ArchiveStep[Record]:
    return ArchiveStep(RecordWindows({"a": STREAM}), lambda *_: None, longest_span=span)


def test_what_was_issued_is_archived_in_windows_of_its_own_that_cut_no_issue():
    windows = new_step().step(envelopes(hours(80)))
    futures = [window for window in windows if window.kind == "futures"]
    assert len(windows) - len(futures) == 80 // 5
    # 34 issues of 30 are the first to be a thousand; what came before the series' first record is nobody's.
    assert [(len(window.rows), window.first, window.last) for window in futures] == [
        (1020, FIRST + HOUR_MS, FIRST + 34 * HOUR_MS),
        (1020, FIRST + 35 * HOUR_MS, FIRST + 68 * HOUR_MS),
    ]
    assert futures[0].name("e1") == "futures/a/k/001420074000000-001420192800000-e1.parquet"
    body = FutureWindows({"a": STREAM}).encode("a", "k", futures[0].rows)
    rows = tables.decode_futures(body, STREAM, "futures.parquet")
    assert (rows.issued[0], rows.t[0], rows.values[1, 0]) == (FIRST + HOUR_MS, FIRST + HOUR_MS, 1.0)
    assert np.isnan(rows.values[:, 1]).all()


@pytest.mark.parametrize("cut", [700, 1100, 2000])
def test_after_a_restart_the_same_windows_are_written(cut: int):
    sent = envelopes(hours(80))
    whole = [(window.kind, window.first, window.last, len(window.rows)) for window in new_step().step(sent)]
    before, after = new_step(), new_step()
    written = before.step(sent[:cut])
    position = before.resume_at(0, cut)
    after.restore(0, before.snapshot(0))
    written += after.step(sent[position:])
    assert [(window.kind, window.first, window.last, len(window.rows)) for window in written] == whole


def test_futures_of_a_series_that_went_silent_hold_the_position_back_only_so_long():
    step = new_step(span=100)
    sent = [*hours(2), *(Record("a", "other", FIRST + n * HOUR_MS, {"y": 1.0}, 0.0) for n in range(200))]
    windows = step.step(envelopes(sent))
    assert [len(window.rows) for window in windows if window.kind == "futures"] == [30]


def test_windows_of_one_issue_that_is_cut_or_corrected_have_names_of_their_own():
    record = Record("a", "k", FIRST, {"y": 1.0}, 0.0)
    issue = [Record("a", "k", FIRST + n * HOUR_MS, {"f": 1.0, "d": None}, 0.0, issued=FIRST) for n in range(1, 60)]
    others = [Record("a", "other", FIRST + n * HOUR_MS, {"y": 1.0}, 0.0) for n in range(40)]
    windows = new_step(span=20).step(envelopes([record, *issue, *issue[:5], *others]))
    names = [window.name("e1") for window in windows if window.kind == "futures"]
    assert sum(len(window.rows) for window in windows if window.kind == "futures") == 64
    assert len(names) == len(set(names)) > 2
    assert names[0] == "futures/a/k/001420070400000-001420070400000-e1.parquet"


@pytest.mark.parametrize("found", ["at the assignment", "in the session"])
def test_futures_on_a_topic_that_was_made_anew_are_archived(found: str):
    """They are known by offset, and the new topic has the old one's."""
    before, after = new_step(), new_step()
    before.step(envelopes(hours(80)))
    after.restore(0, before.snapshot(0))
    if found == "at the assignment":
        assert after.begin(Assignment(0, 0, rewound=True))
    else:
        after.begin_again(0, 0)
    later = [msgspec.structs.replace(record, t=record.t + 80 * HOUR_MS, issued=_later(record)) for record in hours(40)]
    windows = after.step(envelopes(later))
    assert [len(window.rows) for window in windows if window.kind == "futures"] == [1020]


def _later(record: Record) -> int | None:
    return None if record.issued is None else record.issued + 80 * HOUR_MS


async def test_it_needs_the_token_and_keeps_to_the_limits(tmp_path: Path):
    async with door(MemoryBus(1), tmp_path, token="hush", body_limit=100) as client:  # noqa: S106 - a test's
        assert (await client.post("/v1/futures", json=row(1, 3))).status_code == 401
        headers = {"Authorization": "Bearer hush"}
        assert (await client.post("/v1/futures", json=[row(1, 3)] * 9, headers=headers)).status_code == 413
        kind = {**headers, "Content-Type": "text/html"}
        assert (await client.post("/v1/futures", content=b"x", headers=kind)).status_code == 415


async def test_it_goes_where_the_records_of_its_group_go(tmp_path: Path):
    bus = MemoryBus(8)
    record = {"when": at(1), "id": "k", "y": 1.0, "site": "north"}
    async with door(bus, tmp_path, SITES) as client:
        assert (await client.post("/v1/records", json=record)).status_code == 202
        assert (await client.post("/v1/futures", json=row(1, 3, site="north"))).status_code == 202
        moved = await client.post("/v1/futures", json=row(1, 3, site="south"))
        assert moved.json()["refused"][0]["expected"] == "'north', which key 'k' has had"
    assert {RECORDS.key(message) for message in await published(bus, 2)} == {"a/north"}
