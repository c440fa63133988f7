"""The composition root of the combiner."""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import APIRouter, FastAPI
from msgspec.structs import replace
from starlette.middleware.cors import CORSMiddleware

from driftline.bus.lag import LagExporter
from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.messages import ALERTS, FORECASTS, Alert, Forecast, ServiceReport, Topic
from driftline.metrics import Metrics, from_zero
from driftline.names import COMBINER_GROUP, RETRAIN_GROUP
from driftline.service.access.opening import open_gate
from driftline.service.app import BackgroundJob, ReadinessCheck, create_service, end_process
from driftline.service.reports import Reporter
from driftline.store.door import tls_of
from driftline.store.port import Store
from driftline.streams.catalog import PerStream, Streams
from driftline.streams.definition import StreamDefinition
from driftline.tracing.port import Tracing
from driftline.worker.keyed import KeyedStep
from driftline.worker.loop import Worker
from driftline.worker.loop_metrics import LoopMetrics, report_left_behind
from driftline_combiner import (
    csv_route,
    dashboard,
    embed,
    forecasts_route,
    history_route,
    model_story,
    series_overview,
)
from driftline_combiner.dashboard_buffer import DashboardBuffer
from driftline_combiner.exporter import ScoreExporter
from driftline_combiner.health import health, skills_of
from driftline_combiner.model_story import ModelStories
from driftline_combiner.overview import Overview
from driftline_combiner.rest import routes
from driftline_combiner.result_archive import EdgeName, ResultArchive
from driftline_combiner.retrain_requests import BearerAuth, RetrainStep, TrainerSink, open_trainer
from driftline_combiner.settings import CombinerSettings
from driftline_combiner.sinks import route as sinks_route
from driftline_combiner.sinks.job import SinkJob
from driftline_combiner.sinks.opening import open_sinks
from driftline_combiner.step import BlendStep, refuse
from driftline_combiner.tls import tls_for

CORS_SENT = ("Authorization", "If-None-Match", "Last-Event-ID")
CORS_READ = ("ETag", "Link")
"""Headers that scripts of other pages may send and read."""
KINDS = ("drift", "anomaly", "negative-skill")
"""Of the alerts that are raised here."""


def create_app(
    settings: CombinerSettings,
    bus: Bus,
    *,
    streams: Mapping[str, StreamDefinition],
    store: Store | None = None,
    metrics: Metrics | None = None,
    trainer: httpx.AsyncClient | None = None,
    tracing: Tracing | None = None,
    on_death: Callable[[str, BaseException], None] = end_process,
) -> FastAPI:
    """Blends what the forecasts topic brings. store: where the archive of results is. trainer: who is asked for models;
    otherwise whom the settings name."""
    metrics, streams = metrics or Metrics(), Streams.of(streams)
    streams.on_every(lambda stream: from_zero(metrics.alerts, (stream.name,), KINDS))
    stream_steps = PerStream(streams, lambda stream: _stream_step(stream, metrics))
    metrics.registry.register(ScoreExporter(stream_steps, by_key=settings.metrics_by_key))
    worker = _worker(settings, bus, streams, stream_steps, metrics, tracing)
    tls = tls_for([*_others(settings), *settings.page_services.values()])
    trainer = trainer or _trainer(settings, tls)
    requests = _retrain_requests(settings, bus, trainer, metrics) if trainer is not None else None
    page = _page(settings, bus, streams, stream_steps, tls) if settings.page_points else None
    sinks = _sinks(settings, bus, streams, stream_steps, metrics)
    checks = [*_checks(bus, worker, requests), *(ReadinessCheck(sink.name, sink.check, needed=False) for sink in sinks)]
    reporter = Reporter("combiner", bus, checks, lambda report: _with_health(report, stream_steps))
    clients = [client for client in (trainer, page.client if page else None) if client is not None]
    app = create_service(
        "combiner",
        "Scores every member, weighs them, publishes the blend and watches for drift.",
        metrics=metrics,
        streams=streams,
        jobs=[*_jobs(bus, metrics, worker, requests, page, sinks), reporter],
        checks=checks,
        on_death=on_death,
        close=[
            bus.close,
            *(client.aclose for client in clients),
            *(opened.close for opened in (store, tracing) if opened is not None),
        ],
        gate=open_gate(settings, metrics),
    )
    app.include_router(routes(stream_steps))
    buffer = page.buffer if page else None
    app.include_router(forecasts_route.routes(stream_steps, buffer))
    archive = ResultArchive(store, EdgeName(bus, settings.edge_id).id) if store is not None else None
    app.include_router(history_route.routes(stream_steps, archive, buffer))
    app.include_router(sinks_route.routes(sinks))
    if settings.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors, allow_headers=CORS_SENT, expose_headers=CORS_READ
        )
    if page is not None:
        for router in page.routers:
            app.include_router(router)
        app.mount("/assets", dashboard.assets())
    return app


