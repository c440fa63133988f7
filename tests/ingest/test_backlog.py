"""Windows that wait for the store: weeks of them, the newest go first, and what had to go is counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
import stamina

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.memory import MemoryBus
from driftline.errors import StoreUnavailable
from driftline.messages import ALERTS, RECORDS, REPORTS, Gap, Record, ServiceReport
from driftline.metrics import Metrics
from driftline.store.folder import FolderStore
from driftline.store.port import Stored
from driftline.streams.definition_files import parse
from driftline_ingest.app import create_app
from driftline_ingest.archive import ArchiveStep
from driftline_ingest.backlog import NOTES, Backlog, BacklogNotes
from driftline_ingest.following import FIRST_WAIT_S, BacklogJob
from driftline_ingest.gaps import Gaps
from driftline_ingest.losses import Losses
from driftline_ingest.settings import IngestSettings
from driftline_ingest.sink import WindowArchive, WindowSink
from driftline_ingest.windows import RecordWindows
from tests.ingest.test_archive import EDGE, HOUR_MS, STREAMS, envelopes

PATIENCE_S = 60
SIZE = 5
"""Rows in a window."""


async def edge() -> str:
    return EDGE


class Site:
    """An edge's archive, its spool, and a store that is away while a file is where its folder should be."""

    def __init__(self, folder: Path, limit: int = 10_000_000, rate: float = 1e12) -> None:
        self.metrics, self.root = Metrics(), folder / "store"
        self.store, self.spool = FolderStore(self.root), FolderStore(folder / "spool")
        self.losses = Losses(MemoryBus(), self.metrics)
        self.backlog = Backlog(self.spool, limit, self.losses.gaps, self.losses.add)
        self.archive = WindowArchive(self.store, self.metrics)
        self.sink = WindowSink(self.archive, RecordWindows(STREAMS), edge, self.backlog)
        self.job = BacklogJob(self.backlog, self.archive, self.metrics, rate)

    def cut(self) -> None:
        self.root.write_text("no folder")

    def mend(self) -> None:
        self.root.unlink()

    async def names(self) -> list[str]:
        return [listed.key async for listed in self.store.list("windows/")]

    def gaps(self) -> list[Gap]:
        return list(self.losses.gaps)


def windows(count: int, first: int = 0) -> list[str]:
    """The names of windows in the order of their times."""
    hours = range(first * SIZE, (first + count) * SIZE, SIZE)
    return [f"windows/a/k/{n * HOUR_MS:015d}-{(n + SIZE - 1) * HOUR_MS:015d}-{EDGE}.parquet" for n in hours]


async def fill(site: Site, step: ArchiveStep[Record], count: int, first: int = 0) -> None:
    """So many windows of one series, one at a time."""
    records = envelopes(["k"] * (first + count) * SIZE)[first * SIZE :]
    for begin in range(0, len(records), SIZE):
        await site.sink(step.step(records[begin : begin + SIZE]))


def archive_step() -> ArchiveStep[Record]:
    return ArchiveStep(RecordWindows(STREAMS), lambda _stream, _reason: None)


