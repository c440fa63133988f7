"""When a store's answer was made, and what that says of this machine's clock. Pure."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

DATE_S: Final = 0.5
"""By how much an answer's time is too early on average: it has whole seconds."""


def answered_at(headers: Mapping[str, str]) -> float | None:
    """Seconds since the epoch when an answer was made, by the clock of who made it; None where it does not say that."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None


def offset(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds by which the clock that shows `now` is ahead of the store's, to about a second."""
    theirs = answered_at(headers)
    return round(now - theirs - DATE_S, 1) if theirs is not None else None
