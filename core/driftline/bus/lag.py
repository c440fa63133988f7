"""Tells how far the consumer groups of a service are behind; see `driftline.service.app.BackgroundJob`."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from driftline.bus.port import Bus
from driftline.errors import Unavailable
from driftline.messages import Topic
from driftline.metrics import Metrics

log = logging.getLogger(__name__)

EVERY_S = 10.0


class LagExporter:
    """Looks every few seconds; while the bus is away what was seen last stands.

    kept: by group, how many messages of a partition were worked off although a restart would read them again, such as
    those that wait for their window to be full. They are no lag.
    """

    name = "lag exporter"

    def __init__(
        self,
        bus: Bus,
        groups: Sequence[tuple[str, Topic[Any]]],
        metrics: Metrics,
        kept: Mapping[str, Callable[[int], int]] | None = None,
    ) -> None:
        self._bus = bus
        self._groups = groups
        self._metrics = metrics
        self._kept = dict(kept or {})
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        while not self._stopping.is_set():
            for group, topic in self._groups:
                await self._look(group, topic)
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        self._stopping.set()

    async def _look(self, group: str, topic: Topic[Any]) -> None:
        try:
            lag = await self._bus.lag(topic, group)
        except Unavailable as error:
            log.debug("no lag of %s: %s", group, error)
            return
        for partition, messages in lag.items():
            kept = self._kept[group](partition) if group in self._kept else 0
            # Between a checkpoint and the look at it both may differ by what came meanwhile.
            self._metrics.lag.labels(group, topic.name, partition).set(max(0, messages - kept))
