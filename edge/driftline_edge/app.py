"""The composition root of the edge: three services on one bus."""

from driftline.bus.embedded import EmbeddedBus
from driftline.bus.kafka import KafkaSettings
from driftline.bus.port import Bus
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
from driftline_inference.settings import InferenceSettings
from driftline_ingest.app import create_app as create_ingest
from driftline_ingest.settings import IngestSettings


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
