"""The composition root of ingest: the door, and the archive of windows and results."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import FastAPI

from driftline.bus.edge import Edge
from driftline.bus.lag import LagExporter
from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.messages import BLENDS, OBSERVATIONS, RECORDS, Blend, Topic
from driftline.metrics import Metrics, from_zero
from driftline.names import ARCHIVE_GROUPS
from driftline.service.app import BackgroundJob, ReadinessCheck, create_service, end_process
from driftline.service.direct import DirectPaths
from driftline.store.port import Store
from driftline.store.timed import TimedStore
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition, refusal
from driftline.worker.loop import Worker
from driftline.worker.loop_metrics import LoopMetrics
from driftline.worker.stream_step import Timed
from driftline_ingest import arrivals
from driftline_ingest.archive import ArchiveStep
from driftline_ingest.census import Census
from driftline_ingest.door import Door, direct_handlers, routes
from driftline_ingest.grid_worker import GridWorker
from driftline_ingest.mqtt import MqttDoor
from driftline_ingest.packing import FUTURES, Packing
from driftline_ingest.settings import IngestSettings
from driftline_ingest.sink import REASONS, WindowSink
from driftline_ingest.synchronised import is_synchronised
from driftline_ingest.windows import BlendWindows, RecordWindows

GATHER_S = 0.5
"""Nobody waits for the archive: it reads much at once and leaves the processor to the stream."""


def create_app(
    settings: IngestSettings,
    bus: Bus,
    store: Store,
    *,
    streams: Mapping[str, StreamDefinition],
    metrics: Metrics | None = None,
    on_death: Callable[[str, BaseException], None] = end_process,
    clock: Callable[[], float] = time.time,
    synchronised: Callable[[], bool] = is_synchronised,
) -> FastAPI:
    """Takes records in, and archives records and blends in the store."""
    metrics, streams = metrics or Metrics(), Streams.of(streams)
    streams.on_every(lambda stream: _from_zero(metrics, stream.name))
    streams.on_every(lambda stream: metrics.stream_period.labels(stream.name).set(stream.time.period))
    timed, edge, census = TimedStore(store, metrics), Edge(bus), Census(streams)
    streams.on_every(lambda stream: metrics.export_keys(stream.name, stream.keys, lambda: census.keys(stream.name)))

    archive = ArchiveWorkers(settings, bus, timed, streams, metrics, edge)
    windows = archive.worker(RECORDS, RecordWindows(streams), census)
    results = archive.worker(BLENDS, BlendWindows(streams))
    believed = BelievedClock(clock)
    door = Door(settings, bus, streams, census, metrics, believed, synchronised)
    groups: list[tuple[str, Topic[Any]]] = [(windows.name, RECORDS), (results.name, BLENDS)]
    grid = GridWorker(settings, bus, streams, metrics, lambda: groups.append((GridWorker.name, OBSERVATIONS)))
    archive.kept[grid.name] = grid.step.kept
    jobs: list[BackgroundJob] = [edge, grid, windows, results, LagExporter(bus, groups, metrics, archive.kept)]
    mqtt = [MqttDoor(settings, door, streams)] if settings.mqtt_host is not None else []
    app = create_service(
        "ingest",
        "Takes sensor records in, and archives training windows and results in the object store.",
        metrics=metrics,
        streams=streams,
        jobs=[*jobs, *mqtt],
        checks=[*_checks(bus, believed, windows, results, timed), *_grid_check(grid), *map(_mqtt_check, mqtt)],
        on_death=on_death,
        close=(bus.close, timed.close),
    )
    router = routes(door, settings)
    app.include_router(router)
    app.add_middleware(DirectPaths, handlers=direct_handlers(router), behind=app)
    return app


@dataclass(frozen=True)
class ArchiveWorkers:
    """What the archives of records and blends have in common."""

    settings: IngestSettings
    bus: Bus
    store: Store
    streams: Streams
    metrics: Metrics
    edge: Edge
    kept: dict[str, Callable[[int], int]] = field(default_factory=dict)
    """By group, how many messages of a partition wait for their window to be full: they are no lag."""

    def worker(self, topic: Topic[Timed], packing: Packing[Timed], census: Census | None = None) -> Worker[Timed]:
        """census: who counts the keys."""
        streams, metrics, group = self.streams, self.metrics, ARCHIVE_GROUPS[packing.kind]
        dropped = metrics.records_dropped
        step = ArchiveStep(packing, lambda stream, reason: dropped.labels(stream, reason).inc(), census=census)
        self.kept[group] = step.kept
        return Worker(
            group,
            self.bus,
            topic,
            step,
            # A window that is written must not be in silence, so the position goes with the states, which are small.
            replace(self.settings.loop, state_every=0.0),
            refuse=lambda message: refuse(streams, message),
            wait_for=lambda message: streams.expect(message.stream, self.settings.streams_patience),
            sink=WindowSink(self.store, packing, metrics, self.edge.id),
            gather=GATHER_S,
            observer=LoopMetrics(metrics, group, topic.name),
        )


def _checks(
    bus: Bus, clock: BelievedClock, windows: Worker[Any], results: Worker[Any], store: TimedStore
) -> list[ReadinessCheck]:
    """The archive waits for the store; records are taken meanwhile."""
    return [
        ReadinessCheck("bus", bus.check),
        ReadinessCheck("clock", clock.check),
        ReadinessCheck("windows", windows.check, needed=False),
        ReadinessCheck("results", results.check, needed=False),
        ReadinessCheck("store", store.answered, needed=False),
    ]


def _grid_check(grid: GridWorker) -> list[ReadinessCheck]:
    """Where a stream has a grid; observations are taken meanwhile."""
    return [ReadinessCheck("grid", grid.check, needed=False)] if grid.is_wanted else []


def _mqtt_check(door: MqttDoor) -> ReadinessCheck:
    """Needed: while its broker is away that door does no work, and what sensors send is held by nobody we know of."""
    return ReadinessCheck("mqtt", door.check)


def refuse(streams: Mapping[str, StreamDefinition], message: Any) -> str | None:
    """Why a record or blend can't be archived, or None."""
    if isinstance(message, Blend):
        return refusal(streams, message.stream, times=(message.t,))
    is_future = message.issued is not None
    times = (message.t, message.issued) if is_future else (message.t,)
    return refusal(streams, message.stream, message.values, future=is_future, times=times)


def _from_zero(metrics: Metrics, stream: str) -> None:
    for counter in (
        metrics.records,
        metrics.futures,
        metrics.records_refused,
        metrics.keys_refused,
        metrics.fields_ignored,
    ):
        from_zero(counter, (stream,))
    from_zero(metrics.records_set_aside, (stream,), arrivals.REASONS)
    kinds = (RecordWindows.kind, BlendWindows.kind, FUTURES)
    from_zero(metrics.windows_archived, (stream,), kinds)
    from_zero(metrics.windows_left_out, (stream,), kinds, REASONS)
