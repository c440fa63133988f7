"""What clients of the broker raise, as errors of ours."""

import asyncio
import gc
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.fetch import FetchRequest

from driftline.bus.kafka.checkpoints import Checkpoints
from driftline.bus.kafka.connection import answering
from driftline.bus.port import Checkpoint
from driftline.errors import BusUnavailable, Fenced
from driftline.messages import state_topic
from tests.bus.conftest import World, expected
from tests.bus.test_contract import by_name, collect, only, sample, worker


async def write_to_what_was_closed() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()
        with answering():
            writer.write(b"a request")


def test_a_connection_that_was_lost_a_moment_ago_is_an_outage_on_uvloop_too():
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, pytest.raises(BusUnavailable, match="closed"):
        runner.run(write_to_what_was_closed())


def test_any_other_error_of_the_program_stays_one():
    with pytest.raises(RuntimeError, match="a bug"), answering():
        raise RuntimeError("a bug")


LOST = "unable to perform operation on <TCPTransport closed=True reading=False 0x5618346cf1b0>; the handler is closed"


@pytest.fixture
def losing_a_fetch(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set, the next fetch meets a connection that uvloop has closed: aiokafka's task for fetching fails."""
    armed, send = asyncio.Event(), AIOKafkaConnection.send

    def losing(connection: AIOKafkaConnection, request: Any, **how: Any) -> Any:
        if armed.is_set() and isinstance(request, FetchRequest):
            armed.clear()
            raise RuntimeError(LOST)
        return send(connection, request, **how)

    monkeypatch.setattr(AIOKafkaConnection, "send", losing)
    return armed


@pytest.mark.kafka
@pytest.mark.parametrize("world", ["kafka"], indirect=True)
async def test_a_worker_whose_client_has_stopped_to_fetch_begins_anew(world: World, losing_a_fetch: asyncio.Event):
    sent = sample(times=20)
    await world.bus.publish(world.ticks, sent[:60])
    running = worker(world, world.bus)
    work = asyncio.create_task(running.run())
    await collect(world, 60)
    losing_a_fetch.set()
    await world.bus.publish(world.ticks, sent[60:])
    assert by_name(await collect(world, len(sent))) == only(expected(sent))
    assert not losing_a_fetch.is_set()
    await running.stop()
    await work


async def nothing(_: Mapping[str, bytes | None]) -> None:
    """There are no states."""


@pytest.mark.kafka
@pytest.mark.parametrize("world", ["kafka"], indirect=True)
async def test_who_is_fenced_stays_fenced_however_often_it_tries(world: World):
    await world.kafka.topics.make([state_topic(world.group)])
    zombie, heir = (Checkpoints(world.kafka.settings, world.group, 0) for _ in range(2))
    await zombie.take_over(nothing)
    await heir.take_over(nothing)
    for _ in range(2):
        with pytest.raises(Fenced):
            await zombie.write(Checkpoint(0, 1, {}))
    await heir.write(Checkpoint(0, 2, {}))
    await zombie.stop()
    await heir.stop()
    # What a fenced producer leaves behind is cleared away here, not in the middle of whatever comes next.
    gc.collect()
