"""The composition root of the edge: three services on one bus."""

import asyncio
import logging
from functools import partial

from driftline.bus.edge import edge_id
from driftline.bus.embedded import EmbeddedBus
from driftline.bus.kafka import KafkaSettings
from driftline.bus.port import Bus
from driftline.errors import DriftlineError
from driftline.metrics import Metrics
from driftline.service.app import end_process
from driftline.service.logs import speaking
from driftline.service.ports import open_bus, open_store
from driftline.service.run import Served, check_door
from driftline.store.threaded import ThreadedStore
from driftline.streams.catalog import Streams
from driftline_combiner.app import create_app as create_combiner
from driftline_combiner.settings import CombinerSettings
from driftline_edge.settings import AllSettings, EdgeSettings
from driftline_edge.shared_bus import SharedBus
from driftline_inference.app import create_app as create_inference
from driftline_inference.app import state_keeper
from driftline_inference.settings import InferenceSettings
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings

log = logging.getLogger(__name__)

LAST_S = 5.0
"""How long the end of the process may wait for the store."""


def open_edge_bus(settings: EdgeSettings) -> Bus:
    """Its death ends the process. Raises BusUnavailable where the folder can't be used now, and UnusableData where no
    retry helps."""
    if settings.bus == "embedded":
        return EmbeddedBus(settings.embedded, on_death=end_process)
    return open_bus(settings)


def create_services(settings: AllSettings, bus: Bus) -> list[Served]:
    """The services, each with metrics and a catalogue of streams of its own. They don't close the bus. Raises
    InvalidInput."""
    shared = SharedBus(bus)
    services = [
        _ingest(settings.ingest, shared, settings.ingest.topics(own=settings.edge.bus == "kafka")),
        _inference(settings.inference, shared),
        _combiner(settings.combiner, shared),
    ]
    for service in services:
        check_door(service.app, service.settings)
    return services


async def leave_last(settings: AllSettings, bus: Bus) -> None:
    """What was learned since the states were left last, so that a device that replaces this one lacks nothing. Where
    the store does not answer soon, it lacks that."""
    if settings.inference.fleet_key_file is None:
        return
    store = ThreadedStore(open_store(settings.inference))
    streams = Streams.open(settings.inference.streams)
    keeper = state_keeper(settings.inference, bus, store, partial(edge_id, bus), Metrics(), streams=streams)
    try:
        async with asyncio.timeout(LAST_S):
            await keeper.leave()
    except (DriftlineError, TimeoutError) as error:
        log.warning("what was learned last is not left in the store: %s", error or "it does not answer in time")
    finally:
        await store.close()


def _ingest(settings: IngestSettings, bus: Bus, topics: KafkaSettings | None) -> Served:
    with speaking("ingest"):
        app = create_ingest(settings, bus, open_store(settings), streams=Streams.open(settings.streams), topics=topics)
    return Served("ingest", app, settings)


def _inference(settings: InferenceSettings, bus: Bus) -> Served:
    with speaking("inference"):
        store = ThreadedStore(open_store(settings))
        app = create_inference(settings, bus, store, streams=Streams.open(settings.streams))
    return Served("inference", app, settings)


def _combiner(settings: CombinerSettings, bus: Bus) -> Served:
    with speaking("combiner"):
        app = create_combiner(settings, bus, streams=Streams.open(settings.streams))
    return Served("combiner", app, settings)