async def test_while_the_store_is_away_windows_wait_and_nothing_is_held_up(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.cut()
    async with asyncio.timeout(PATIENCE_S):
        await fill(site, archive_step(), 30)
    assert site.backlog.windows == 30
    assert site.archive.is_away
    with pytest.raises(StoreUnavailable, match=r"30 windows .* wait for the store"):
        await site.backlog.check()


async def test_the_newest_window_comes_first_and_all_come_once(tmp_path: Path) -> None:
    site, step = Site(tmp_path), archive_step()
    site.cut()
    await fill(site, step, 6)
    site.mend()
    await site.job.send_newest()
    assert await site.names() == windows(1, first=5)
    # What is new does not wait behind what is old.
    await fill(site, step, 1, first=6)
    assert await site.names() == windows(2, first=5)
    for left in range(4, -1, -1):
        await site.job.send_newest()
        assert await site.names() == windows(7 - left, first=left)
    assert (site.backlog.windows, site.backlog.size) == (0, 0)
    await site.backlog.check()
    labels = {"stream": "a", "kind": "windows"}
    assert site.metrics.registry.get_sample_value("driftline_windows_archived_total", labels) == 7


async def test_the_rest_follows_at_the_rate(tmp_path: Path) -> None:
    site = Site(tmp_path, rate=1000.0)
    site.cut()
    await fill(site, archive_step(), 2)
    site.mend()
    before = site.backlog.size
    pause = await site.job.send_newest()
    assert pause == pytest.approx((before - site.backlog.size) / 1000.0)


async def test_the_store_is_looked_at_less_and_less_often_while_it_is_away(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.cut()
    await fill(site, archive_step(), 1)
    assert [await site.job.send_newest() for _ in range(7)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    site.mend()
    await site.job.send_newest()
    site.root.rename(tmp_path / "moved")
    site.cut()
    site.archive.is_away = True
    await fill(site, archive_step(), 1)
    assert await site.job.send_newest() == FIRST_WAIT_S


async def test_what_waits_outlives_a_restart(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.cut()
    await fill(site, archive_step(), 3)
    restarted = Site(tmp_path)
    await restarted.backlog.open()
    assert (restarted.backlog.windows, restarted.backlog.size) == (3, site.backlog.size)
    restarted.mend()
    for _ in range(3):
        await restarted.job.send_newest()
    assert await restarted.names() == windows(3)


async def test_a_window_that_is_made_again_after_a_crash_waits_once(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.cut()
    for _ in range(2):
        await fill(site, archive_step(), 2)
    assert site.backlog.windows == 2
    assert site.backlog.size == sum([listed.size async for listed in site.spool.list("windows/")])


async def one_size(folder: Path) -> int:
    site = Site(folder)
    site.root.parent.mkdir()
    site.cut()
    await fill(site, archive_step(), 1)
    return site.backlog.size


async def test_what_finds_no_room_is_counted_by_time_and_outlives_a_restart(tmp_path: Path) -> None:
    limit = int(3.5 * await one_size(tmp_path / "other"))
    site = Site(tmp_path, limit=limit)
    site.cut()
    await fill(site, archive_step(), 10)
    assert site.backlog.size <= limit
    dropped = 10 - site.backlog.windows
    assert dropped >= 6
    gap = Gap(stream="a", what="windows", since=0, until=(dropped * SIZE - 1) * HOUR_MS, count=dropped * SIZE)
    assert site.gaps() == [gap]
    labels = {"stream": "a", "kind": "windows"}
    assert site.metrics.registry.get_sample_value("driftline_rows_lost_total", labels) == gap.count
    alerts = {"stream": "a", "kind": "lost"}
    assert site.metrics.registry.get_sample_value("driftline_alerts_total", alerts) == 1, "one span, one alert"
    restarted = Site(tmp_path, limit=limit)
    await restarted.backlog.open()
    assert restarted.gaps() == [gap]
    restarted.mend()
    for _ in range(10 - dropped):
        await restarted.job.send_newest()
    assert await restarted.names() == windows(10 - dropped, first=dropped), "the newest were kept"


async def test_what_was_counted_before_a_crash_and_not_dropped_yet_is_not_counted_twice(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.cut()
    await fill(site, archive_step(), 3)
    gap = Gap(stream="a", what="windows", since=0, until=4 * HOUR_MS, count=SIZE)
    await site.spool.put(NOTES, msgspec.json.encode(BacklogNotes([gap], windows(1))))
    restarted = Site(tmp_path)
    await restarted.backlog.open()
    assert restarted.gaps() == [gap]
    assert restarted.backlog.windows == 2


@pytest.mark.parametrize("notes", [b"", b"{", b'{"gaps": 1}'])
async def test_notes_that_have_rotted_cost_what_they_said_alone(tmp_path: Path, notes: bytes) -> None:
    site = Site(tmp_path)
    site.cut()
    await fill(site, archive_step(), 1)
    await site.spool.put(NOTES, notes)
    restarted = Site(tmp_path)
    await restarted.backlog.open()
    assert (restarted.backlog.windows, restarted.gaps()) == (1, [])


class BrokenDisk(FolderStore):
    """Takes some files' content, or what is removed, as a card does that wears out."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.unreadable = ""
        self.is_read_only = False

    async def get(self, key: str, *, unless: str | None = None, limit: int | None = None) -> Stored | None:
        if key == self.unreadable:
            raise StoreUnavailable(f"{key}: Input/output error")
        return await super().get(key, unless=unless, limit=limit)

    async def delete(self, key: str) -> None:
        if self.is_read_only:
            raise StoreUnavailable(f"{key}: Read-only file system")
        await super().delete(key)


async def waiting_on(folder: Path, count: int) -> tuple[Site, BrokenDisk]:
    """A site that starts again with so many windows on its disk, and can reach the store."""
    before = Site(folder)
    before.cut()
    await fill(before, archive_step(), count)
    before.mend()
    site, disk = Site(folder), BrokenDisk(folder / "spool")
    site.backlog = Backlog(disk, 10_000_000, site.losses.gaps, site.losses.add)
    site.job = BacklogJob(site.backlog, site.archive, site.metrics, 1e12)
    return site, disk


async def test_a_start_that_fails_halfway_counts_nothing_twice(tmp_path: Path) -> None:
    site, disk = await waiting_on(tmp_path, 3)
    gap = Gap(stream="a", what="windows", since=0, until=1, count=7)
    await site.spool.put(NOTES, msgspec.json.encode(BacklogNotes([gap], [windows(3)[0]])))
    disk.is_read_only = True
    with pytest.raises(StoreUnavailable):
        await site.backlog.open()
    disk.is_read_only = False
    await site.backlog.open()
    assert (site.gaps(), site.backlog.windows) == ([gap], 2)


async def test_what_can_not_be_removed_holds_up_no_other_window(tmp_path: Path) -> None:
    site, disk = await waiting_on(tmp_path, 3)
    await site.backlog.open()
    disk.is_read_only = True
    for _ in range(3):
        await site.job.send_newest()
    assert (await site.names(), site.backlog.windows) == (windows(3), 0)


async def test_a_window_on_a_broken_place_of_the_disk_holds_up_no_other(tmp_path: Path) -> None:
    site, disk = await waiting_on(tmp_path, 3)
    await site.backlog.open()
    disk.unreadable = windows(3)[2]
    for _ in range(3):
        await site.job.send_newest()
    assert (await site.names(), site.backlog.windows) == (windows(2), 0)


async def test_a_window_that_is_gone_or_broken_is_dropped_all_the_same(tmp_path: Path) -> None:
    limit = int(3.5 * await one_size(tmp_path / "other"))
    site = Site(tmp_path)
    disk = BrokenDisk(tmp_path / "spool")
    site.backlog = Backlog(disk, limit, site.losses.gaps, site.losses.add)
    site.sink = WindowSink(site.archive, RecordWindows(STREAMS), edge, site.backlog)
    site.cut()
    step = archive_step()
    await fill(site, step, 3)
    await site.spool.delete(windows(1)[0])
    disk.unreadable = windows(2)[1]
    await fill(site, step, 3, 3)
    assert site.backlog.windows == 3
    gap = Gap(stream="a", what="windows", since=0, until=(3 * SIZE - 1) * HOUR_MS, count=SIZE)
    assert site.gaps() == [gap], "of two windows the times alone are known"


async def test_windows_that_were_kept_under_a_higher_limit_are_sent(tmp_path: Path) -> None:
    site, _ = await waiting_on(tmp_path, 2)
    site = Site(tmp_path, limit=100)
    await site.backlog.open()
    for _ in range(2):
        await site.job.send_newest()
    assert await site.names() == windows(2)


def test_gaps_that_are_close_are_one_and_there_are_never_many() -> None:
    gaps, day = Gaps(), 86_400_000
    assert [gaps.add(Gap(stream="a", what="windows", since=t, until=t + 9, count=10)) for t in (100, 0, 50)] == [
        True,
        False,
        False,
    ]
    assert list(gaps) == [Gap(stream="a", what="windows", since=0, until=109, count=30)]
    for n in range(1, 20):
        gaps.add(Gap(stream="a", what="windows", since=10 * n * day, until=10 * n * day + 1, count=1))
    assert len(list(gaps)) == 5
    assert sum(gap.count for gap in gaps) == 30 + 19
    assert gaps.newest(1)[0].since == 190 * day


LONG = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nlags: 2\nwindow: 5\n", "a.yaml")


@asynccontextmanager
async def ingest(
    bus: EmbeddedBus, store: FolderStore, spool: Path, limit: int = 1_000_000
) -> AsyncIterator[httpx.AsyncClient]:
    settings = IngestSettings(spool=spool, backlog_rate=1e9).model_copy(update={"spool_limit": limit})
    app = create_app(settings, bus, store, streams={"a": LONG})
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://edge") as client,
    ):
        yield client


def records(hours: range) -> list[Record]:
    return [Record("a", "k", n * HOUR_MS, {"y": float(n)}, 0.0) for n in hours]


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.02, wait_max=0.2)
async def waiting(client: httpx.AsyncClient, windows: int) -> None:
    assert (await client.get("/v1/backlog")).json()["windows"] == windows


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.02, wait_max=0.2)
async def archived(store: FolderStore, windows: int) -> list[str]:
    names = [listed.key async for listed in store.list("windows/")]
    assert len(names) == windows
    return names


async def test_an_edge_whose_store_was_away_for_weeks_sends_all_of_them_once(tmp_path: Path) -> None:
    store, root = FolderStore(tmp_path / "store"), tmp_path / "store"
    root.write_text("no folder")
    bus = EmbeddedBus(EmbeddedSettings(tmp_path / "bus", partitions=1))
    async with ingest(bus, store, tmp_path / "spool") as client:
        await bus.publish(RECORDS, records(range(21 * 24)))
        await waiting(client, 21 * 24 // SIZE)
        readiness = await client.get("/readyz")
        assert "100 windows" in readiness.json()["checks"]["backlog"]
        assert (await bus.lag(RECORDS, "ingest-windows"))[0] <= 21 * 24
    # A restart in between, and the link is there again.
    root.unlink()
    bus = EmbeddedBus(EmbeddedSettings(tmp_path / "bus", partitions=1))
    async with ingest(bus, store, tmp_path / "spool") as client:
        await waiting(client, 0)
        await bus.publish(RECORDS, records(range(21 * 24, 21 * 24 + 2)))
        names = await archived(store, 101)
    starts = [int(name.split("/")[-1].split("-")[0]) // HOUR_MS for name in names]
    assert starts == list(range(0, 21 * 24 + 1, SIZE))


async def test_what_the_spool_dropped_is_in_an_alert_and_shown(tmp_path: Path) -> None:
    store, root = FolderStore(tmp_path / "store"), tmp_path / "store"
    root.write_text("no folder")
    bus = EmbeddedBus(EmbeddedSettings(tmp_path / "bus", partitions=1))
    async with (
        ingest(bus, store, tmp_path / "spool", limit=20_000) as client,
        asyncio.timeout(PATIENCE_S),
        aclosing(bus.tail(ALERTS)) as alerts,
    ):
        await anext(alerts)
        await bus.publish(RECORDS, records(range(200)))
        alert = (await anext(alerts))[0].value
        assert (alert.stream, alert.kind, alert.subject) == ("a", "lost", "windows")
        assert "had to be dropped before they reached the store" in alert.detail
        assert (await client.get("/v1/backlog")).json()["gaps"][0]["since"] == 0


async def test_ingest_reports_what_it_lacks_and_what_waits(tmp_path: Path) -> None:
    bus = EmbeddedBus(EmbeddedSettings(tmp_path / "bus", partitions=1))
    site = Site(tmp_path)
    site.cut()
    await fill(site, archive_step(), 2)
    reports: list[ServiceReport] = []
    async with (
        ingest(bus, site.store, tmp_path / "spool"),
        asyncio.timeout(PATIENCE_S),
        aclosing(bus.tail(REPORTS, earliest=True)) as pages,
    ):
        async for page in pages:
            reports += [envelope.value for envelope in page]
            if any(report.waiting == 2 for report in reports):
                break
    assert {report.service for report in reports} == {"ingest"}
    assert "2 windows" in reports[-1].lacks["backlog"]


async def test_without_a_spool_what_the_bus_dropped_is_named_by_the_next_records(tmp_path: Path) -> None:
    """The archive did not run while the bus dropped what it had not read."""
    store, bus = FolderStore(tmp_path), MemoryBus(1, retention=10)
    app = create_app(IngestSettings(), bus, store, streams={"a": LONG})
    async with app.router.lifespan_context(app):
        await bus.publish(RECORDS, records(range(5)))
        await archived(store, 1)
    for hour in range(5, 105):
        await bus.publish(RECORDS, records(range(hour, hour + 1)))
    held = bus.logs(RECORDS.name)[0].first
    assert held > 10
    app = create_app(IngestSettings(), bus, store, streams={"a": LONG})
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://edge") as client,
    ):
        await archived(store, 1 + (105 - held) // SIZE)
        (gap,) = (await client.get("/v1/backlog")).json()["gaps"]
    assert (gap["since"], gap["until"], gap["count"]) == (5 * HOUR_MS, (held - 1) * HOUR_MS, held - 5)
