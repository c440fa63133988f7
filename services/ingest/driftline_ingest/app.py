"""The composition root of ingest: the door, and the archive of windows and results."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI

from driftline.bus import Bus
from driftline.clock import BelievedClock
from driftline.definition import StreamDefinition
from driftline.edge import Edge
from driftline.keyed import Timed
from driftline.lag import LagWatch
from driftline.loop import Worker
from driftline.messages import BLENDS, RECORDS, Blend, Topic
from driftline.metrics import Metrics, from_zero
from driftline.observer import LoopMetrics
from driftline.service import Check, Job, create_service, end_process
from driftline.store import Store
from driftline.streams import Streams
from driftline.timed_store import TimedStore
from driftline_ingest.archive import ArchiveStep, Packing
from driftline_ingest.census import Census
from driftline_ingest.door import Door, routes
from driftline_ingest.mqtt import MqttDoor
from driftline_ingest.settings import IngestSettings
from driftline_ingest.sink import REASONS, WindowSink
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
) -> FastAPI:
    """Takes records in, and archives records and blends in the store."""
    metrics, streams = metrics or Metrics(), Streams.of(streams)
    streams.each(lambda stream: _from_zero(metrics, stream.name))
    streams.each(lambda stream: metrics.stream_period.labels(stream.name).set(stream.time.period))
    store = TimedStore(store, metrics)
    edge = Edge(bus)
    census = Census(streams)
    streams.each(lambda stream: metrics.watch_keys(stream.name, stream.keys, lambda: census.keys(stream.name)))

    kept: dict[str, Callable[[int], int]] = {}

    def archive(topic: Topic[Timed], packing: Packing[Timed], counted: Census | None = None) -> Worker[Timed]:
        group = f"ingest-{packing.kind}"
        step = ArchiveStep(
            packing, lambda stream, reason: metrics.records_dropped.labels(stream, reason).inc(), census=counted
        )
        kept[group] = step.kept
        return Worker(
            group,
            bus,
            topic,
            step,
            settings.loop,
            refuse=lambda message: refuse(streams, message),
            wait_for=lambda message: streams.expect(message.stream, settings.streams_patience),
            sink=WindowSink(store, packing, metrics, edge.id),
            gather=GATHER_S,
            observer=LoopMetrics(metrics, group, topic.name),
        )

    async def close() -> None:
        await bus.close()
        await store.close()

    windows, results = archive(RECORDS, RecordWindows(streams), census), archive(BLENDS, BlendWindows(streams))
    groups: list[tuple[str, Topic[Any]]] = [(windows.name, RECORDS), (results.name, BLENDS)]
    believed = BelievedClock(clock)
    door = Door(settings, bus, streams, census, metrics, believed)
    jobs: list[Job] = [edge, windows, results, LagWatch(bus, groups, metrics, kept)]
    # The archive waits for the store; records are taken meanwhile.
    checks = [
        Check("bus", bus.check),
        Check("clock", believed.check),
        Check("windows", windows.check, needed=False),
        Check("results", results.check, needed=False),
        Check("store", store.answered, needed=False),
    ]
    if settings.mqtt_host is not None:
        mqtt = MqttDoor(settings, door, streams)
        jobs.append(mqtt)
        # Needed: while its broker is away that door does no work, and what sensors send is held by nobody we know of.
        checks.append(Check("mqtt", mqtt.check))
    app = create_service(
        "ingest",
        "Takes sensor records in, and archives training windows and results in the object store.",
        metrics=metrics,
        streams=streams,
        jobs=jobs,
        checks=checks,
        on_death=on_death,
        close=close,
    )
    app.include_router(routes(door, settings))
    return app


def refuse(streams: Mapping[str, StreamDefinition], message: Any) -> str | None:
    """Why a record or blend can't be archived, or None."""
    stream = streams.get(message.stream)
    if stream is None:
        return f"found stream {message.stream!r}, expected one of {sorted(streams)}"
    if isinstance(message, Blend):
        return None
    missing = [name for name in stream.columns if name not in message.values]
    return f"found no value for {missing[0]!r}, expected {list(stream.columns)}" if missing else None


def _from_zero(metrics: Metrics, stream: str) -> None:
    for counter in (metrics.records, metrics.records_refused, metrics.keys_refused):
        from_zero(counter, (stream,))
    kinds = (RecordWindows.kind, BlendWindows.kind)
    from_zero(metrics.windows_archived, (stream,), kinds)
    from_zero(metrics.windows_left_out, (stream,), kinds, REASONS)
