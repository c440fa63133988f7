"""All series of one stream on their way onto the grid. Pure.

A period is closed by the stream's own time, which is the newest of any of its observations so far; it is no clock. So
the same observations in the same order give the same records, whenever and in whatever batches they are worked off.
A series that brings what is over for the others, such as a history or the memory of a logger, is closed by its own
time, or when the others have gone on since.
"""

import msgspec

from driftline.messages import Observation, Record
from driftline.streams.gridded.rule import GridRule
from driftline.streams.gridded.series import GridSeries, SeriesProgress, Values

BEGINNING = 0
"""Before every observation."""
Closed = list[tuple[int, str, str, Values]]
"""Periods that were closed, each with key, group and values."""


class StreamGrid:
    """The series of one stream that are owned here. Times are milliseconds since the epoch."""

    def __init__(self, rule: GridRule) -> None:
        self.rule = rule
        self.series: dict[str, GridSeries] = {}
        self.newest = BEGINNING
        """The stream's time."""
        self.changed: dict[str, None] = {}
        """Keys whose progress has changed, in order, until somebody takes them out."""
        self.steps: list[int] = []
        """Milliseconds between records of a series that were observed, until somebody takes them out."""
        self._over = rule.over(BEGINNING)

    def follow(self, rule: GridRule) -> None:
        """Goes on by another rule, which has other columns."""
        self.rule = rule
        for series in self.series.values():
            series.rule = rule

    def observe(self, observation: Observation, offset: int) -> tuple[list[Record], bool]:
        """The records of periods that are closed by it, and whether it is in time itself."""
        closed: Closed = []
        self._advance(observation.t, closed)
        in_time = self._take(observation, offset)
        if in_time:
            self._close_own(observation, closed)
        return self._records(closed, observation), in_time

    def observe_again(self, observation: Observation, offset: int) -> None:
        """Takes in what was taken in before a restart, and is of a period that is still open."""
        series = self.series.get(observation.key)
        period = self.rule.period_of(observation.t)
        if series is None or offset < series.progress.born or self._is_late(series, period):
            return
        series.put(period, offset, observation.t, observation.values)

    def restore(self, key: str, progress: SeriesProgress) -> None:
        """Takes up what was saved, unless periods had another length then."""
        if progress.length == self.rule.period:
            self.series[key] = GridSeries(self.rule, progress)

    def set_time(self, newest: int) -> None:
        """The stream's time is at least that."""
        self.newest = max(self.newest, newest)
        self._over = self.rule.over(self.newest)

    def _advance(self, t: int, closed: Closed) -> None:
        self.newest = max(self.newest, t)
        over = self.rule.over(self.newest)
        if over <= self._over:
            return
        self._over = over
        for key in list(self.series):
            self._close(key, over, closed)
            series = self.series[key]
            if not series.open and over - series.newest > self.rule.forget:
                del self.series[key]
                self.changed[key] = None

    def _close(self, key: str, over: int, closed: Closed) -> None:
        """Closes what of a series is due."""
        series = self.series[key]
        before = series.progress.settled
        if (due := series.due(over)) is not None:
            self._close_until(key, due, closed)
        closed += ((period, key, series.progress.group, values) for period, values in series.quiet(over))
        if series.progress.settled != before:
            self.changed[key] = None

    def _close_until(self, key: str, due: int, closed: Closed) -> None:
        series = self.series[key]
        before = series.progress.settled
        for period, values in series.close(due):
            closed.append((period, key, series.progress.group, values))
            if before is not None and not self.rule.fills:
                self.steps.append((period - before) * self.rule.period)
            before = period
        self.changed[key] = None

    def _take(self, observation: Observation, offset: int) -> bool:
        key, period = observation.key, self.rule.period_of(observation.t)
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = GridSeries(self.rule, SeriesProgress(offset, self.rule.period))
            self.changed[key] = None
        if self._is_late(series, period):
            return False
        progress = series.progress
        if progress.group != observation.group:
            progress.group = observation.group
            self.changed[key] = None
        if period <= self._over:
            self._fall_behind(key, progress, period, is_new=period not in series.open)
        if period in progress.kept:
            self.changed[key] = None
        series.put(period, offset, observation.t, observation.values)
        return True

    def _fall_behind(self, key: str, progress: SeriesProgress, period: int, *, is_new: bool) -> None:
        """It brings something for a period that is over."""
        if is_new:
            progress.opened[period] = self._over
            self.changed[key] = None
        if progress.behind != self._over:
            progress.behind = self._over
            self.changed[key] = None

    def _close_own(self, observation: Observation, closed: Closed) -> None:
        """Closes what is over by the time of this one series."""
        over, series = self.rule.over(observation.t), self.series[observation.key]
        due = max((period for period in series.open if period <= over), default=None)
        if due is not None:
            self._close_until(observation.key, due, closed)

    @staticmethod
    def _is_late(series: GridSeries, period: int) -> bool:
        settled = series.progress.settled
        return settled is not None and period <= settled

    def _records(self, closed: Closed, cause: Observation) -> list[Record]:
        """In order of time, so that a group's series come together."""
        closed.sort(key=lambda one: one[:2])
        return [self._record(*one, cause) for one in closed]

    def _record(self, period: int, key: str, group: str, values: Values, cause: Observation) -> Record:
        t = period * self.rule.period
        # A trace goes on in the series that it is of: one observation may close the periods of thousands.
        traceparent = cause.traceparent if cause.key == key else msgspec.UNSET
        return Record(self.rule.stream, key, t, values, cause.received, group, traceparent=traceparent)
