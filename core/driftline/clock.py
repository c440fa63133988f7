"""Whether a machine's clock can be believed: one without a battery begins in 1970, until the network tells it the time.

Pure: the clock is an argument.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from driftline.errors import ClockUnset

log = logging.getLogger(__name__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
"""No machine runs this before it. A constant, since files and images may be older or newer than what is in them."""
EARLIEST_S = EARLIEST.timestamp()
STRAY_S = 30 * 86_400.0
"""A time that is so much further ahead of when a message arrived than its stream allows is nobody's. A month, since a
machine that was without power for some days may begin with the time that it saved before, and forgets nothing for that.
"""


def believed(now: float) -> float:
    """`now`, seconds since the epoch, as a clock showed it. Raises ClockUnset when that is long over."""
    if now < EARLIEST_S:
        raise ClockUnset(
            f"this machine's clock is not set: found {shown(now)}, expected a time after {shown(EARLIEST_S)}; "
            "it is set by NTP as soon as the network is there, or by hand"
        )
    return now


def astray(t: int, arrived: float, ahead: float) -> bool:
    """Whether a time in milliseconds can't be one of a series whose messages arrive at `arrived`, and are `ahead` of it
    at most; in seconds. An arrival that is not to be believed itself says nothing."""
    return arrived >= EARLIEST_S and t / 1000 > arrived + ahead + STRAY_S


def shown(seconds: float) -> str:
    """A time in ISO 8601, in UTC. seconds: since the epoch."""
    return (EPOCH + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class BelievedClock:
    """Shows the time of `clock` while that can be believed. That it can't, and that it can again, is logged once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._doubted = False

    def now(self) -> float:
        """Seconds since the epoch. Raises ClockUnset."""
        try:
            now = believed(self._clock())
        except ClockUnset as error:
            if not self._doubted:
                log.warning("%s", error)
            self._doubted = True
            raise
        if self._doubted:
            log.warning("this machine's clock is set now, to %s", shown(now))
            self._doubted = False
        return now

    async def check(self) -> None:
        """See `driftline.service.app.ReadinessCheck`."""
        self.now()
