"""The workers that archive records and blends in windows."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from driftline.bus.edge import Edge
from driftline.bus.port import Bus
from driftline.messages import Blend, Topic
from driftline.metrics import Metrics
from driftline.names import ARCHIVE_GROUPS
from driftline.streams.catalog import Streams
from driftline.streams.message_validation import refusal
from driftline.worker.loop import Worker
from driftline.worker.loop_metrics import LoopMetrics
from driftline.worker.stream_step import Timed
from driftline_ingest.archive import ArchiveStep
from driftline_ingest.backlog import Backlog
from driftline_ingest.census import Census
from driftline_ingest.losses import Losses
from driftline_ingest.packing import Packing
from driftline_ingest.settings import IngestSettings
from driftline_ingest.sink import WindowArchive, WindowSink

GATHER_S = 0.5
"""Nobody waits for the archive: it reads much at once and leaves the processor to the stream."""


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
            refuse=lambda message: _refuse(streams, message),
            wait_for=lambda message: _expect(streams, message, self.settings.streams_patience),
            sink=WindowSink(self.archive, packing, self.edge.id, self.backlog),
            gather=GATHER_S,
            observer=LoopMetrics(metrics, group, topic.name, step.miss),
        )


async def _expect(streams: Streams, message: Any, patience: float) -> None:
    """A blend is of a stream, a record of a source."""
    expect = streams.expect if isinstance(message, Blend) else streams.expect_source
    await expect(message.stream, patience)


def _refuse(streams: Streams, message: Any) -> str | None:
    """Why a record or blend can't be archived, or None."""
    if isinstance(message, Blend):
        return refusal(streams, message.stream, times=(message.t,))
    is_future = message.issued is not None
    times = (message.t, message.issued) if is_future else (message.t,)
    return refusal(streams.of_records, message.stream, message.values, future=is_future, times=times)
