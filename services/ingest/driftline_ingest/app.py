"""The composition root of ingest: the door, and the archive of windows and results."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI

from driftline.bus.edge import Edge
from driftline.bus.kafka_settings import KafkaSettings
from driftline.bus.lag import LagExporter
from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.messages import BLENDS, OBSERVATIONS, RECORDS, ServiceReport, Topic
from driftline.metrics import Metrics, from_zero
from driftline.service.access.gate import AccessGate
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
from driftline.tracing.port import Tracing
from driftline.worker.loop import Worker
from driftline_ingest import arrivals, influx, record_routes
from driftline_ingest.archive_workers import ArchiveWorkers
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
from driftline_ingest.packing import FUTURES
from driftline_ingest.settings import IngestSettings
from driftline_ingest.sink import REASONS, WindowArchive
from driftline_ingest.synchronised import is_synchronised
from driftline_ingest.windows import BlendWindows, RecordWindows

ROLES: Final[Mapping[str, Needed]] = {
    **{f"POST {path}": "open" for path in ("/v1/records", "/v1/futures", "/api/v2/write", "/write", "/query")},
    **{f"GET {path}": "open" for path in ("/ping", "/health")},
}
"""The doors of records ask for a sender themselves, in the words of their clients."""
GAPS_REPORTED = 50


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
    timed, edge, census = TimedStore(store, metrics), Edge(bus, wanted=settings.edge_id), Census(streams.of_records)
    _export_metrics(metrics, streams, census)
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
    _add_doors(app, door, settings, metrics, gate, tracing)
    app.include_router(backlog_routes(backlog, losses.gaps))
    return app


def _add_doors(
    app: FastAPI, door: Door, settings: IngestSettings, metrics: Metrics, gate: AccessGate, tracing: Tracing | None
) -> None:
    """Where records come by HTTP."""
    limiter = Limiter(settings, metrics.requests_limited)
    routers = (record_routes.routes(door, settings, limiter, gate), influx.routes(door, settings, limiter, gate))
    for router in (*routers, influx.probes()):
        app.include_router(router)
    handlers = {path: handler for router in routers for path, handler in direct_handlers(router).items()}
    app.add_middleware(DirectPaths, handlers=handlers, behind=app)
    if tracing is not None:
        app.add_middleware(tracing.requests, paths=handlers.keys())


def _backlog(settings: IngestSettings, losses: Losses) -> Backlog | None:
    if settings.spool is None:
        return None
    backlog = Backlog(FolderStore(settings.spool), settings.spool_limit, losses.gaps, losses.add)
    losses.keep = backlog.keep_notes
    return backlog


def _with_losses(report: ServiceReport, backlog: Backlog | None, losses: Losses) -> ServiceReport:
    waiting = backlog.windows if backlog is not None else 0
    return msgspec.structs.replace(report, waiting=waiting, gaps=list(losses.gaps.newest(GAPS_REPORTED)))


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


def _export_metrics(metrics: Metrics, streams: Streams, census: Census) -> None:
    """Of all streams and sources, also those that are defined later."""
    sources = streams.sources
    sources.on_every(lambda source: _from_zero(metrics, source.name))
    sources.on_every(lambda source: metrics.export_keys(source.name, source.keys, lambda: census.keys(source.name)))
    streams.on_every(lambda stream: metrics.stream_period.labels(stream.name).set(stream.time.period))
    streams.on_every(lambda stream: _stream_from_zero(metrics, stream.name))


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
