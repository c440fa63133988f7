"""Heartbeats of real edges in a real store: what they say, when, and what they find out about each other."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
import stamina
from fastapi import FastAPI

from driftline.bus.edge import Edge
from driftline.bus.embedded import EmbeddedBus, EmbeddedSettings
from driftline.bus.memory import MemoryBus
from driftline.bus.port import Bus
from driftline.errors import InvalidInput, NotFound
from driftline.fleet.heartbeat import Heartbeat
from driftline.fleet.names import HEARTBEATS
from driftline.fleet.notes import opened
from driftline.messages import ALERTS, FORECASTS, RECORDS, REPORTS, Alert, Gap, Record, ServiceReport, StreamHealth
from driftline.metrics import Metrics
from driftline.models.signing import KEY_FILE, Trust, new_keys
from driftline.service.reports import Reporter
from driftline.store.folder import FolderStore
from driftline.store.hints import Hints
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline_inference.app import create_app
from driftline_inference.heartbeats.job import EdgeIdentity, HeartbeatJob, HeartbeatSources
from driftline_inference.heartbeats.machine import DeviceKey
from driftline_inference.registry.registry import Registry
from driftline_inference.settings import InferenceSettings
from driftline_trainer.fit import Trained
from tests.hearing import hearing
from tests.inference.conftest import SIGNER, put

STREAM = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nlags: 2\n", "a.yaml")
PATIENCE_S = 30
NEVER_S = 86_400.0
"""The next heartbeat is not due before the test is over."""


def settings(**more: object) -> InferenceSettings:
    return InferenceSettings(
        edge="pi-7",
        labels={"site": "north"},
        cache=None,
        heartbeat_every=NEVER_S,
        trusted_keys=SIGNER.public,
        **more,  # type: ignore[arg-type]
    )


def edge_app(bus: Bus, store: FolderStore, stream: StreamDefinition = STREAM, **more: object) -> FastAPI:
    return create_app(settings(**more), bus, store, streams={stream.name: stream})


async def beats(store: FolderStore, trust: Trust | None = None) -> list[Heartbeat]:
    keys = [listed.key async for listed in store.list(HEARTBEATS)]
    return [opened(stored.body, Heartbeat, trust) for key in keys if (stored := await store.get(key)) is not None]


@stamina.retry(on=(AssertionError, NotFound), attempts=None, timeout=PATIENCE_S, wait_initial=0.01, wait_max=0.1)
async def beat_that(store: FolderStore, holds: Callable[[Heartbeat], bool]) -> Heartbeat:
    """The edge's heartbeat, once it is so."""
    written = await beats(store)
    assert written
    assert holds(written[0])
    return written[0]


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with app.router.lifespan_context(app), AsyncExitStack() as stack:
        transport = httpx.ASGITransport(app)
        yield await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://edge"))


async def test_a_heartbeat_says_who_where_and_how(tmp_path: Path) -> None:
    store, bus = FolderStore(tmp_path), MemoryBus()
    app = edge_app(bus, store)
    async with running(app) as client:
        beat = await beat_that(store, lambda beat: beat.number == 1)
        identity = (await client.get("/v1/models")).json()["edge"]
        text = (await client.get("/metrics")).text
    assert identity == {"id": beat.edge, "name": "pi-7", "labels": {"site": "north"}, "rivals": []}
    assert (beat.name, beat.labels, beat.every) == ("pi-7", {"site": "north"}, NEVER_S)
    assert beat.started <= beat.at
    assert beat.lag == 0
    assert beat.clock_offset is None, "a folder does not say its time"
    assert beat.disk_total is not None
    assert 0 < (beat.disk_free or 0) <= beat.disk_total
    assert beat.memory is not None
    assert beat.memory > 10_000_000
    assert beat.models.keys() == {"a.batch", "a.speed"}
    assert f'driftline_edge_info{{edge="{beat.edge}",name="pi-7"}} 1.0' in text


async def test_the_log_says_which_edge_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with hearing() as heard, caplog.at_level("INFO"):
        async with running(edge_app(MemoryBus(), FolderStore(tmp_path))):
            line = await heard.until("'this edge'")
    assert "pi-7" in line
    assert "'site': 'north'" in line


