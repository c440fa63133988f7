"""Refuses at the REST door who has sent more than it may; see `driftline_ingest.rate`."""

import math
import time
from collections.abc import Callable

from fastapi import HTTPException, Request
from prometheus_client import Counter

from driftline.service.access.gate import address_of
from driftline.service.access.roles import ANYBODY, Caller
from driftline_ingest.rate import Rate
from driftline_ingest.settings import IngestSettings


class Limiter:
    """A sender is who has a token, by its name; where none is asked for, an address. limited: counts the refusals."""

    def __init__(self, settings: IngestSettings, limited: Counter, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = Rate(settings.rate, settings.rate_burst) if settings.rate is not None else None
        self._limited = limited
        self._clock = clock

    def admit(self, request: Request, caller: Caller) -> None:
        """Counts a request as one row. Raises HTTPException 429 with the time after which it may be sent again."""
        if self._rate is None:
            return
        sender, now = _sender(request, caller), self._clock()
        wait = math.ceil(self._rate.wait(sender, now))
        if wait > 0:
            self._limited.inc()
            detail = f"found more rows than a sender may send, expected nothing for another {wait} s"
            raise HTTPException(429, detail, {"Retry-After": str(wait)})
        self._rate.count(sender, 1, now)

    def count(self, request: Request, caller: Caller, rows: int) -> None:
        """Counts the rows that an admitted request turned out to have."""
        if self._rate is not None and rows > 1:
            self._rate.count(_sender(request, caller), rows - 1, self._clock())


def _sender(request: Request, caller: Caller) -> str:
    return address_of(request) if caller is ANYBODY else f"{caller.how} {caller.name}"
