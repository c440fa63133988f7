"""The composition root of ingest: the door, and the archive of windows and results."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from fastapi import FastAPI

from driftline.bus.edge import Edge
from driftline.bus.kafka_settings import KafkaSettings
from driftline.bus.lag import LagExporter
from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.messages import BLENDS, OBSERVATIONS, RECORDS, Blend, ServiceReport, Topic
from driftline.metrics import Metrics, from_zero
from driftline.names import ARCHIVE_GROUPS
from driftline.service.access.opening import open_gate
from driftline.service.access.roles import Needed
from driftline.service.app import BackgroundJob, ReadinessCheck, create_service, end_process
from driftline.service.direct import DirectPaths
from driftline.service.reports import Reporter
from driftline.store.folder import FolderStore
from driftline.store.port import Store
from driftline.store.timed import TimedStore
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.message_validation import refusal
from driftline.tracing.port import Tracing
from driftline.worker.loop import Worker
from driftline.worker.loop_metrics import LoopMetrics
from driftline.worker.stream_step import Timed
from driftline_ingest import arrivals, influx, record_routes
from driftline_ingest.archive import ArchiveStep
from driftline_ingest.backlog import Backlog
from driftline_ingest.backlog_route import routes as backlog_routes
from driftline_ingest.census import Census
from driftline_ingest.direct_routes import direct_handlers
from driftline_ingest.door import Door
from driftline_ingest.following import BacklogJob
from driftline_ingest.grid_worker import GridWorker
from driftline_ingest.kafka import KafkaDoor
from driftline_ingest.limiter import Limiter
from driftline_ingest.losses import Losses
from driftline_ingest.opening import open_mqtt
from driftline_ingest.packing import FUTURES, Packing
from driftline_ingest.settings import IngestSettings
from driftline_ingest.sink import REASONS, WindowArchive, WindowSink
from driftline_ingest.synchronised import is_synchronised
from driftline_ingest.windows import BlendWindows, RecordWindows

ROLES: Final[Mapping[str, Needed]] = {
    **{f"POST {path}": "open" for path in ("/v1/records", "/v1/futures", "/api/v2/write", "/write", "/query")},
    **{f"GET {path}": "open" for path in ("/ping", "/health")},
}
"""The doors of records ask for a sender themselves, in the words of their clients."""
GAPS_REPORTED = 50
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
    topics: KafkaSettings | None = None,
    tracing: Tracing | None = None,
    more: Sequence[BackgroundJob] = (),
) -> FastAPI:
    """Takes records in, and archives records and blends in the store. topics: where topics of others are. more: jobs
    that run as long."""
    metrics, streams = metrics or Metrics(), Streams.of(streams)
    sources = streams.sources
    sources.on_every(lambda source: _from_zero(metrics, source.name))
    streams.on_every(lambda stream: metrics.stream_period.labels(stream.name).set(stream.time.period))
    streams.on_every(lambda stream: _stream_from_zero(metrics, stream.name))
    timed, edge, census = TimedStore(store, metrics), Edge(bus, wanted=settings.edge_id), Census(streams.of_records)
    sources.on_every(lambda source: metrics.export_keys(source.name, source.keys, lambda: census.keys(source.name)))

    losses = Losses(bus, metrics)
    backlog = _backlog(settings, losses)
    archived = WindowArchive(timed, metrics)
    archive = ArchiveWorkers(settings, bus, archived, backlog, losses, streams, metrics, edge)
    windows = archive.worker(RECORDS, RecordWindows(streams.of_records), census)
    results = archive.worker(BLENDS, BlendWindows(streams))
    believed = BelievedClock(clock)
    door = Door(settings, bus, streams, census, metrics, believed, synchronised, tracing)
    groups: list[tuple[str, Topic[Any]]] = [(windows.name, RECORDS), (results.name, BLENDS)]
    grid = GridWorker(
        settings, bus, streams, metrics, lambda: groups.append((GridWorker.name, OBSERVATIONS)), tracing=tracing
    )
    archive.kept[grid.name] = grid.step.kept
    jobs: list[BackgroundJob] = [edge, grid, windows, results, LagExporter(bus, groups, metrics, archive.kept), losses]
    if backlog is not None:
        jobs.append(BacklogJob(backlog, archived, metrics, settings.backlog_rate))
    mqtt = open_mqtt(settings, door, streams)
    kafka = KafkaDoor(topics, bus, door, streams, edge.id)
    needs_topics = settings.source_brokers is not None or any(stream.kafka for stream in streams.values())
    checks = [
        *_checks(bus, believed, windows, results, timed),
        *([ReadinessCheck("backlog", backlog.check, needed=False)] if backlog is not None else []),
        *_grid_check(grid),
        *(ReadinessCheck("mqtt", mqtt_door.check) for mqtt_door in mqtt),
        *([ReadinessCheck("kafka", kafka.check)] if needs_topics else []),
    ]
    reporter = Reporter("ingest", bus, checks, lambda report: _with_losses(report, backlog, losses))
    gate = open_gate(settings, metrics)
    app = create_service(
        "ingest",
        "Takes sensor records in, and archives training windows and results in the object store.",
        metrics=metrics,
        streams=streams,
        jobs=[*jobs, *mqtt, kafka, reporter, *more],
        checks=checks,
        on_death=on_death,
        close=(bus.close, timed.close, *([tracing.close] if tracing is not None else [])),
        gate=gate,
        roles=ROLES,
    )
    limiter = Limiter(settings, metrics.requests_limited)
    routers = (record_routes.routes(door, settings, limiter, gate), influx.routes(door, settings, limiter, gate))
    for router in (*routers, influx.probes(), backlog_routes(backlog, losses.gaps)):
        app.include_router(router)
    handlers = {path: handler for router in routers for path, handler in direct_handlers(router).items()}
    app.add_middleware(DirectPaths, handlers=handlers, behind=app)
    if tracing is not None:
        app.add_middleware(tracing.requests, paths=handlers.keys())
    return app


def _backlog(settings: IngestSettings, losses: Losses) -> Backlog | None:
    if settings.spool is None:
        return None
    backlog = Backlog(FolderStore(settings.spool), settings.spool_limit, losses.gaps, losses.add)
    losses.keep = backlog.keep_notes
    return backlog


def _with_losses(report: ServiceReport, backlog: Backlog | None, losses: Losses) -> ServiceReport:
    waiting = backlog.windows if backlog is not None else 0
    return msgspec.structs.replace(report, waiting=waiting, gaps=list(losses.gaps.newest(GAPS_REPORTED)))


@dataclass(frozen=True)
class ArchiveWorkers:
    """What the archives of records and blends have in common."""

    settings: IngestSettings
    bus: Bus
    archive: WindowArchive
    backlog: Backlog | None
    losses: Losses
    streams: Streams
    metrics: Metrics
    edge: Edge
    kept: dict[str, Callable[[int], int]] = field(default_factory=dict)
    """By group, how many messages of a partition wait for their window to be full: they are no lag."""

    def worker(self, topic: Topic[Timed], packing: Packing[Timed], census: Census | None = None) -> Worker[Timed]:
        """census: who counts the keys."""
        streams, metrics, group = self.streams, self.metrics, ARCHIVE_GROUPS[packing.kind]
        dropped = metrics.records_dropped
        step = ArchiveStep(
            packing,
            lambda stream, reason: dropped.labels(stream, reason).inc(),
            census=census,
            lost=self.losses.add,
        )
        self.kept[group] = step.kept
        return Worker(
            group,
            self.bus,
            topic,
            step,
            # A window that is written must not be in silence, so the position goes with the states, which are small.
            replace(self.settings.loop, state_every=0.0),
            refuse=lambda message: refuse(streams, message),
            wait_for=lambda message: _expect(streams, message, self.settings.streams_patience),
            sink=WindowSink(self.archive, packing, self.edge.id, self.backlog),
            gather=GATHER_S,
            observer=LoopMetrics(metrics, group, topic.name, step.miss),
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


async def _expect(streams: Streams, message: Any, patience: float) -> None:
    """A blend is of a stream, a record of a source."""
    expect = streams.expect if isinstance(message, Blend) else streams.expect_source
    await expect(message.stream, patience)


def refuse(streams: Streams, message: Any) -> str | None:
    """Why a record or blend can't be archived, or None."""
    if isinstance(message, Blend):
        return refusal(streams, message.stream, times=(message.t,))
    is_future = message.issued is not None
    times = (message.t, message.issued) if is_future else (message.t,)
    return refusal(streams.of_records, message.stream, message.values, future=is_future, times=times)


def _from_zero(metrics: Metrics, source: str) -> None:
    for counter in (
        metrics.records,
        metrics.futures,
        metrics.records_refused,
        metrics.keys_refused,
        metrics.fields_ignored,
    ):
        from_zero(counter, (source,))
    from_zero(metrics.records_set_aside, (source,), arrivals.REASONS)
    _windows_from_zero(metrics, source, (RecordWindows.kind, FUTURES))


def _stream_from_zero(metrics: Metrics, stream: str) -> None:
    from_zero(metrics.readings_beyond_range, (stream,))
    _windows_from_zero(metrics, stream, (BlendWindows.kind,))
    from_zero(metrics.alerts, (stream,), ("lost",))


def _windows_from_zero(metrics: Metrics, stream: str, kinds: Sequence[str]) -> None:
    from_zero(metrics.windows_archived, (stream,), kinds)
    from_zero(metrics.windows_left_out, (stream,), kinds, REASONS)
    from_zero(metrics.rows_lost, (stream,), kinds)
