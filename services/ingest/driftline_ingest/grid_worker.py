"""Runs the grid's step on the bus, from the first stream on that has a grid; without one there is no worker for it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from driftline.bus.port import Bus
from driftline.messages import OBSERVATIONS, Observation
from driftline.metrics import Metrics, from_zero
from driftline.names import GRID_GROUP
from driftline.streams.catalog import Streams
from driftline.streams.definition import StreamDefinition
from driftline.streams.message_validation import refusal
from driftline.tracing.port import Tracing
from driftline.worker.loop import Worker
from driftline.worker.loop_metrics import LoopMetrics
from driftline_ingest.grid_step import DROPPED, GridStep
from driftline_ingest.settings import IngestSettings


class GridWorker:
    """See `driftline.service.app.BackgroundJob`. on_start: called when the worker is about to begin."""

    name = GRID_GROUP

    def __init__(
        self,
        settings: IngestSettings,
        bus: Bus,
        streams: Streams,
        metrics: Metrics,
        on_start: Callable[[], None] = lambda: None,
        *,
        tracing: Tracing | None = None,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._streams = streams
        self._metrics = metrics
        self._on_start = on_start
        self._tracing = tracing
        self._wanted = asyncio.Event()
        self._is_stopped = False
        self._worker: Worker[Observation] | None = None
        self.step = GridStep(streams.of_records, self._drop, self._warn, self._leave_behind)
        streams.sources.on_every(self._expect)

    @property
    def is_wanted(self) -> bool:
        """Whether any stream has a grid."""
        return self._wanted.is_set()

    async def run(self) -> None:
        await self._wanted.wait()
        if self._is_stopped:
            return
        self._on_start()
        self._worker = self._made_worker()
        await self._worker.run()

    async def stop(self) -> None:
        self._is_stopped = True
        self._wanted.set()
        if self._worker is not None:
            await self._worker.stop()

    async def check(self) -> None:
        """Raises Unavailable while observations are not worked off."""
        if self._worker is not None:
            await self._worker.check()

    def _made_worker(self) -> Worker[Observation]:
        return Worker(
            GRID_GROUP,
            self._bus,
            OBSERVATIONS,
            self.step,
            # What is read again was answered for open periods alone, so the position goes with the states, which are
            # small and change once in a period.
            replace(self._settings.loop, state_every=0.0),
            refuse=lambda observation: refuse(self._streams.of_records, observation),
            wait_for=lambda observation: self._streams.expect_source(
                observation.stream, self._settings.streams_patience
            ),
            observer=LoopMetrics(self._metrics, GRID_GROUP, OBSERVATIONS.name),
            spans=self._tracing.steps(OBSERVATIONS.name) if self._tracing is not None else None,
        )

    def _expect(self, source: StreamDefinition) -> None:
        if source.grid is not None:
            from_zero(self._metrics.records_dropped, (source.name,), DROPPED)
            self._wanted.set()

    def _drop(self, source: str, reason: str) -> None:
        self._metrics.records_dropped.labels(source, reason).inc()

    def _leave_behind(self, source: str) -> None:
        self._metrics.states_left_behind.labels(source).inc()

    def _warn(self, source: str, problem: str | None) -> None:
        for stream in self._streams.sources.streams_of(source):
            self._metrics.period_contradicted.labels(stream.name).set(problem is not None)
            self._streams.warn(stream.name, problem)


def refuse(streams: Mapping[str, StreamDefinition], observation: Observation) -> str | None:
    """Why an observation can't be used, or None."""
    reason = refusal(streams, observation.stream, times=(observation.t,))
    if reason is None and streams[observation.stream].grid is None:
        return f"found an observation of stream {observation.stream!r}, expected none: its definition has no `grid`"
    return reason
