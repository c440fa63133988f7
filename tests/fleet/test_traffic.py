"""What an idle edge costs: the bytes that its heartbeats put into the store in a day, and its requests."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from driftline.bus.memory import MemoryBus
from driftline.fleet.heartbeat import Comparison, Heartbeat, ModelHealth, StreamHealth, model_name
from driftline.fleet.notes import packed, sealed
from driftline.members import MODELS
from driftline.metrics import Metrics
from driftline.models.signing import Signer, new_key
from driftline.service.reports import new_boot
from driftline.store import door
from driftline.store.door import DoorSettings, DoorStore
from driftline.store.door_names import WATCH_LONGEST_S
from driftline.store.folder import FolderStore
from driftline.store.hints import Hints
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_edge.settings import JOINED_POLL_S
from driftline_inference.app import create_app
from driftline_inference.settings import InferenceSettings
from tests.fleet.cloud import Cloud

HEARTBEATS_A_DAY = 24 * 60
MOST_A_DAY = 2_000_000
DAY_S = 86_400
TLS_RECORD = 22
"""Bytes around what is sent at once, by TLS 1.3."""
POINTER = "models/attic/batch/current.json"
SIGNER = Signer(new_key())


def version(number: int) -> str:
    return f"v{number:06d}-{secrets.token_hex(6)}"


def stream(number: int) -> str:
    return ("outdoor-temperature", "active-power", "cellar-humidity")[number % 3] + f"-{number}" * (number > 2)


def health(number: int) -> StreamHealth:
    horizon = ("1", "6", "36")
    skill = {h: 0.1 + secrets.randbelow(5000) / 1e4 for h in horizon}
    coverage = {h: 0.88 + secrets.randbelow(400) / 1e4 for h in horizon}
    return StreamHealth(
        keys=4 + number,
        newest=1_774_000_000_000 + number,
        scored=secrets.randbelow(10**6),
        skill=skill,
        coverage=coverage,
    )


def model() -> ModelHealth:
    serving, former = version(42), version(41)
    over = Comparison(new=serving, old=former, truths=2000, log_worse=-3.1416, log_not_worse=4.2042, over=True)
    return ModelHealth(
        version=serving,
        since=1_774_000_000.123,
        why="named by the store's pointer",
        former=former,
        named=serving,
        comparisons=[over],
    )


def heartbeat(streams: int) -> Heartbeat:
    """As an edge writes it whose models serve, with nothing wrong."""
    names = [stream(number) for number in range(streams)]
    return Heartbeat(
        edge="k3f9a1x0q7bz",
        name="pi-7",
        labels={"site": "north", "roof": "flat"},
        boot=new_boot(),
        number=12_345,
        started=1_774_000_000.123,
        at=1_774_000_060.456,
        every=60.0,
        software="0.2.0",
        clock_offset=0.1,
        disk_free=12_345_678_901,
        disk_total=31_234_567_890,
        memory=234_567_680,
        lag=3,
        streams={name: health(number) for number, name in enumerate(names)},
        models={model_name(name, member): model() for name in names for member in MODELS},
    )


def size(streams: int) -> int:
    """Bytes of the file in the store."""
    return len(packed(sealed(heartbeat(streams), SIGNER)))


@pytest.mark.parametrize("streams", [1, 2, 3])
def test_the_heartbeats_of_an_idle_edge_are_at_most_2_mb_a_day(streams: int) -> None:
    assert size(streams) * HEARTBEATS_A_DAY <= MOST_A_DAY


def test_packing_halves_a_heartbeat() -> None:
    plain = len(sealed(heartbeat(2), SIGNER))
    assert size(2) < 0.55 * plain


async def test_a_look_at_the_pointers_costs_one_request_a_model_and_nothing_else(tmp_path: Path) -> None:
    streams = {
        name: parse(f"name: {name}\ntime: {{column: t, period: 1h}}\ntarget: y\n", f"{name}.yaml") for name in "ab"
    }
    app = create_app(InferenceSettings(cache=None), MemoryBus(), FolderStore(tmp_path), streams=streams)
    for looks in (1, 2, 3):
        await app.state.reconciler.reconcile()
        assert requests(app.state.metrics) == looks * len(streams) * len(MODELS)


def requests(metrics: Metrics) -> float:
    """To the store, so far."""
    samples = (sample for family in metrics.registry.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == "driftline_store_seconds_count")


class Wire:
    """A connection's other end passes all on to the cloud, and counts the bytes both ways as TLS would have them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.bytes, self.connections = 0, 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def cost(self, request: Awaitable[object]) -> int:
        """Bytes of one request and its answer."""
        before = self.bytes
        await request
        return self.bytes - before

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        cloud_reader, cloud_writer = await asyncio.open_connection("127.0.0.1", self._port)
        # A client sends head and body apart.
        await asyncio.gather(self._pass_on(reader, cloud_writer, 2), self._pass_on(cloud_reader, writer, 1))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, records: int) -> None:
        while sent := await reader.read(65_536):
            self.bytes += len(sent) + records * TLS_RECORD
            writer.write(sent)
        writer.close()


async def test_an_idle_edge_with_one_stream_and_two_models_stays_within_2_mb_a_day_by_the_door(
    temperature: StreamDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "WATCH_LONGEST_S", 0.05)
    async with Cloud.opened(tmp_path, temperature) as cloud:
        device, wire = await cloud.joined(), Wire(int(cloud.url.rpartition(":")[2]))
        await cloud.store.put(POINTER, b"{}")
        async with wire.opened() as url:
            store, hints = DoorStore(DoorSettings(url, token=device.shown)), Hints()
            key = f"edges/{device.edge}.json"
            etag = await store.put(key, packed(sealed(heartbeat(1), SIGNER)))
            beat = await wire.cost(store.put(key, packed(sealed(heartbeat(1), SIGNER)), if_match=etag))
            known = (await store.get(POINTER)).etag
            look = await wire.cost(store.get(POINTER, unless=known, limit=4096))
            cursor = await store._wait("models/", "/current.json", "", hints)
            await store._wait("models/", "/current.json", cursor, hints)
            cursor = await store._wait("models/", "/current.json", "", hints)
            watch = await wire.cost(store._wait("models/", "/current.json", cursor, hints))
            await store.close()
    assert wire.connections == 1, "each further one costs a handshake"
    a_day = {
        "heartbeats": beat * HEARTBEATS_A_DAY,
        "looks": look * (len(MODELS) + 1) * DAY_S / JOINED_POLL_S,
        "watches": watch * 2 * DAY_S / WATCH_LONGEST_S,
    }
    assert sum(a_day.values()) <= MOST_A_DAY
