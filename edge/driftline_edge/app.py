"""The composition root of the edge: three services on one bus."""

import asyncio
import logging
import os
from collections.abc import Callable
from functools import partial

from driftline.bus.edge import edge_id
from driftline.bus.embedded import EmbeddedBus
from driftline.bus.kafka_settings import KafkaSettings
from driftline.bus.port import Bus
from driftline.errors import DriftlineError
from driftline.fleet.upkeep import CloudDefinitions, CredentialRotation
from driftline.metrics import Metrics
from driftline.service.app import BackgroundJob, end_process
from driftline.service.logs import speaking
from driftline.service.ports import open_bus, open_store
from driftline.service.run import Served, check_door
from driftline.store.port import Store
from driftline.store.threaded import ThreadedStore
from driftline.streams.catalog import Streams
from driftline.tracing.environment import open_tracing
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_edge.settings import AllSettings, EdgeSettings
from driftline_edge.shared_bus import SharedBus
from driftline_inference.app import create_app as create_inference
from driftline_inference.app import state_keeper
from driftline_inference.settings import InferenceSettings
from driftline_ingest.app import create_app as create_ingest

log = logging.getLogger(__name__)

_CHANGED = RuntimeError("the cloud has changed streams that run")

LAST_S = 5.0
"""How long the end of the process may wait for the store."""


def open_edge_bus(settings: EdgeSettings) -> Bus:
    """Its death ends the process. Raises BusUnavailable where the folder can't be used now, and UnusableData where no
    retry helps."""
    if settings.bus == "embedded":
        return EmbeddedBus(settings.embedded, on_death=end_process)
    return open_bus(settings)


def create_services(
    settings: AllSettings, bus: Bus, restart: Callable[[], None] = lambda: end_process("definitions", _CHANGED)
) -> list[Served]:
    """The services, each with metrics and a catalogue of streams of its own. They don't close the bus. Raises
    InvalidInput. restart: called when the cloud has changed a stream that runs."""
    shared = SharedBus(bus)
    topics = settings.ingest.topics(own=settings.edge.bus == "kafka")
    services = [
        _ingest(settings, shared, topics, restart),
        _inference(settings.inference, shared),
        _combiner(settings.combiner, shared),
    ]
    for service in services:
        check_door(service.app, service.settings)
    return services


async def leave_last(settings: AllSettings, bus: Bus) -> None:
    """What was learned since the states were left last, so that a device that replaces this one lacks nothing. Where
    the store does not answer soon, it lacks that."""
    if settings.inference.sealing_key() is None:
        return
    store = ThreadedStore(open_store(settings.inference))
    streams = Streams.open(settings.inference.streams, settings.inference.cloud_streams)
    keeper = state_keeper(settings.inference, bus, store, partial(edge_id, bus), Metrics(), streams=streams)
    try:
        async with asyncio.timeout(LAST_S):
            await keeper.leave()
    except (DriftlineError, TimeoutError) as error:
        log.warning("what was learned last is not left in the store: %s", error or "it does not answer in time")
    finally:
        await store.close()


def _ingest(every: AllSettings, bus: Bus, topics: KafkaSettings | None, restart: Callable[[], None]) -> Served:
    settings = every.ingest
    with speaking("ingest"):
        store, streams = open_store(settings), Streams.open(settings.streams, settings.cloud_streams)
        tracing = open_tracing("ingest", os.environ)
        jobs = _of_fleet(every, store, streams, restart) if every.joined is not None else []
        app = create_ingest(settings, bus, store, streams=streams, topics=topics, tracing=tracing, more=jobs)
    return Served("ingest", app, settings)


def _of_fleet(every: AllSettings, store: Store, streams: Streams, restart: Callable[[], None]) -> list[BackgroundJob]:
    """What a device of a fleet does for itself."""
    assert every.joined is not None, "only who has joined has a fleet"  # noqa: S101

    async def on_new() -> None:
        await streams.look()
        changed = [state.stream for state in streams.standings() if state.state != "runs"]
        if changed:
            log.warning("the cloud has changed streams that run, so all begin again: %s", ", ".join(changed))
            restart()

    jobs: list[BackgroundJob] = [CredentialRotation(every.device, every.joined)]
    if every.ingest.store_is_door:
        jobs.append(CloudDefinitions(every.device, store, on_new).job(every.ingest.store_poll))
    return jobs


def _inference(settings: InferenceSettings, bus: Bus) -> Served:
    with speaking("inference"):
        store = ThreadedStore(open_store(settings))
        streams = Streams.open(settings.streams, settings.cloud_streams)
        app = create_inference(settings, bus, store, streams=streams, tracing=open_tracing("inference", os.environ))
    return Served("inference", app, settings)


def _combiner(settings: CombinerSettings, bus: Bus) -> Served:
    with speaking("combiner"):
        store = ThreadedStore(open_store(settings))
        streams = Streams.open(settings.streams, settings.cloud_streams)
        app = create_combiner(settings, bus, streams=streams, store=store, tracing=open_tracing("combiner", os.environ))
    return Served("combiner", app, settings)
