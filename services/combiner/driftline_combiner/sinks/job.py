"""A sink that runs: a worker of its own, so that it has its own position and holds up nobody."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from driftline.bus.port import Bus
from driftline.errors import Unavailable
from driftline.messages import Alert, Blend
from driftline.metrics import Metrics
from driftline.stoppable import StoppableWork
from driftline.streams.catalog import Streams
from driftline.worker.loop import Worker
from driftline.worker.loop_metrics import LoopMetrics
from driftline.worker.loop_settings import LoopSettings
from driftline_combiner.sinks.delivery import Delivery, SinkStanding, group_of
from driftline_combiner.sinks.passing_step import PassingStep
from driftline_combiner.sinks.port import Sink


@dataclass(frozen=True)
class OpenedSink:
    """A sink as the settings have it. begin: whether it takes what the topic had before its first start, too. takes:
    which messages it is meant for."""

    name: str
    type: str
    sink: Sink[Any]
    begin: Literal["now", "earliest"] = "earliest"
    takes: Callable[[Any], bool] = lambda _: True


class SinkJob:
    """See `driftline.service.app.BackgroundJob`. patience: seconds that blends of a stream wait for its definition."""

    def __init__(
        self,
        opened: OpenedSink,
        bus: Bus,
        streams: Streams,
        loop: LoopSettings,
        metrics: Metrics,
        *,
        patience: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.opened = opened
        self.name = group_of(opened.name)
        self.topic = opened.sink.topic
        self._bus = bus
        self._streams = streams
        self._patience = patience
        self._delivery: Delivery[Any] = Delivery(
            opened.name, opened.sink, bus, metrics, accepts=self._accepts, clock=clock
        )
        self._worker: Worker[Any] = Worker(
            self.name,
            bus,
            self.topic,
            PassingStep[msgspec.Struct](clock if opened.begin == "now" else None),
            settings_of(loop, opened.sink.batch_limit),
            sink=self._delivery,
            observer=LoopMetrics(metrics, self.name, self.topic.name),
        )
        self._work = StoppableWork()

    @property
    def standing(self) -> SinkStanding:
        return self._delivery.standing

    async def run(self) -> None:
        async with self.opened.sink:
            try:
                await self._work.run(self._worker.run())
            finally:
                await self._work.stop()

    async def stop(self) -> None:
        """What it holds is finished where the other side answers; otherwise it is sent after the next start."""
        await self._worker.stop()
        if self.standing.state != "ok":
            await self._work.stop()

    async def check(self) -> None:
        """Raises Unavailable while the other side does not take what there is."""
        standing = self.standing
        if standing.state != "ok":
            raise Unavailable(standing.error + (f"; {standing.remedy}" if standing.remedy else ""))
        await self._worker.check()

    async def lag(self) -> int:
        """Messages that the other side does not have yet. Raises BusUnavailable."""
        return sum((await self._bus.lag(self.topic, self.name)).values())

    async def _accepts(self, message: Blend | Alert) -> bool:
        """Blends of a stream that is defined no more go nowhere."""
        if isinstance(message, Alert):
            return self.opened.takes(message)
        if message.stream not in self._streams:
            await self._streams.expect(message.stream, self._patience)
        return message.stream in self._streams


def settings_of(loop: LoopSettings, batch_limit: int) -> LoopSettings:
    """How a sink's worker reads. Garbage on a topic never ends it, since the process would end with it; its state is
    written with the position, so that neither is ever older than the other."""
    return replace(loop, batch_limit=batch_limit, dead_letter_share=1.0, state_every=0.0)