def _stream_step(stream: StreamDefinition, metrics: Metrics) -> BlendStep:
    return BlendStep(
        stream,
        lambda name, kind: metrics.alerts.labels(name, kind).inc(),
        left_behind=report_left_behind(metrics),
    )


def _worker(
    settings: CombinerSettings,
    bus: Bus,
    streams: Streams,
    stream_steps: Mapping[str, BlendStep],
    metrics: Metrics,
    tracing: Tracing | None,
) -> Worker[Forecast]:
    return Worker(
        COMBINER_GROUP,
        bus,
        FORECASTS,
        KeyedStep(
            stream_steps,
            lambda stream, reason: metrics.records_dropped.labels(stream, reason).inc(),
            report_left_behind(metrics),
        ),
        settings.loop,
        refuse=lambda forecast: refuse(streams, forecast),
        wait_for=lambda forecast: streams.expect(forecast.stream, settings.streams_patience),
        observer=LoopMetrics(metrics, COMBINER_GROUP, FORECASTS.name),
        spans=tracing.steps(FORECASTS.name) if tracing is not None else None,
    )


def _with_health(report: ServiceReport, stream_steps: Mapping[str, BlendStep]) -> ServiceReport:
    return replace(report, streams={name: health(stream_step) for name, stream_step in stream_steps.items()})


def _trainer(settings: CombinerSettings, tls: ssl.SSLContext) -> httpx.AsyncClient | None:
    if settings.trainer is None:
        return None
    if settings.asks_the_cloud and settings.trainer.startswith("https://"):
        tls = tls_of(settings.store_ca_file)
    return open_trainer(settings.trainer, settings.trainer_token, tls)


def _others(settings: CombinerSettings) -> list[str]:
    """The trainer, where its certificate is checked as everybody's."""
    return [settings.trainer] if settings.trainer is not None and not settings.asks_the_cloud else []


def _retrain_requests(
    settings: CombinerSettings, bus: Bus, trainer: httpx.AsyncClient, metrics: Metrics
) -> Worker[Alert]:
    return Worker(
        RETRAIN_GROUP,
        bus,
        ALERTS,
        RetrainStep(),
        settings.loop,
        sink=TrainerSink(trainer),
        observer=LoopMetrics(metrics, RETRAIN_GROUP, ALERTS.name),
    )


def _sinks(
    settings: CombinerSettings,
    bus: Bus,
    streams: Streams,
    stream_steps: Mapping[str, BlendStep],
    metrics: Metrics,
) -> list[SinkJob]:
    """Of which none is needed for anything else."""
    opened = open_sinks(settings.sink_sections(), streams, lambda stream, key: skills_of(stream_steps[stream], key))
    return [SinkJob(sink, bus, streams, settings.loop, metrics, patience=settings.streams_patience) for sink in opened]


@dataclass(frozen=True)
class Page:
    """The dashboard: what fills it, and the client by which it asks the other services."""

    buffer: DashboardBuffer
    client: httpx.AsyncClient
    routers: list[APIRouter]


def _jobs(
    bus: Bus,
    metrics: Metrics,
    worker: Worker[Forecast],
    requests: Worker[Alert] | None,
    page: Page | None,
    sinks: Sequence[SinkJob],
) -> list[BackgroundJob]:
    groups: list[tuple[str, Topic[Any]]] = [(COMBINER_GROUP, FORECASTS)]
    jobs: list[BackgroundJob] = [worker]
    if requests is not None:
        groups.append((RETRAIN_GROUP, ALERTS))
        jobs.append(requests)
    if page is not None:
        jobs.append(page.buffer)
    groups += [(sink.name, sink.topic) for sink in sinks]
    return [*jobs, *sinks, LagExporter(bus, groups, metrics)]


def _checks(bus: Bus, worker: Worker[Forecast], requests: Worker[Alert] | None) -> list[ReadinessCheck]:
    """Without the trainer the combiner goes on blending, so readiness needs the bus and the worker alone."""
    checks = [
        ReadinessCheck("bus", bus.check),
        ReadinessCheck("blends", worker.check),
        ReadinessCheck("clock", BelievedClock(time.time).check, needed=False),
    ]
    if requests is not None:
        checks.append(ReadinessCheck("retraining requests", requests.check, needed=False))
    return checks


def _page(
    settings: CombinerSettings, bus: Bus, streams: Streams, stream_steps: Mapping[str, BlendStep], tls: ssl.SSLContext
) -> Page:
    buffer = DashboardBuffer(bus, settings.page_points)
    client = httpx.AsyncClient(auth=BearerAuth(settings.page_shows), verify=tls)
    routers = [
        dashboard.routes(streams, buffer, Overview(settings.page_services, client), settings.page_watchers),
        series_overview.routes(stream_steps, buffer),
        model_story.routes(streams, ModelStories(settings.page_services.get("inference"), client)),
        csv_route.routes(stream_steps, buffer),
        embed.routes(settings.embed),
    ]
    return Page(buffer, client, routers)
