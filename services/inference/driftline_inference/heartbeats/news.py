"""What the services of this edge have said on its bus: their reports, and the alerts."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

import stamina

from driftline.bus.port import Bus
from driftline.errors import BusUnavailable
from driftline.fleet.heartbeat import NEWEST_ALERTS
from driftline.messages import ALERTS, REPORTS, Alert, ServiceReport
from driftline.names import EDGE_SERVICES

MISSED = 3
"""Reports of a replica that may be missing before it counts as ended."""
REPLICAS_REMEMBERED = 1000


class EdgeNews:
    """Reads both topics from now on. on_alert: called when one came. on_replica: called with the service and replica of
    each report."""

    def __init__(
        self,
        bus: Bus,
        on_alert: Callable[[], None],
        on_replica: Callable[[str, str], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.alerts: deque[Alert] = deque(maxlen=NEWEST_ALERTS)
        """The newest last."""
        self._bus = bus
        self._on_alert = on_alert
        self._on_replica = on_replica
        self._monotonic = monotonic
        self._reports: dict[tuple[str, str], tuple[float, ServiceReport]] = {}
        self._since = monotonic()

    async def read(self) -> None:
        """Without end."""
        await asyncio.gather(self._read_reports(), self._read_alerts())

    def take(self, report: ServiceReport) -> None:
        """A report came."""
        self._on_replica(report.service, report.replica)
        replica = (report.service, report.replica)
        self._reports.pop(replica, None)
        self._reports[replica] = (self._monotonic(), report)
        if len(self._reports) > REPLICAS_REMEMBERED:
            self._reports.pop(next(iter(self._reports)))

    def reports(self) -> list[ServiceReport]:
        """The newest of each replica that still reports, in the order in which they came."""
        now = self._monotonic()
        return [report for at, report in self._reports.values() if now - at <= MISSED * report.every]

    def silent(self, every: float) -> list[str]:
        """Services that don't report, although they have had the time for it. every: seconds between two reports."""
        if self._monotonic() - self._since <= MISSED * every:
            return []
        heard = {report.service for report in self.reports()}
        return [service for service in EDGE_SERVICES if service not in heard]

    @stamina.retry(on=BusUnavailable, attempts=None, timeout=None, wait_max=10.0)
    async def _read_reports(self) -> None:
        async for page in self._bus.tail(REPORTS):
            for envelope in page:
                self.take(envelope.value)

    @stamina.retry(on=BusUnavailable, attempts=None, timeout=None, wait_max=10.0)
    async def _read_alerts(self) -> None:
        async for page in self._bus.tail(ALERTS):
            self.alerts.extend(envelope.value for envelope in page)
            if page:
                self._on_alert()
