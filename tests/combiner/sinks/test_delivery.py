"""A sink's worker: patience with the other side, a position of its own, and what is set aside."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
import stamina

from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.kafka import KafkaBus, KafkaSettings
from driftline.bus.memory import MemoryBus
from driftline.bus.port import Bus
from driftline.errors import Unavailable
from driftline.messages import ALERTS, BLENDS, DEAD_LETTERS, Alert, Topic
from driftline.metrics import Metrics
from driftline.streams.catalog import Streams
from driftline.worker.loop_settings import LoopSettings
from driftline_combiner.sinks.job import OpenedSink, SinkJob
from driftline_combiner.sinks.port import SinkRefused, SinkUnavailable, Unsendable
from tests.combiner.sinks.blends import TANK, alert, blend

PATIENCE_S = 60


class Book:
    """The other side, in memory. `closed` is raised by each call until it is None."""

    batch_limit = 10

    def __init__(self, topic: Any = ALERTS) -> None:
        self.topic = topic
        self.taken: list[Any] = []
        self.tried = 0
        self.closed: Exception | None = None
        self.unreadable: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def send(self, batch: Sequence[Any]) -> Sequence[Unsendable]:
        self.tried += 1
        if self.closed is not None:
            raise self.closed
        self.taken += [message for message in batch if message.key not in self.unreadable]
        return [
            Unsendable(index, f"{message.key} can't be read")
            for index, message in enumerate(batch)
            if message.key in self.unreadable
        ]


def job(book: Book, bus: Bus, metrics: Metrics | None = None, name: str = "book", **opened: Any) -> SinkJob:
    streams = Streams({"tank": TANK})
    return SinkJob(
        OpenedSink(name, "book", book, **opened),
        bus,
        streams,
        LoopSettings(checkpoint_every=0.05),
        metrics or Metrics(),
    )


@asynccontextmanager
async def running(*jobs: SinkJob) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(one.run()) for one in jobs]
    try:
        yield
        for one in jobs:
            await one.stop()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def until() -> Any:
    return stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_initial=0.01, wait_max=0.1)


async def until_taken(book: Book, keys: Sequence[str]) -> None:
    async for attempt in until():
        with attempt:
            assert [message.key for message in book.taken] == list(keys)


async def until_state(one: SinkJob, state: str) -> None:
    async for attempt in until():
        with attempt:
            assert one.standing.state == state


async def test_nothing_is_lost_while_the_other_side_is_away_and_others_go_on(caplog):
    bus, away, there = MemoryBus(), Book(), Book()
    away.closed = SinkUnavailable("nobody answers")
    first = job(away, bus)
    second = SinkJob(OpenedSink("other", "book", there), bus, Streams({}), LoopSettings(), Metrics())
    async with running(first, second):
        await bus.publish(ALERTS, [alert(n) for n in range(25)])
        await until_taken_all(there, 25)
        await until_state(first, "unavailable")
        async for attempt in until():
            with attempt:
                assert away.tried > 3
        assert first.standing.error == "nobody answers"
        assert await first.lag() == 25
        away.closed = None
        await until_taken_all(away, 25)
        await until_state(first, "ok")
        assert (first.standing.sent, first.standing.error) == (25, "")
    said = [record.getMessage() for record in caplog.records if "nobody answers" in record.getMessage()]
    assert len(said) == 1


async def until_taken_all(book: Book, count: int) -> None:
    async for attempt in until():
        with attempt:
            assert sorted({message.key for message in book.taken}) == sorted(f"k{n}" for n in range(count))


async def test_a_sink_that_refuses_shows_the_remedy_and_its_readiness_and_alarm(caplog):
    bus, book, metrics = MemoryBus(), Book(), Metrics()
    book.closed = SinkRefused("no entry", "correct the password")
    one = job(book, bus, metrics)
    async with running(one):
        await bus.publish(ALERTS, [alert(1)])
        await until_state(one, "refused")
        with pytest.raises(Unavailable, match="no entry; correct the password"):
            await one.check()
        assert metrics.registry.get_sample_value("driftline_sink_failing", {"sink": "book"}) == 1
        book.closed = None
        await until_taken(book, ["k1"])
        await until_state(one, "ok")
        await one.check()
    assert metrics.registry.get_sample_value("driftline_sink_failing", {"sink": "book"}) == 0


async def test_an_error_of_our_own_ends_neither_the_sink_nor_the_process(caplog):
    bus, book = MemoryBus(), Book()
    book.closed = ZeroDivisionError("a fault")
    one = job(book, bus)
    async with running(one):
        await bus.publish(ALERTS, [alert(1)])
        await until_state(one, "unavailable")
        assert "ZeroDivisionError" in one.standing.error
        book.closed = None
        await until_taken(book, ["k1"])


async def test_a_message_that_is_never_taken_is_a_dead_letter_and_the_others_go_on():
    bus, book, metrics = MemoryBus(), Book(), Metrics()
    book.unreadable = {"k1"}
    one = job(book, bus, metrics)
    async with running(one):
        await bus.publish(ALERTS, [alert(n) for n in range(3)])
        await until_taken_all_but(book, {"k0", "k2"})
        async for attempt in until():
            with attempt:
                assert (one.standing.sent, one.standing.set_aside) == (2, 1)
    (letter,) = [envelope.value for envelope in await bus.read(DEAD_LETTERS)]
    assert (letter.topic, letter.service, letter.reason) == (ALERTS.name, "combiner-sink-book", "k1 can't be read")
    assert ALERTS.decode(letter.payload) == alert(1)
    assert metrics.registry.get_sample_value("driftline_sink_set_aside_total", {"sink": "book"}) == 1


async def until_taken_all_but(book: Book, keys: set[str]) -> None:
    async for attempt in until():
        with attempt:
            assert {message.key for message in book.taken} == keys


@pytest.fixture(params=["memory", "embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    opened: Bus
    if request.param == "kafka":
        opened = KafkaBus(KafkaSettings(request.getfixturevalue("brokers")))
    else:
        opened = EmbeddedBus(EmbeddedSettings(tmp_path / "bus")) if request.param == "embedded" else MemoryBus()
    yield opened
    await opened.close()


async def test_a_sink_goes_on_where_it_was(bus):
    before, after = Book(OF_THIS_TEST), Book(OF_THIS_TEST)
    async with running(job(before, bus, name="goes-on")):
        await bus.publish(OF_THIS_TEST, [alert(1)])
        await until_taken(before, ["k1"])
    await bus.publish(OF_THIS_TEST, [alert(2)])
    async with running(job(after, bus, name="goes-on")):
        await until_taken(after, ["k2"])


async def test_a_stop_does_not_wait_for_the_other_side_and_what_it_held_comes_after_the_next_start():
    bus, away, there = MemoryBus(), Book(), Book()
    away.closed = SinkUnavailable("nobody answers")
    one = job(away, bus)
    async with asyncio.timeout(PATIENCE_S), running(one):
        await bus.publish(ALERTS, [alert(1)])
        await until_state(one, "unavailable")
    async with running(job(there, bus)):
        await until_taken(there, ["k1"])


async def test_a_sink_from_now_on_sends_nothing_from_before_its_first_start_and_all_from_after(bus):
    first, second = Book(OF_NOW), Book(OF_NOW)
    await bus.publish(OF_NOW, [alert(1)])
    async with running(job(first, bus, name="now", begin="now")):
        async for attempt in until():
            with attempt:
                assert sum((await bus.lag(OF_NOW, "combiner-sink-now")).values()) == 0
    assert first.taken == []
    await bus.publish(OF_NOW, [alert(2)])
    async with running(job(second, bus, name="now", begin="now")):
        await until_taken(second, ["k2"])


async def test_garbage_on_the_topic_ends_no_sink():
    bus, book = MemoryBus(), Book(BLENDS)
    one = job(book, bus)
    async with running(one):
        for _ in range(60):
            await bus.publish(ALIASED, [alert(1)])
        await bus.publish(BLENDS, [blend(1, "good"), blend(1, "strange", "unheard-of")])
        await until_taken(book, ["good"])


OF_THIS_TEST, OF_NOW = (Topic(f"driftline.{name}.v1", Alert, lambda message: message.key) for name in ("sink", "now"))
"""Topics that no other test reads, since all share one Kafka."""
ALIASED = type(ALERTS)(BLENDS.name, Alert, lambda message: message.key)
"""Alerts on the topic of blends, where they are of no use."""
