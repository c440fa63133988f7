"""What a stream definition makes of the inputs: their sizes, their meanings, how far they look back and ahead. Pure."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.streams.calendar import WEEKDAY, YEAR, LocalCalendar
from driftline.streams.definition import StreamDefinition
from driftline.streams.neighbours import OFFSET_MEMORIES, moves_within

MEMORIES = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Smoothing factors of the moving averages: from the last few records to the last few hundred."""
SCALE_MEMORY = 0.002
DAYS = 7
"""That are remembered period by period."""
LONGEST_CHANGE = 3600
"""Seconds: of no more than that a change of the clocks is followed, when the same local time is looked back on."""
NET_SEASONS = 1
"""Of how many seasons, the shortest first, a network sees how far what was then is from now: after a step the long ones
are wrong for long, and a network does not learn that. Filters do."""
RLS_LAGS = 5
FILTER_HOURS = slice(0, 4)
"""Which of the calendar's terms the filters get: two harmonics of the local hour."""
FILTER_NEIGHBOURS = 4
"""Of what the neighbours say the filters get so much: their deviation from the usual offset, and the last two moves."""
CLIP = 30.0
"""Scaled inputs are cut here: a glitch is one wild input, not the end of a filter."""


@dataclass(frozen=True)
class Layout:
    """The inputs' sizes and meanings, given by a stream definition."""

    columns: int
    angles: Ints
    """Which columns are angles."""
    lags: int
    horizon: tuple[int, ...]
    day: int
    """Periods in a day, or 0 where it is not looked back on."""
    week: int
    """The same of a week."""
    period: int
    """Milliseconds from one record to the next."""
    calendar: LocalCalendar
    shift: int = 0
    """Periods by which the same local time lies off whole days ago, at most; 0 where no clock changes."""
    grouped: bool = False
    """Whether series see their neighbours."""
    futures: int = 0
    """Columns that are known ahead."""
    future_angles: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Which of them are angles."""

    @classmethod
    def of(cls, stream: StreamDefinition) -> Self:
        calendar, period = LocalCalendar.of(stream), stream.time.period
        return cls(
            columns=len(stream.columns),
            angles=np.flatnonzero(stream.angles),
            lags=stream.lags,
            horizon=stream.horizon,
            day=stream.season,
            week=stream.week,
            period=period * 1000,
            calendar=calendar,
            shift=round(LONGEST_CHANGE / period) if stream.seasons and calendar.changes else 0,
            grouped=stream.group is not None,
            futures=len(stream.futures),
            future_angles=np.flatnonzero(stream.future_angles),
        )

    @cached_property
    def net_width(self) -> int:
        # As `driftline.streams.features` joins them: differences, averages, seasons, calendar, levels, angles as two
        # each, neighbours, futures.
        columns = len(self.other_levels) + 2 * len(self.angles) + self.neighbour_width
        lagged = (self.lags - 1) * self.columns
        futures = len(self.horizon) * (self.futures + len(self.future_levels) + 2 * len(self.future_angles))
        return lagged + len(MEMORIES) + self._seasonal_width + self._clock_width + columns + futures

    @cached_property
    def rls_terms(self) -> int:
        # As `driftline.streams.features` joins the filters': bias, lags, averages, seasons, neighbours, other columns,
        # time of day, how seasons went on, futures.
        columns = self.columns - 1 + len(self.other_angles) + (FILTER_NEIGHBOURS if self.grouped else 0)
        seasonal = self.seasons + self.seasonal_moves
        hours = FILTER_HOURS.stop - FILTER_HOURS.start
        futures = len(self.future_levels) + 2 * len(self.future_angles)
        return 1 + min(RLS_LAGS, self.lags - 1) + len(MEMORIES) + columns + hours + seasonal + futures

    @property
    def seasons(self) -> int:
        """How many are looked back on."""
        return bool(self.day) + bool(self.week)

    @property
    def seasonal_moves(self) -> int:
        """What the seasons say for one horizon: see `driftline.streams.seasons.Seasons`."""
        return 2 * bool(self.day) + bool(self.week)

    @property
    def _seasonal_width(self) -> int:
        return min(self.seasons, NET_SEASONS) + self.seasonal_moves * len(self.horizon)

    @property
    def week_inputs(self) -> Ints:
        """Which of a network's inputs speak of the week: the weekday, holidays, and how last week went on."""
        steps = np.arange(len(self.horizon))[:, None]
        holiday = self.calendar.width - YEAR.stop
        weekdays = self._clock_start + steps * YEAR.start + np.arange(YEAR.start)[WEEKDAY]
        holidays = self._clock_start + len(self.horizon) * YEAR.start + steps * holiday + np.arange(holiday)
        # The last of the moves, see `driftline.streams.seasons`.
        moves = self._clock_start + (steps - len(self.horizon) + 1) * self.seasonal_moves - 1
        return np.concatenate([weekdays.ravel(), holidays.ravel(), moves[: bool(self.week) * len(steps)].ravel()])

    @property
    def year_inputs(self) -> Ints:
        """Which of a network's inputs say what day of the year it is."""
        years = YEAR.stop - YEAR.start
        return self._clock_start + self._clock_width - years + np.arange(years)

    @property
    def _clock_start(self) -> int:
        return (self.lags - 1) * self.columns + len(MEMORIES) + self._seasonal_width

    @property
    def neighbour_width(self) -> int:
        return 2 + len(OFFSET_MEMORIES) + len(moves_within(self.lags)) if self.grouped else 0

    @property
    def _clock_width(self) -> int:
        year = YEAR.stop - YEAR.start
        return (self.calendar.width - year) * len(self.horizon) + year

    @cached_property
    def remembered(self) -> int:
        """Periods of which the target's values are kept, to look back on seasons."""
        return max(DAYS * self.day, self.week) + self.shift

    @cached_property
    def other_angles(self) -> Ints:
        return self.angles[self.angles > 0]

    @cached_property
    def other_levels(self) -> Ints:
        return np.setdiff1d(np.arange(1, self.columns), self.angles)

    @cached_property
    def future_levels(self) -> Ints:
        return np.setdiff1d(np.arange(self.futures), self.future_angles)

    @cached_property
    def looked_ahead(self) -> Ints:
        """[1 + horizons]: periods from a record to the times whose futures are looked at: its own, and those that are
        forecast."""
        return np.concatenate([[0], self.steps])

    @cached_property
    def all_lags(self) -> Ints:
        """[lags]: periods from the newest record back to each of the newest."""
        return np.arange(self.lags, dtype=np.int64)

    @cached_property
    def steps(self) -> Ints:
        """[horizons]."""
        return np.array(self.horizon, dtype=np.int64)

    @cached_property
    def memories(self) -> Floats:
        """Smoothing factors of `History.moving`: the target's averages, then the slow statistics."""
        return np.array([*MEMORIES, *[SCALE_MEMORY] * (1 + 2 * self.columns)])