async def test_it_says_what_the_other_services_report(tmp_path: Path) -> None:
    store, bus = FolderStore(tmp_path), MemoryBus()
    gap = Gap(stream="a", what="windows", since=1, until=2, count=3)
    health = StreamHealth(keys=2, newest=7, scored=9, skill={"1": 0.5}, coverage={"1": 0.9})
    reports = [
        ServiceReport(service="combiner", replica="x", every=60.0, streams={"a": health}),
        ServiceReport(
            service="combiner", replica="y", every=60.0, streams={"a": StreamHealth(keys=6, newest=5, skill={"1": 0.1})}
        ),
        ServiceReport(service="ingest", replica="z", every=60.0, lacks={"store": "away"}, waiting=4, gaps=[gap]),
    ]
    app = edge_app(bus, store)
    async with running(app):
        await beat_that(store, lambda beat: beat.number == 1)
        await bus.publish(REPORTS, reports)
        # An alert has a heartbeat written at once; those before it are known by then.
        await bus.publish(ALERTS, [Alert("a", "k", 1, "drift", "y", "it has moved")])
        beat = await beat_that(store, lambda beat: bool(beat.alerts))
    assert beat.streams == {
        "a": StreamHealth(keys=8, newest=7, scored=9, skill={"1": 0.2}, coverage={"1": 0.9}),
    }
    assert beat.waits_for["ingest.store"] == "away"
    assert (beat.waiting, beat.gaps) == (4, [gap])
    assert [(alert.stream, alert.key, alert.kind, alert.detail) for alert in beat.alerts] == [
        ("a", "k", "drift", "it has moved")
    ]


@pytest.mark.training
async def test_a_swap_a_rollback_and_a_refusal_are_said_at_once(
    tmp_path: Path, stream: StreamDefinition, versions: list[Trained]
) -> None:
    store = FolderStore(tmp_path)
    name = f"{stream.name}.batch"
    app = edge_app(MemoryBus(), store, stream)
    async with running(app):
        first = await put(store, stream, versions[0])
        await app.state.reconciler.reconcile()
        beat = await beat_that(store, lambda beat: beat.models[name].version == first)
        assert (beat.models[name].named, beat.models[name].why) == (first, "named by the store's pointer")
        second = await put(store, stream, versions[1])
        await app.state.reconciler.reconcile()
        beat = await beat_that(store, lambda beat: beat.models[name].version == second)
        assert beat.models[name].former == first
        await app.state.reconciler.roll_back(stream.name, "batch", second, "it was worse")
        beat = await beat_that(store, lambda beat: beat.models[name].version == first)
        assert beat.models[name].rolled_back == {second: "it was worse"}
        third = await put(store, stream, versions[0], signer=None)
        await app.state.reconciler.reconcile()
        beat = await beat_that(store, lambda beat: third in beat.models[name].refused)
        assert "found no signature" in beat.models[name].refused[third]


async def test_a_rollback_is_known_after_a_restart(
    tmp_path: Path, stream: StreamDefinition, versions: list[Trained]
) -> None:
    store, cache = FolderStore(tmp_path / "store"), tmp_path / "cache"
    before = create_app(
        settings().model_copy(update={"cache": cache}), MemoryBus(), store, streams={stream.name: stream}
    )
    names = []
    for trained in versions:
        names.append(await put(store, stream, trained))
        await before.state.reconciler.reconcile()
    await before.state.reconciler.roll_back(stream.name, "batch", names[1], "it was worse")
    after = create_app(
        settings().model_copy(update={"cache": cache}), MemoryBus(), store, streams={stream.name: stream}
    )
    await after.state.reconciler.restore()
    assert after.state.registry.state(stream.name, "batch").rolled_back == {names[1]: "it was worse"}


async def test_a_heartbeat_is_signed_from_when_the_device_has_a_key(tmp_path: Path) -> None:
    store, keys = FolderStore(tmp_path / "store"), tmp_path / "keys"
    app = edge_app(MemoryBus(), store, device_key_file=keys / KEY_FILE)
    async with running(app):
        unsigned = await beat_that(store, lambda beat: beat.number == 1)
        public = new_keys(keys)
        await app.state.heartbeats.beat()
    (signed,) = await beats(store, Trust([public]))
    assert (signed.edge, signed.number) == (unsigned.edge, 2)


def test_a_file_that_holds_no_key_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    with pytest.raises(InvalidInput, match="private key"):
        edge_app(MemoryBus(), FolderStore(tmp_path), device_key_file=tmp_path / "key")


