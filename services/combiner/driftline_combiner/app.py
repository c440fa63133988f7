"""The composition root of the combiner."""

import ssl
import time
from collections.abc import Callable, Mapping
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
from driftline.streams.catalog import PerStream, Streams
from driftline.streams.definition import StreamDefinition
from driftline.worker.loop import Worker
from driftline.worker.loop_metrics import LoopMetrics, report_left_behind
from driftline_combiner import dashboard, forecasts_route
from driftline_combiner.dashboard_buffer import DashboardBuffer
from driftline_combiner.exporter import ScoreExporter
from driftline_combiner.health import health
from driftline_combiner.overview import Overview
from driftline_combiner.rest import routes
from driftline_combiner.retrain_requests import BearerAuth, RetrainStep, TrainerSink, open_trainer
from driftline_combiner.settings import CombinerSettings
from driftline_combiner.step import BlendStep, combiner_step, refuse
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
    metrics: Metrics | None = None,
    trainer: httpx.AsyncClient | None = None,
    on_death: Callable[[str, BaseException], None] = end_process,
) -> FastAPI:
    """Blends what the forecasts topic brings. trainer: who is asked for models; otherwise whom the settings name."""
    metrics, streams = metrics or Metrics(), Streams.of(streams)
    streams.on_every(lambda stream: from_zero(metrics.alerts, (stream.name,), KINDS))
    stream_steps = PerStream(streams, lambda stream: _stream_step(stream, metrics))
    metrics.registry.register(ScoreExporter(stream_steps, by_key=settings.metrics_by_key))
    worker = _worker(settings, bus, streams, stream_steps, metrics)
    tls = tls_for([*_others(settings), *settings.page_services.values()])
    trainer = trainer or _trainer(settings, tls)
    requests = _retrain_requests(settings, bus, trainer, metrics) if trainer is not None else None
    page = _page(settings, bus, streams, tls) if settings.page_points else None
    checks = _checks(bus, worker, requests)
    reporter = Reporter("combiner", bus, checks, lambda report: _with_health(report, stream_steps))
    clients = [client for client in (trainer, page.client if page else None) if client is not None]
    app = create_service(
        "combiner",
        "Scores every member, weighs them, publishes the blend and watches for drift.",
        metrics=metrics,
        streams=streams,
        jobs=[*_jobs(bus, metrics, worker, requests, page), reporter],
        checks=checks,
        on_death=on_death,
        close=[bus.close, *(client.aclose for client in clients)],
        gate=open_gate(settings, metrics),
    )
    app.include_router(routes(stream_steps))
    app.include_router(forecasts_route.routes(stream_steps, page.buffer if page else None))
    if settings.cors:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors, allow_headers=CORS_SENT, expose_headers=CORS_READ
        )
    if page is not None:
        app.include_router(page.router)
        app.mount("/assets", dashboard.assets())
    return app


def _stream_step(stream: StreamDefinition, metrics: Metrics) -> BlendStep:
    return BlendStep(
        stream,
        lambda name, kind: metrics.alerts.labels(name, kind).inc(),
        left_behind=report_left_behind(metrics),
    )


def _worker(
    settings: CombinerSettings, bus: Bus, streams: Streams, stream_steps: Mapping[str, BlendStep], metrics: Metrics
) -> Worker[Forecast]:
    return Worker(
        COMBINER_GROUP,
        bus,
        FORECASTS,
        combiner_step(
            stream_steps,
            lambda stream, reason: metrics.records_dropped.labels(stream, reason).inc(),
            report_left_behind(metrics),
        ),
        settings.loop,
        refuse=lambda forecast: refuse(streams, forecast),
        wait_for=lambda forecast: streams.expect(forecast.stream, settings.streams_patience),
        observer=LoopMetrics(metrics, COMBINER_GROUP, FORECASTS.name),
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


@dataclass(frozen=True)
class Page:
    """The dashboard: what fills it, and the client by which it asks the other services."""

    buffer: DashboardBuffer
    client: httpx.AsyncClient
    router: APIRouter


def _jobs(
    bus: Bus, metrics: Metrics, worker: Worker[Forecast], requests: Worker[Alert] | None, page: Page | None
) -> list[BackgroundJob]:
    groups: list[tuple[str, Topic[Any]]] = [(COMBINER_GROUP, FORECASTS)]
    jobs: list[BackgroundJob] = [worker]
    if requests is not None:
        groups.append((RETRAIN_GROUP, ALERTS))
        jobs.append(requests)
    if page is not None:
        jobs.append(page.buffer)
    return [*jobs, LagExporter(bus, groups, metrics)]


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


def _page(settings: CombinerSettings, bus: Bus, streams: Streams, tls: ssl.SSLContext) -> Page:
    buffer, client = (
        DashboardBuffer(bus, settings.page_points),
        httpx.AsyncClient(auth=BearerAuth(settings.page_shows), verify=tls),
    )
    overview = Overview(settings.page_services, client)
    return Page(buffer, client, dashboard.routes(streams, buffer, overview, settings.page_watchers))
