"""Counts and reports what had to be dropped before it reached the store; see `driftline.service.app.BackgroundJob`."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

import stamina

from driftline.bus.port import Bus
from driftline.errors import BusUnavailable, StoreUnavailable, Unstorable
from driftline.messages import ALERTS, Alert, Gap
from driftline.metrics import Metrics
from driftline.stoppable import StoppableWork
from driftline_ingest.gaps import Gaps, alert_of

log = logging.getLogger(__name__)

ALERTS_WAITING = 100


class Losses:
    """keep: writes the gaps down, where there is a disk for it."""

    name = "losses"

    def __init__(self, bus: Bus, metrics: Metrics) -> None:
        self.gaps = Gaps()
        self.keep: Callable[[], Awaitable[None]] | None = None
        self._bus = bus
        self._metrics = metrics
        self._alerts: deque[Alert] = deque(maxlen=ALERTS_WAITING)
        self._news = asyncio.Event()
        self._work = StoppableWork()

    def add(self, gap: Gap) -> None:
        """Counts it, and raises an alert where it begins a span of its own."""
        is_new = self.gaps.add(gap)
        self._metrics.rows_lost.labels(gap.stream, gap.what).inc(gap.count)
        self._news.set()
        if not is_new:
            return
        alert = alert_of(gap)
        log.error("%s", alert.detail, extra={"stream": gap.stream, "until": gap.until})
        self._metrics.alerts.labels(gap.stream, alert.kind).inc()
        self._alerts.append(alert)

    async def run(self) -> None:
        await self._work.run(self._report())

    async def stop(self) -> None:
        await self._work.stop()

    async def _report(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._keep()
            while self._alerts:
                await self._publish(self._alerts[0])
                self._alerts.popleft()

    async def _keep(self) -> None:
        if self.keep is None:
            return
        try:
            await self.keep()
        except (StoreUnavailable, Unstorable) as error:
            log.warning("what was dropped is not written down: %s", error)

    @stamina.retry(on=BusUnavailable, attempts=None, timeout=None, wait_max=30.0)
    async def _publish(self, alert: Alert) -> None:
        await self._bus.publish(ALERTS, [alert])