async def test_a_copied_card_is_found_on_both_devices_within_two_heartbeats(tmp_path: Path) -> None:
    """Two real edges on copies of one bus's folder, over one store."""
    store = FolderStore(tmp_path / "store")
    original = EmbeddedBus(EmbeddedSettings(tmp_path / "bus"))
    app = edge_app(original, store)
    async with running(app):
        edge = (await beat_that(store, lambda beat: beat.number == 1)).edge
    shutil.copytree(tmp_path / "bus", tmp_path / "copy")
    apps = [edge_app(EmbeddedBus(EmbeddedSettings(tmp_path / name)), store) for name in ("bus", "copy")]
    boots = [app.state.heartbeats.boot for app in apps]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(running(apps[0]))
        await beat_that(store, lambda beat: beat.boot == boots[0])
        second = await stack.enter_async_context(running(apps[1]))
        await beat_that(store, lambda beat: beat.boot == boots[1])
        for _ in range(2):
            for app in apps:
                await app.state.heartbeats.beat()
        for client, rival in ((first, boots[1]), (second, boots[0])):
            assert (await client.get("/v1/models")).json()["edge"]["rivals"] == [rival]
            readiness = await client.get("/readyz")
            assert readiness.status_code == 200, "forecasts go on"
            assert rival in readiness.json()["checks"]["identity"]
            assert f"another device runs under this edge's id {edge}" in readiness.json()["checks"]["identity"]
            alerts = 'driftline_alerts_total{kind="identity",stream=""} 1.0'
            assert alerts in (await client.get("/metrics")).text
        (beat,) = await beats(store)
        assert beat.rivals == [boots[0]]
        # The alert is on each one's own bus, and so in its next heartbeat.
        assert ("", edge, "identity") in [
            (alert.stream, alert.key, alert.kind)
            for alert in (await beat_that(store, lambda beat: bool(beat.alerts))).alerts
        ]


class Replica:
    """A heartbeat job by itself, on a bus that others use, too."""

    def __init__(self, bus: Bus, store: FolderStore, streams: int = 1) -> None:
        definitions = {f"s{n:04}": STREAM.model_copy(update={"name": f"s{n:04}"}) for n in range(streams)}
        self.owns = True
        self.edge, metrics = Edge(bus), Metrics()
        registry = Registry(definitions, metrics)
        steps = create_app(settings(), bus, store, streams=definitions).state.stream_steps
        identity = EdgeIdentity("pi-7", {}, DeviceKey(None), Path())
        self.job = HeartbeatJob(
            identity,
            HeartbeatSources(self.edge, registry, steps, lambda: self.owns, bus, store, metrics),
            Reporter("inference", bus, ()),
            Hints(),
            every=NEVER_S,
            settle=0.0,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[HeartbeatJob]:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.edge.run())
            group.create_task(self.job.run())
            await self.edge.id()
            try:
                yield self.job
            finally:
                await self.job.stop()
                await self.edge.stop()


async def test_replicas_that_take_turns_are_no_rivals(tmp_path: Path) -> None:
    store, bus = FolderStore(tmp_path), MemoryBus()
    first, second = Replica(bus, store), Replica(bus, store)
    second.owns = False
    async with first.running(), second.running():
        await beat_that(store, lambda beat: beat.boot == first.job.boot)
        for turn in range(6):
            first.owns, second.owns = turn % 2 == 1, turn % 2 == 0
            writer = first if first.owns else second
            await first.job.beat()
            await second.job.beat()
            assert (await beats(store))[0].boot == writer.job.boot
        # Neither is who believes that it still writes although another one does.
        first.owns = second.owns = True
        for _ in range(3):
            await first.job.beat()
            await second.job.beat()
        assert first.job.rivals() == second.job.rivals() == []


async def test_a_restart_is_no_rival_and_keeps_the_alerts(tmp_path: Path) -> None:
    store, bus = FolderStore(tmp_path), MemoryBus()
    boots = set()
    for run in range(3):
        replica = Replica(bus, store)
        async with replica.running() as job:
            boots.add((await beat_that(store, lambda beat, boot=job.boot: beat.boot == boot)).boot)  # type: ignore[misc]
            if run == 0:
                await bus.publish(ALERTS, [Alert("a", "k", 1, "drift", "y", "it has moved")])
                await beat_that(store, lambda beat: bool(beat.alerts))
            for _ in range(3):
                await job.beat()
            assert job.rivals() == []
        (beat,) = await beats(store)
        assert [alert.detail for alert in beat.alerts] == ["it has moved"]
    assert len(boots) == 3


