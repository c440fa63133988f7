"""How many rows a sender may send: a bucket for each, as one number (the generic cell rate algorithm of ATM Forum's
Traffic Management 4.0, section 4.4.2). Pure.
"""

from collections import OrderedDict

SENDERS = 10_000
"""Senders that are remembered; the one that was silent longest is forgotten first."""


class Rate:
    """rate: rows a second. burst: rows that may come at once in addition. Times are seconds of one clock."""

    def __init__(self, rate: float, burst: int) -> None:
        self._seconds_a_row = 1 / rate
        self._tolerance = burst / rate
        self._paid: OrderedDict[str, float] = OrderedDict()
        """By sender when all that it sent would have come at the rate."""

    def wait(self, sender: str, now: float) -> float:
        """Seconds until it may send again; 0 when it may now."""
        return max(0.0, self._paid.get(sender, now) - now - self._tolerance)

    def count(self, sender: str, rows: int, now: float) -> None:
        """Counts what it sent. How much a body holds is known when it was read, so the last one may go beyond the
        burst; what comes next waits for it."""
        self._paid[sender] = max(self._paid.get(sender, now), now) + rows * self._seconds_a_row
        self._paid.move_to_end(sender)
        if len(self._paid) > SENDERS:
            self._paid.popitem(last=False)
