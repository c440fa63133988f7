"""The composition root of the combiner."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
from fastapi import FastAPI

from driftline.bus.lag import LagWatch
from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.messages import ALERTS, FORECASTS, Topic
from driftline.metrics import Metrics, from_zero
from driftline.service.app import Check, Job, create_service, end_process
from driftline.streams.catalog import PerStream, Streams
from driftline.streams.definition import StreamDefinition
from driftline.worker.loop import Worker
from driftline.worker.observer import LoopMetrics
from driftline_combiner import dashboard
from driftline_combiner.dashboard_buffer import PageFeed
from driftline_combiner.exporter import LaneMetrics
from driftline_combiner.overview import Overview
from driftline_combiner.rest import routes
from driftline_combiner.retrain_requests import CourierStep, TrainerSink, open_trainer
from driftline_combiner.settings import CombinerSettings
from driftline_combiner.step import BlendLane, combiner_step, refuse

GROUP = "combiner"
COURIER = "combiner-courier"
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
    streams.each(lambda stream: from_zero(metrics.alerts, (stream.name,), KINDS))

    def lane(stream: StreamDefinition) -> BlendLane:
        return BlendLane(stream, lambda s, kind: metrics.alerts.labels(s, kind).inc())

    lanes = PerStream(streams, lane)
    step = combiner_step(lanes, lambda stream, reason: metrics.records_dropped.labels(stream, reason).inc())
    worker = Worker(
        GROUP,
        bus,
        FORECASTS,
        step,
        settings.loop,
        refuse=lambda forecast: refuse(streams, forecast),
        wait_for=lambda forecast: streams.expect(forecast.stream, settings.streams_patience),
        observer=LoopMetrics(metrics, GROUP, FORECASTS.name),
    )
    metrics.registry.register(LaneMetrics(lanes, by_key=settings.metrics_by_key))
    groups: list[tuple[str, Topic[Any]]] = [(GROUP, FORECASTS)]
    jobs: list[Job] = [worker]
    checks = [
        Check("bus", bus.check),
        Check("blends", worker.check),
        Check("clock", BelievedClock(time.time).check, needed=False),
    ]
    if trainer is None and settings.trainer is not None:
        trainer = open_trainer(settings.trainer, settings.token.get_secret_value() if settings.token else None)
    if trainer is not None:
        courier = Worker(
            COURIER,
            bus,
            ALERTS,
            CourierStep(),
            settings.loop,
            sink=TrainerSink(trainer),
            observer=LoopMetrics(metrics, COURIER, ALERTS.name),
        )
        jobs.append(courier)
        groups.append((COURIER, ALERTS))
        checks.append(Check("retraining requests", courier.check, needed=False))
    jobs.append(LagWatch(bus, groups, metrics))
    feed = PageFeed(bus, settings.page_points)
    if settings.page_points:
        jobs.append(feed)
    asking = httpx.AsyncClient()

    async def close() -> None:
        await bus.close()
        await asking.aclose()
        if trainer is not None:
            await trainer.aclose()

    app = create_service(
        "combiner",
        "Scores every member, weighs them, publishes the blend and watches for drift.",
        metrics=metrics,
        streams=streams,
        jobs=jobs,
        checks=checks,
        on_death=on_death,
        close=close,
    )
    app.include_router(routes(lanes))
    if settings.page_points:
        overview = Overview(settings.page_services, asking)
        app.include_router(dashboard.routes(streams, feed, overview, settings.page_watchers))
        app.mount("/assets", dashboard.assets())
    return app