async def test_a_store_out_of_a_backup_makes_no_rival(tmp_path: Path) -> None:
    store, bus = FolderStore(tmp_path), MemoryBus()
    async with Replica(bus, store).running() as former:
        await beat_that(store, lambda beat: beat.number == 1)
        (key,) = [listed.key async for listed in store.list(HEARTBEATS)]
        backup = await store.get(key)
        assert backup is not None
        await former.beat()
    async with Replica(bus, store).running() as job:
        await beat_that(store, lambda beat: beat.boot == job.boot)
        for _ in range(3):
            await store.put(key, backup.body)
            await job.beat()
            assert (await beats(store))[0].boot == job.boot
        await store.delete(key)
        await job.beat()
        assert (await beats(store))[0].boot == job.boot
        assert job.rivals() == []


@pytest.mark.parametrize("body", [b"", b"{}", b"\x1f\x8bno gzip", b"x" * 300_000])
async def test_what_lies_there_and_is_no_heartbeat_is_replaced(tmp_path: Path, body: bytes) -> None:
    store, bus = FolderStore(tmp_path), MemoryBus()
    async with Replica(bus, store).running() as job:
        await beat_that(store, lambda beat: beat.number == 1)
        (key,) = [listed.key async for listed in store.list(HEARTBEATS)]
        await store.put(key, body)
        await job.beat()
        assert (await beats(store))[0].number == 2
        assert job.rivals() == []


async def test_while_the_store_is_away_nothing_breaks_and_the_newest_is_written_once_it_answers(tmp_path: Path) -> None:
    root, bus = tmp_path / "store", MemoryBus()
    root.write_text("a file where the store's folder should be")
    store = FolderStore(root)
    async with Replica(bus, store).running() as job:
        for _ in range(3):
            await job.beat()
        root.unlink()
        await job.beat()
        (beat,) = await beats(store)
        assert beat.number >= 4
        assert job.rivals() == []


class HangingStore(FolderStore):
    """A real store that never answers to who writes a heartbeat."""

    hung = False

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        if key.startswith(HEARTBEATS):
            self.hung = True
            await asyncio.Event().wait()
        return await super().put(key, body, if_absent=if_absent, if_match=if_match)


async def test_a_store_that_hangs_delays_neither_forecasts_nor_models(tmp_path: Path) -> None:
    store, bus = HangingStore(tmp_path), MemoryBus(1)
    app = edge_app(bus, store)
    async with asyncio.timeout(PATIENCE_S), running(app) as client:
        async for attempt in stamina.retry_context(on=AssertionError, attempts=None, timeout=PATIENCE_S, wait_max=0.1):
            with attempt:
                assert store.hung
        async with aclosing(bus.tail(FORECASTS)) as pages:
            await anext(pages)
            await bus.publish(RECORDS, [Record("a", "k", 3_600_000, {"y": 1.0}, 0.0)])
            assert [envelope.value.key for envelope in await anext(pages)] == ["k"]
        await app.state.reconciler.reconcile()
        assert (await client.get("/readyz")).status_code == 200


async def test_a_heartbeat_is_bounded_however_many_streams_and_alerts_there_are(tmp_path: Path) -> None:
    store, bus = FolderStore(tmp_path), MemoryBus()
    async with Replica(bus, store, streams=300).running() as job:
        await beat_that(store, lambda beat: beat.number == 1)
        alerts = [Alert("s" * 100, "k" * 5000, n, "drift", "y" * 5000, "z" * 5000) for n in range(100)]
        await bus.publish(ALERTS, alerts)
        horizons = {str(h): 0.1234 for h in range(50)}
        health = StreamHealth(keys=10_000, newest=1, scored=2, skill=horizons, coverage=horizons)
        streams = {f"s{n:04}": health for n in range(300)}
        await bus.publish(REPORTS, [ServiceReport(service="combiner", replica="x", every=60.0, streams=streams)])
        beat = await beat_that(store, lambda beat: bool(beat.left_out))
        assert len(msgspec.json.encode(beat)) <= 256 * 1024
        assert len(beat.alerts) == 20
        assert beat.left_out + len(beat.streams) + len(beat.models) == 300 + 2 * 300
        assert list(beat.streams)[:2] == ["s0000", "s0001"]
        assert job.rivals() == []
