"""The composition root of inference."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fastapi import FastAPI

from driftline.bus.edge import Edge
from driftline.bus.lag import LagExporter
from driftline.bus.port import Bus
from driftline.clock import BelievedClock
from driftline.fleet.keeping import StateKeeper
from driftline.fleet.kept import TOPICS
from driftline.messages import RECORDS, Record
from driftline.metrics import Metrics, from_zero
from driftline.names import GRID_GROUP, INFERENCE_GROUP
from driftline.service import webhook
from driftline.service.access.opening import open_gate
from driftline.service.app import BackgroundJob, ReadinessCheck, create_service, end_process
from driftline.service.reports import Reporter
from driftline.store.event_topic import StoreEventReader
from driftline.store.hints import Hints, Keys
from driftline.store.port import Store
from driftline.store.reconcile import StoreReconciler
from driftline.store.timed import TimedStore
from driftline.streams.catalog import PerStream, Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.sources import records_of
from driftline.tracing.port import Tracing
from driftline.worker.keyed import KeyedStep
from driftline.worker.loop import Worker
from driftline.worker.loop_metrics import LoopMetrics, report_left_behind
from driftline_inference.comparison_keeper import ComparisonKeeper
from driftline_inference.heartbeats.job import SERVICE, EdgeIdentity, HeartbeatJob, HeartbeatSources
from driftline_inference.registry.cache import Cache
from driftline_inference.registry.outbox import StoreOutbox
from driftline_inference.registry.reconciler import Reconciler
from driftline_inference.registry.registry import Registry
from driftline_inference.rest import status, v2
from driftline_inference.rest.served import ServedModels
from driftline_inference.settings import InferenceSettings
from driftline_inference.step import ForecastStep, refuse

KINDS = ("drift", "gap", "missing", "stuck", "scale", "rollback")
"""Of the alerts that are raised here."""

OF_EDGE = ("identity",)
"""Of those that are about the edge itself."""

StreamSteps = PerStream[ForecastStep]


def create_app(
    settings: InferenceSettings,
    bus: Bus,
    store: Store,
    *,
    streams: Mapping[str, StreamDefinition],
    metrics: Metrics | None = None,
    tracing: Tracing | None = None,
    on_death: Callable[[str, BaseException], None] = end_process,
) -> FastAPI:
    """Forecasts from the records topic with the store's models. `app.state` has the registry, the reconciler and
    the heartbeats, for whoever runs the app in its own process and steers it."""
    metrics, streams = metrics or Metrics(), Streams.of(streams)
    streams.on_every(lambda stream: _show_from_zero(stream, metrics))
    from_zero(metrics.alerts, ("",), OF_EDGE)
    # Whatever makes a look at the store worth while adds a hint here, and the reconciler's job takes them all.
    hints, timed, cache = Hints(), TimedStore(store, metrics), settings.open_cache()
    news = Hints()
    edge, registry = (
        Edge(bus, hints.wake, settings.edge_id),
        Registry(streams, metrics, wake=hints.wake, on_news=news.wake),
    )
    stream_steps = PerStream(streams, lambda stream: _stream_step(stream, streams, registry, metrics))
    reconciler = _reconciler(settings, registry, timed, cache, edge, stream_steps)
    worker = _worker(settings, bus, streams, stream_steps, metrics, tracing)
    comparisons = ComparisonKeeper(cache.folder if cache else None, stream_steps)
    store_reconciler = _store_reconciler(settings, timed, comparisons.after(reconciler.reconcile), hints)
    streams.on_new(lambda _: hints.wake())
    keeper = state_keeper(
        settings, bus, timed, edge.id, metrics, streams=streams, is_writer=lambda: worker.owns(0) is True
    )
    lag = LagExporter(bus, [(INFERENCE_GROUP, RECORDS)], metrics)
    checks = _checks(bus, worker, timed, cache)
    folder, definitions = settings.cache or Path.cwd(), settings.cloud_streams
    identity = EdgeIdentity(settings.edge, settings.labels, settings.device_key(), folder, definitions)
    heartbeats = HeartbeatJob(
        identity,
        HeartbeatSources(edge, registry, stream_steps, lambda: worker.owns(0), bus, timed, metrics),
        Reporter(SERVICE, bus, checks),
        news,
        every=settings.heartbeat_every,
    )
    checks = [*checks, ReadinessCheck("identity", heartbeats.check, needed=False)]
    app = create_service(
        "inference",
        "Forecasts every record with all members; serves the models that the store's pointers name.",
        metrics=metrics,
        streams=streams,
        jobs=[edge, worker, store_reconciler, lag, heartbeats, keeper, *_store_events(settings, bus, store_reconciler)],
        checks=checks,
        on_death=on_death,
        first=comparisons.before(reconciler.restore),
        close=(comparisons.save, bus.close, timed.close, *([tracing.close] if tracing is not None else [])),
        gate=open_gate(settings, metrics),
        roles={**webhook.ROLES, **v2.ROLES},
    )
    app.state.registry, app.state.reconciler, app.state.stream_steps = registry, reconciler, stream_steps
    app.state.heartbeats = heartbeats

    def identified() -> status.EdgeStatus:
        return status.EdgeStatus(
            id=edge.known(), name=identity.name, labels=settings.labels, rivals=heartbeats.rivals()
        )

    steering = status.Steering(registry, reconciler, identified, wake=hints.wake)
    app.include_router(status.routes(steering, streams, stream_steps))
    app.include_router(webhook.routes(store_reconciler))
    served = ServedModels(registry, streams)
    app.include_router(v2.routes(served, app.version, [check for check in checks if check.needed]))
    return app


def state_keeper(
    settings: InferenceSettings,
    bus: Bus,
    store: Store,
    edge: Callable[[], Awaitable[str]],
    metrics: Metrics,
    *,
    streams: Mapping[str, StreamDefinition],
    is_writer: Callable[[], bool] = lambda: True,
) -> StateKeeper:
    """Keeps the states of all services of this edge: inference alone has the bus, the id and the store."""
    return StateKeeper(
        bus,
        store,
        settings.sealing_key(),
        edge,
        metrics,
        partitions=settings.partitions,
        every=settings.keep_every,
        # On Kafka a look at a group would make its topic.
        groups=lambda: [group for group in TOPICS if group != GRID_GROUP or has_grid(streams)],
        is_writer=is_writer,
    )


def has_grid(streams: Mapping[str, StreamDefinition]) -> bool:
    return any(stream.grid is not None for stream in streams.values())


def _show_from_zero(stream: StreamDefinition, metrics: Metrics) -> None:
    from_zero(metrics.alerts, (stream.name,), KINDS)
    metrics.period_contradicted.labels(stream.name).set(0)


def _stream_step(stream: StreamDefinition, streams: Streams, registry: Registry, metrics: Metrics) -> ForecastStep:
    def on_period(name: str, contradiction: str | None) -> None:
        metrics.period_contradicted.labels(name).set(contradiction is not None)
        streams.warn(name, contradiction)

    return ForecastStep(
        stream,
        registry.serving,
        shadows=registry.shadows,
        worse=registry.roll_back,
        on_alert=lambda name, kind: metrics.alerts.labels(name, kind).inc(),
        left_behind=report_left_behind(metrics),
        dropped=lambda name, reason: metrics.records_dropped.labels(name, reason).inc(),
        on_period=on_period,
        trained=registry.usual,
    )


def _worker(
    settings: InferenceSettings,
    bus: Bus,
    streams: Streams,
    stream_steps: StreamSteps,
    metrics: Metrics,
    tracing: Tracing | None,
) -> Worker[Record]:
    return Worker(
        INFERENCE_GROUP,
        bus,
        RECORDS,
        KeyedStep(
            stream_steps,
            lambda stream, reason: metrics.records_dropped.labels(stream, reason).inc(),
            report_left_behind(metrics),
            parts=lambda record: records_of(record, streams.sources.streams_of(record.stream)),
        ),
        settings.loop,
        refuse=lambda record: refuse(streams.of_records, record),
        wait_for=lambda record: streams.expect_source(record.stream, settings.streams_patience),
        observer=LoopMetrics(metrics, INFERENCE_GROUP, RECORDS.name),
        spans=tracing.steps(RECORDS.name) if tracing is not None else None,
    )


def _reconciler(
    settings: InferenceSettings,
    registry: Registry,
    store: Store,
    cache: Cache | None,
    edge: Edge,
    stream_steps: StreamSteps,
) -> Reconciler:
    """New versions are tried on what the newest records of all series are forecast from."""
    fetcher = replace(settings.fetcher(), live=lambda stream: stream_steps[stream].live())
    outbox = StoreOutbox(store, cache.folder if cache else None, edge.known, fetcher.trust)
    return Reconciler(registry, store, fetcher, outbox, cache=cache, edge_name=settings.edge, labels=settings.labels)


def _store_reconciler(
    settings: InferenceSettings, store: Store, reconcile: Callable[[Keys], Awaitable[None]], hints: Hints
) -> StoreReconciler:
    return StoreReconciler(
        "model watch",
        store,
        "models/",
        suffix="/current.json",
        poll=settings.store_poll,
        reconcile=reconcile,
        base=settings.store_prefix,
        hints=hints,
    )


def _store_events(settings: InferenceSettings, bus: Bus, store_reconciler: StoreReconciler) -> list[BackgroundJob]:
    """What reads the store's events, where they come by a topic."""
    if settings.store_topic is None:
        return []
    return [StoreEventReader(bus, settings.store_topic, store_reconciler)]


def _checks(bus: Bus, worker: Worker[Record], store: TimedStore, cache: Cache | None) -> list[ReadinessCheck]:
    """Without store and cache the edge goes on forecasting, so readiness needs the bus and the worker alone."""
    checks = [
        ReadinessCheck("bus", bus.check),
        ReadinessCheck("forecasts", worker.check),
        ReadinessCheck("clock", BelievedClock(time.time).check, needed=False),
        ReadinessCheck("store", store.answered, needed=False),
    ]
    return checks if cache is None else [*checks, ReadinessCheck("cache", cache.check, needed=False)]
