"""The local calendar as inputs of a model: hour, weekday, day of the year, holidays. Pure.

Time zones and holidays are read once for every year that occurs, into tables; an array of times is looked up in them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Self, cast
from zoneinfo import ZoneInfo

import numpy as np

from driftline.arrays import Floats, Ints, Mask
from driftline.streams import public_holidays
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_values import DAY_S

DAY_MS = DAY_S * 1000
HARMONICS = 3
UNIX_YEARS = range(1970, 2038)
"""In which a zone's offsets are compared."""
WEEKDAYS = 7
THURSDAY = 3
"""The epoch's weekday, counted from Monday."""
HOUR = slice(0, 2 * HARMONICS)
"""Time of the local day: sine and cosine of the first harmonic, then of the second, then of the third."""
WEEKDAY = slice(HOUR.stop, HOUR.stop + WEEKDAYS)
"""1 at the local weekday, Monday first."""
YEAR = slice(WEEKDAY.stop, WEEKDAY.stop + 2)
"""Local day of the year: sine and cosine."""
HOLIDAY = slice(YEAR.stop, YEAR.stop + 3)
"""1 where the local day is a holiday, where it is the day before one, where it is the day after one; these terms exist
only where the definition names holidays."""
RADIANS = 2 * np.pi / DAY_MS * np.arange(1, HARMONICS + 1)
"""Of each harmonic, by milliseconds."""


@dataclass(frozen=True)
class _Years:
    """What is known of some years in a row. Times are milliseconds since the epoch."""

    first: int
    last: int
    begin: int
    """First time of the first year, in UTC."""
    end: int
    """First time after the last year, in UTC."""
    changes: Ints
    """[changes]: times from which another offset counts, ascending."""
    offsets: Ints
    """[changes + 1]: milliseconds from UTC to local time."""
    midnight: int
    """The local one that `days` begins with."""
    days: Floats
    """[days, width - hour's terms]: the terms that are the same for a whole local day."""

    def offset(self, t: Ints) -> Ints:
        """[...]: milliseconds from UTC to local time at the times `t` [...], which are all of these years."""
        return self.offsets.take(self.changes.searchsorted(t, side="right"))


class LocalCalendar:
    """The calendar of one zone, and of one country where holidays are wanted."""

    def __init__(self, zone: str, holidays: str | None = None) -> None:
        """zone: an IANA name. holidays: a country or subdivision, as the definition has it."""
        self._zone = zone
        self._holidays = holidays
        self._years: _Years | None = None
        self.width = HOLIDAY.stop if holidays else YEAR.stop
        """How many terms a time has."""

    @classmethod
    def of(cls, stream: StreamDefinition) -> Self:
        """The same one for all streams of one zone and country."""
        return cast("Self", _calendar(stream.zone, stream.calendar.holidays))

    def terms(self, t: Ints) -> Floats:
        """[..., width]: HOUR, WEEKDAY, YEAR and HOLIDAY of every time. t: [...] milliseconds since the epoch."""
        terms = np.empty((*t.shape, self.width))
        if not t.size:
            return terms
        years = self._covering(int(t.min()), int(t.max()))
        since = t + years.offset(t) - years.midnight
        row = since // DAY_MS
        phases = np.multiply.outer(since - row * DAY_MS, RADIANS)
        terms[..., HOUR.start : HOUR.stop : 2] = np.sin(phases)
        terms[..., HOUR.start + 1 : HOUR.stop : 2] = np.cos(phases)
        terms[..., HOUR.stop :] = years.days.take(row, axis=0)
        return terms

    def offset(self, t: Ints) -> Ints:
        """[...]: milliseconds from UTC to local time at the times `t` [...]."""
        return self._covering(int(t.min()), int(t.max())).offset(t) if t.size else np.zeros_like(t)

    def has_change(self, first: Ints, last: Ints) -> Mask:
        """[...]: whether the offset changes between two times, each [...]."""
        if not first.size:
            return np.zeros(first.shape, dtype=np.bool_)
        changes = self._covering(int(first.min()), int(last.max())).changes
        changed: Mask = changes.searchsorted(first, side="right") != changes.searchsorted(last, side="right")
        return changed

    @cached_property
    def changes(self) -> bool:
        """Whether its zone has another offset at times, such as in summer."""
        zone, halves = ZoneInfo(self._zone), ((year, month) for year in UNIX_YEARS for month in (1, 7))
        return len({_offset(zone, int(datetime(*half, 1, tzinfo=UTC).timestamp())) for half in halves}) > 1

    def _covering(self, earliest: int, latest: int) -> _Years:
        """All years so far, and those from `earliest` to `latest`."""
        years = self._years
        if years is None or earliest < years.begin or latest >= years.end:
            first, last = _year_of(earliest), _year_of(latest)
            if years is not None:
                first, last = min(first, years.first), max(last, years.last)
            years = self._years = _years_between(self._zone, self._holidays, first, last)
        return years


