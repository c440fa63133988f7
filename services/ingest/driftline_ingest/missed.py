"""Whose messages the bus has dropped before they were read. Pure.

The bus knows how many they were. Of which streams and times is seen when the series are heard of again: each lacks the
periods in between. Since a sensor may have been silent meanwhile, that is an estimate, and never more than the bus has
dropped in all.
"""

from collections.abc import Iterable

from driftline.messages import Gap
from driftline.worker.stream_step import Series


class MissedMessages:
    """Those of all partitions that are owned here."""

    def __init__(self) -> None:
        self._count = 0
        self._series: set[Series] = set()

    def __bool__(self) -> bool:
        return self._count > 0 and bool(self._series)

    def add(self, count: int, series: Iterable[Series]) -> None:
        """series: those that were known when it happened."""
        self._count += count
        self._series.update(series)

    def explain(self, series: Series, what: str, last_t: int, t: int, period: int) -> Gap | None:
        """A series is heard of again: what it lacks, as far as it is not explained by others. Times and period in
        milliseconds."""
        if series not in self._series or t <= last_t:
            return None
        self._series.discard(series)
        count = min((t - last_t - 1) // period, self._count)
        if count <= 0:
            return None
        self._count -= count
        return Gap(
            stream=series[0], what=what, since=last_t + period, until=max(last_t + period, t - period), count=count
        )
