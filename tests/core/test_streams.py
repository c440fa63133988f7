"""Streams come while a service runs, files that can't be used cost nobody else, and what runs stays what it is."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina

from driftline.bus.memory import MemoryBus
from driftline.bus.port import Envelope
from driftline.errors import InvalidDefinition
from driftline.messages import DEAD_LETTERS, RECORDS, Record
from driftline.metrics import Metrics
from driftline.service.app import create_service
from driftline.streams.catalog import WAITED_FOR, PerStream, Streams
from driftline.streams.folder import DefinitionFolder
from driftline.worker.keyed import KeyedStep
from driftline.worker.loop import Worker
from driftline.worker.loop_settings import LoopSettings
from driftline.worker.saved_states import OffsetState
from driftline.worker.stream_step import Age, Emission

PATIENCE_S = 10


def text(name: str, more: str = "") -> str:
    return f"name: {name}\ntime: {{column: t, period: 1s}}\ntarget: y\n{more}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.yaml").write_text(text("a"))
    return tmp_path


def states(streams: Streams) -> dict[str, str]:
    return {found.stream: found.state for found in streams.standings()}


async def test_a_file_that_is_put_there_is_a_stream_from_then_on(folder: Path):
    streams, told = Streams.open(folder), []
    streams.on_new(lambda stream: told.append(stream.name))
    (folder / "b.yaml").write_text(text("b"))
    await streams.look()
    assert list(streams) == ["a", "b"]
    assert told == ["b"]


def test_a_file_that_is_being_written_is_read_when_it_is_whole(folder: Path):
    looked, whole = DefinitionFolder(folder), text("b", "features: {x: level}\n")
    (folder / "b.yaml").write_text(whole[:-21])
    assert looked.look().settling
    (folder / "b.yaml").write_text(whole)
    look = looked.look()
    assert look.settling
    assert "b" not in look.definitions
    look = looked.look()
    assert not look.settling
    assert look.definitions["b"].columns == ("y", "x")


async def test_a_file_that_can_not_be_used_says_its_line_and_costs_nobody_else(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    streams = Streams.open(folder)
    (folder / "b.yaml").write_text("name: b\ntime: {column: t, period: soon}\ntarget: y\n")
    (folder / "c.yaml").write_text(text("c"))
    await streams.look()
    await streams.look()
    assert list(streams) == ["a", "c"]
    assert "b.yaml: line 2: time.period: found 'soon'" in streams.refused["b.yaml"]
    assert [record.levelno for record in caplog.records if "line 2" in record.message] == [logging.ERROR]


async def test_a_second_file_of_the_same_stream_is_refused(folder: Path):
    streams = Streams.open(folder)
    (folder / "z.yaml").write_text(text("a", "lags: 3\n"))
    await streams.look()
    assert states(streams) == {"a": "runs"}
    assert "which another file has already" in streams.refused["z.yaml"]


async def test_what_runs_stays_as_it_is_until_a_restart_and_says_so(folder: Path, caplog: pytest.LogCaptureFixture):
    streams = Streams.open(folder)
    before = streams["a"]
    (folder / "a.yaml").write_text(text("a", "lags: 3\n"))
    await streams.look()
    assert streams["a"] == before
    assert states(streams) == {"a": "changed"}
    (folder / "a.yaml").unlink()
    await streams.look()
    assert states(streams) == {"a": "gone"}
    assert "restart all services to change a stream that runs" in caplog.text
    (folder / "moved.yaml").write_text(text("a"))
    await streams.look()
    assert states(streams) == {"a": "runs"}


async def test_links_that_are_swapped_as_kubernetes_does_are_seen(tmp_path: Path):
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(text("a"))
    (tmp_path / "2" / "b.yaml").write_text(text("b"))
    (tmp_path / "data").symlink_to("1")
    (tmp_path / "a.yaml").symlink_to("data/a.yaml")
    streams = Streams.open(tmp_path)
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").rename(tmp_path / "data")
    (tmp_path / "b.yaml").symlink_to("data/b.yaml")
    await streams.look()
    assert states(streams) == {"a": "runs", "b": "runs"}


def test_a_service_starts_with_what_can_be_used_and_not_with_nothing(folder: Path):
    (folder / "b.yaml").write_text("name: b\n")
    streams = Streams.open(folder)
    assert list(streams) == ["a"]
    assert "b.yaml" in streams.refused
    (folder / "a.yaml").unlink()
    with pytest.raises(InvalidDefinition, match=r"b\.yaml: line 1: target: found nothing"):
        Streams.open(folder)


async def test_who_iterates_while_a_stream_is_added_is_not_disturbed(folder: Path):
    streams = Streams.open(folder)
    lengths = PerStream(streams, lambda stream: len(stream.name))
    (folder / "b.yaml").write_text(text("b"))
    for _ in lengths.items():
        await streams.look()
    assert dict(lengths) == {"a": 1, "b": 1}


def record(stream: str, t: int) -> Record:
    return Record(stream, "k", t, {"y": 1.0}, 0.0)


class Counting:
    """A lane whose state is how many records each series had."""

    longest_silence = 30 * 86_400_000
    ahead = 300
    replaying = False

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.newest: dict[str, int] = {}
        self.worked = 0

    def work(self, messages: Sequence[Record]) -> list[list[Emission]]:
        self.worked += len(messages)
        for message in messages:
            self.counts[message.key] = self.counts.get(message.key, 0) + 1
            self.newest[message.key] = message.t
        return [[] for _ in messages]

    def lacks(self, message: Record) -> bool:
        return False

    def is_future(self, message: Record) -> bool:
        return False

    def foresee(self, message: Record) -> bool:
        raise AssertionError(message)

    def awaits(self, message: Record) -> bool:
        return False

    def complete(self, message: Record) -> list[Emission]:
        raise AssertionError

    def group_of(self, key: str) -> str:
        return ""

    def last_t(self, key: str) -> int | None:
        return self.newest.get(key)

    def save(self, key: str, heard: int | None = None) -> bytes:
        return f"{self.counts[key]} {self.newest[key]}".encode()

    def restore(self, key: str, data: bytes) -> Age:
        self.counts[key], self.newest[key] = map(int, data.split())
        return Age(self.newest[key], None)

    def forget(self, key: str) -> None:
        self.counts.pop(key, None)
        self.newest.pop(key, None)


async def test_states_that_were_restored_before_their_stream_was_known_are_not_lost(folder: Path):
    streams = Streams.open(folder)
    stream_steps = PerStream(streams, lambda _: Counting())
    step: KeyedStep[Record] = KeyedStep(stream_steps, lambda *_: None)
    step.restore(0, {"b/k": b"41 5", "a/k": b"1 5"})
    (folder / "b.yaml").write_text(text("b"))
    await streams.look()
    step.step([Envelope(0, 7, 0.0, record("b", 6))])
    assert step.snapshot(0) == {"b/k": OffsetState(8, b"42 6").encode()}
    step.release(0)
    assert stream_steps["b"].counts == {}


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.02, wait_max=0.1)
async def until_worked_off(bus: MemoryBus) -> None:
    assert (await bus.lag(RECORDS, "counting"))[0] == 0


async def worked_off(
    streams: Streams, stream: str, patience: float, waiting: asyncio.Event | None = None
) -> tuple[int, int]:
    """How many of one record of `stream` were worked off, and how many became dead letters."""
    bus = MemoryBus(1)
    stream_steps = PerStream(streams, lambda _: Counting())

    async def wait_for(message: Record) -> None:
        if waiting is not None:
            waiting.set()
        await streams.expect(message.stream, patience)

    worker = Worker(
        "counting",
        bus,
        RECORDS,
        KeyedStep(stream_steps, lambda *_: None),
        LoopSettings(checkpoint_every=0.05),
        refuse=lambda message: None if message.stream in streams else "unknown",
        wait_for=wait_for,
    )
    await bus.publish(RECORDS, [record(stream, 1)])
    running = asyncio.create_task(worker.run())
    await until_worked_off(bus)
    await worker.stop()
    await running
    letters = (await bus.lag(DEAD_LETTERS, "nobody"))[0]
    return stream_steps[stream].worked if stream in stream_steps else 0, letters


async def test_a_record_that_is_ahead_of_its_definition_waits_for_it(folder: Path):
    streams, waiting = Streams.open(folder), asyncio.Event()

    async def put() -> None:
        await waiting.wait()
        (folder / "b.yaml").write_text(text("b"))

    (counted, letters), _ = await asyncio.gather(worked_off(streams, "b", PATIENCE_S, waiting), put())
    assert (counted, letters) == (1, 0)


async def test_a_stream_that_nobody_defines_is_waited_for_once(folder: Path):
    streams = Streams.open(folder)
    assert await worked_off(streams, "typo", 0.1) == (0, 1)
    async with asyncio.timeout(PATIENCE_S):
        await streams.expect("typo", patience=3600)


async def test_names_that_are_made_up_do_not_stop_a_worker_for_ever(folder: Path):
    streams = Streams.open(folder)
    for number in range(WAITED_FOR):
        await streams.expect(f"made-up-{number}", patience=0.0)
    async with asyncio.timeout(PATIENCE_S):
        await streams.expect("another", patience=3600)


@stamina.retry(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.1, wait_max=0.2)
async def listed(client: httpx.AsyncClient, count: int) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.get("/v1/streams")).json()
    assert len(answer["streams"]) == count
    return answer


async def test_a_service_shows_its_streams_and_what_it_refused(folder: Path):
    streams, metrics = Streams.open(folder), Metrics()
    app = create_service("x", "x", metrics=metrics, streams=streams)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client,
    ):
        (folder / "b.yaml").write_text("name: b\n")
        (folder / "c.yaml").write_text(text("c", "description: tank\n"))
        answer = await listed(client, 2)
        assert answer["streams"][1] == {"stream": "c", "description": "tank", "state": "runs", "note": ""}
        assert "line 1: target" in answer["refused"]["b.yaml"]
        told = (await client.get("/metrics")).text
        assert "driftline_streams 2.0" in told
        assert "driftline_streams_refused 1.0" in told
        assert (await client.get("/readyz")).status_code == 200
