"""Refuses at the REST door who has sent more than it may; see `driftline_ingest.rate`."""

import math
import time
from collections.abc import Callable

from fastapi import HTTPException, Request
from prometheus_client import Counter

from driftline_ingest.rate import Rate
from driftline_ingest.settings import IngestSettings


class Limiter:
    """A sender is who has the token; where none is asked for, an address. limited: counts the refusals."""

    def __init__(self, settings: IngestSettings, limited: Counter, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = Rate(settings.rate, settings.rate_burst) if settings.rate is not None else None
        self._by_address = settings.token is None
        self._limited = limited
        self._clock = clock

    def admit(self, request: Request) -> None:
        """Counts a request as one row. Raises HTTPException 429 with the time after which it may be sent again."""
        if self._rate is None:
            return
        sender, now = self._sender(request), self._clock()
        wait = math.ceil(self._rate.wait(sender, now))
        if wait > 0:
            self._limited.inc()
            detail = f"found more rows than a sender may send, expected nothing for another {wait} s"
            raise HTTPException(429, detail, {"Retry-After": str(wait)})
        self._rate.count(sender, 1, now)

    def count(self, request: Request, rows: int) -> None:
        """Counts the rows that an admitted request turned out to have."""
        if self._rate is not None and rows > 1:
            self._rate.count(self._sender(request), rows - 1, self._clock())

    def _sender(self, request: Request) -> str:
        return request.client.host if self._by_address and request.client else "token"