@lru_cache(maxsize=100)
def _calendar(zone: str, holidays: str | None) -> LocalCalendar:
    return LocalCalendar(zone, holidays)


def _year_of(t: int) -> int:
    return datetime.fromtimestamp(t / 1000, UTC).year


def _seconds_of(year: int) -> int:
    """Of a year's begin in UTC, since the epoch."""
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


def _years_between(zone: str, holidays: str | None, first: int, last: int) -> _Years:
    changes = np.array([change for year in range(first, last + 1) for change in _changes(zone, year)], dtype=np.int64)
    begin, end = _seconds_of(first), _seconds_of(last + 1)
    # Local time is less than a day from UTC: a time of these years may belong to the day before them or after them.
    days = np.arange(begin // DAY_S - 1, end // DAY_S + 1, dtype=np.int64)
    return _Years(
        first=first,
        last=last,
        begin=begin * 1000,
        end=end * 1000,
        # The first offset counts from the first year's begin, before which no time is looked up.
        changes=changes[1:, 0] * 1000,
        offsets=changes[:, 1] * 1000,
        midnight=int(days[0]) * DAY_MS,
        days=_day_terms(days, holidays, range(first - 1, last + 2)),
    )


def _day_terms(days: Ints, holidays: str | None, years: range) -> Floats:
    """[days, weekday's and year's and holiday's terms]. years: those that the days, and those next to them, are in."""
    weekdays = np.eye(WEEKDAYS)[(days + THURSDAY) % WEEKDAYS]
    dates = days.astype("datetime64[D]")
    year = dates.astype("datetime64[Y]")
    new_year, next_year = year.astype("datetime64[D]"), (year + 1).astype("datetime64[D]")
    phase = 2 * np.pi * ((dates - new_year) / (next_year - new_year))
    parts = [weekdays, np.sin(phase)[:, None], np.cos(phase)[:, None]]
    if holidays:
        free = [day for year in years for day in public_holidays.days_of(holidays, year)]
        parts.append(np.stack([np.isin(days + shift, free) for shift in (0, 1, -1)], axis=1).astype(np.float64))
    return np.concatenate(parts, axis=1)


@lru_cache(maxsize=1000)
def _changes(zone: str, year: int) -> tuple[tuple[int, int], ...]:
    """When a year's offsets begin to count, in seconds since the epoch, and seconds from UTC to local time; the first
    from the year's begin in UTC."""
    return tuple(_search(ZoneInfo(zone), _seconds_of(year), _seconds_of(year + 1)))


def _search(zone: ZoneInfo, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """`zoneinfo` does not say when an offset changes: days of different offsets are halved until that second. No zone
    has two changes within a day; the nearest ones are four days apart."""
    yield begin, _offset(zone, begin)
    for before, after in pairwise(range(begin, end + 1, DAY_S)):
        low, high, offset = before, after, _offset(zone, after)
        if offset == _offset(zone, before):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _offset(zone, middle) == offset else (middle, high)
        yield high, offset


def _offset(zone: ZoneInfo, seconds: int) -> int:
    """From UTC to local time."""
    return (datetime.fromtimestamp(seconds, zone).utcoffset() or timedelta()) // timedelta(seconds=1)
