"""What a service says of itself each minute, on the edge's own bus, for the edge's heartbeat; see
`driftline.service.app.BackgroundJob`."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

from driftline.bus.port import Bus
from driftline.errors import BusUnavailable
from driftline.messages import REPORTS, ServiceReport
from driftline.service.app import ReadinessCheck, fault

log = logging.getLogger(__name__)

EVERY_S = 60.0
FIRST_S = 5.0
"""After so long the second one comes, then after twice as long each: a service that starts lacks much for seconds."""
TEXT_LENGTH = 300
"""Characters of what a check says."""
GIVEN_UP_S = 10.0
"""After so long a bus that does not answer is left alone until the next report."""


def new_boot() -> str:
    """A name of a replica that no other one has, and that it has until it ends."""
    return secrets.token_hex(6)


def _nothing_more(report: ServiceReport) -> ServiceReport:
    return report


class Reporter:
    """Reports for one replica of `service`. about: adds what the service alone knows."""

    name = "reports"

    def __init__(
        self,
        service: str,
        bus: Bus,
        checks: Sequence[ReadinessCheck],
        about: Callable[[ServiceReport], ServiceReport] = _nothing_more,
        *,
        every: float = EVERY_S,
        first: float = FIRST_S,
    ) -> None:
        self.replica = new_boot()
        self._service = service
        self._bus = bus
        self._checks = checks
        self._about = about
        self._every = every
        self._first = first
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        pause = min(self._first, self._every)
        while not self._stopping.is_set():
            await self.report()
            try:
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            except TimeoutError:
                pause = min(2 * pause, self._every)

    async def stop(self) -> None:
        self._stopping.set()

    async def report(self) -> bool:
        """Puts a report onto the bus; returns whether the bus has it. While the bus is away there is none."""
        try:
            async with asyncio.timeout(GIVEN_UP_S):
                await self._bus.publish(REPORTS, [await self._report()])
        except (BusUnavailable, TimeoutError) as error:
            log.debug("no report: %s", error)
            return False
        return True

    async def _report(self) -> ServiceReport:
        faults = await asyncio.gather(*map(fault, self._checks))
        lacks = {
            check.name: str(reason)[:TEXT_LENGTH]
            for check, reason in zip(self._checks, faults, strict=True)
            if reason is not None
        }
        return self._about(ServiceReport(service=self._service, replica=self.replica, every=self._every, lacks=lacks))
