"""The composition root of inference."""

import time
from collections.abc import Callable, Mapping

from fastapi import FastAPI

from driftline.bus.edge import Edge
from driftline.bus.lag import LagWatch
from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.messages import RECORDS
from driftline.metrics import Metrics, from_zero
from driftline.service import webhook
from driftline.service.app import Check, Job, create_service, end_process
from driftline.store.event_topic import StoreFeed
from driftline.store.port import Store
from driftline.store.reconcile import StoreWatch
from driftline.store.timed import TimedStore
from driftline.streams.catalog import PerStream, Streams
from driftline.streams.definition import StreamDefinition
from driftline.worker.keyed import KeyedStep
from driftline.worker.loop import Worker
from driftline.worker.observer import LoopMetrics
from driftline_inference.registry.models import Models
from driftline_inference.rest import v2
from driftline_inference.rest.status import routes
from driftline_inference.settings import InferenceSettings
from driftline_inference.step import ForecastLane, refuse

GROUP = "inference"
KINDS = ("drift", "gap", "missing", "stuck", "rollback")
"""Of the alerts that are raised here."""


def create_app(
    settings: InferenceSettings,
    bus: Bus,
    store: Store,
    *,
    streams: Mapping[str, StreamDefinition],
    metrics: Metrics | None = None,
    models: Models | None = None,
    on_death: Callable[[str, BaseException], None] = end_process,
) -> FastAPI:
    """Forecasts from the records topic with the store's models. `models` may be given by who wants to steer them."""
    metrics, streams = metrics or Metrics(), Streams.of(streams)
    streams.each(lambda stream: from_zero(metrics.alerts, (stream.name,), KINDS))
    store = TimedStore(store, metrics)
    cache = settings.open_cache()
    serving = models or Models(store, streams, metrics, settings.fetcher(), cache, settings.edge)

    def leave(stream: str, member: str, version: str, reason: str) -> None:
        serving.leave(stream, member, version, reason)
        watch.wake()

    def alarmed(stream: str, kind: str) -> None:
        metrics.alerts.labels(stream, kind).inc()

    def lane(stream: StreamDefinition) -> ForecastLane:
        return ForecastLane(stream, serving.serving, shadows=serving.shadows, worse=leave, alarmed=alarmed)

    lanes = PerStream(streams, lane)
    serving.probe_with(lambda stream: lanes[stream].live())
    step = KeyedStep(lanes, lambda stream, reason: metrics.records_dropped.labels(stream, reason).inc())
    worker = Worker(
        GROUP,
        bus,
        RECORDS,
        step,
        settings.loop,
        refuse=lambda record: refuse(streams, record),
        wait_for=lambda record: streams.expect(record.stream, settings.streams_patience),
        observer=LoopMetrics(metrics, GROUP, RECORDS.name),
    )
    watch = StoreWatch(
        "model watch",
        store,
        "models/",
        suffix="/current.json",
        poll=settings.store_poll,
        reconcile=serving.reconcile,
        base=settings.store_prefix,
    )
    streams.on_new(lambda _: watch.wake())
    edge = Edge(bus, watch.wake)
    serving.identify_by(edge.known)

    jobs: list[Job] = [edge, worker, watch, LagWatch(bus, [(GROUP, RECORDS)], metrics)]
    if settings.store_topic is not None:
        jobs.append(StoreFeed(bus, settings.store_topic, watch))

    async def close() -> None:
        await bus.close()
        await store.close()

    # Without store and cache the edge goes on forecasting, so readiness asks for the bus alone.
    clock = BelievedClock(time.time)
    checks = [
        Check("bus", bus.check),
        Check("forecasts", worker.check),
        Check("clock", clock.check, needed=False),
        Check("store", store.answered, needed=False),
    ]
    if cache is not None:
        checks.append(Check("cache", cache.check, needed=False))
    app = create_service(
        "inference",
        "Forecasts every record with all members; serves the models that the store's pointers name.",
        metrics=metrics,
        streams=streams,
        jobs=jobs,
        checks=checks,
        on_death=on_death,
        first=serving.restore,
        close=close,
    )
    app.include_router(
        routes(
            serving,
            streams,
            settings.token,
            watched=lambda stream, member: lanes[stream].shadow(member),
            wake=watch.wake,
        )
    )
    app.include_router(webhook.routes(watch, settings.token))
    app.include_router(v2.routes(serving, app.version, [check for check in checks if check.needed]))
    return app
