"""Tells how far the consumer groups of a service are behind; see `driftline.service.app.Job`."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from driftline.bus.port import Bus
from driftline.errors import Unavailable
from driftline.messages import Topic
from driftline.metrics import Metrics

log = logging.getLogger(__name__)

EVERY_S = 10.0


class LagWatch:
    """Looks every few seconds; while the bus is away what was seen last stands."""

    name = "lag watch"

    def __init__(self, bus: Bus, groups: Sequence[tuple[str, Topic[Any]]], metrics: Metrics) -> None:
        self._bus = bus
        self._groups = groups
        self._metrics = metrics
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
            self._metrics.lag.labels(group, topic.name, partition).set(messages)
