"""From what a device sends as a time to milliseconds since 1970, UTC. Pure.

A local time that comes twice in autumn is told apart by the order of its key's records; one that does not exist in
spring is refused.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from driftline.streams.data_sections import Time
from driftline.streams.reading.refusals import UnusableError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST: Final = EPOCH
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
DAY: Final = timedelta(days=1)
PER_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
UNITS: Final = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
LEAST_EPOCH: Final = 1e8
"""Of a number that may be seconds since 1970: March 1973. Less is most often a device's time since its start."""
NEVER_QUIET: Final = (datetime.max, datetime.min, timezone(timedelta()))  # noqa: DTZ901 - hands of a clock
DIGITS = re.compile(r"\d+(\.\d+)?")
CLOCK = r"[ T]+(\d{1,2}):(\d{2}(?::\d{2}(?:[.,]\d+)?)?)(?: ?(Z|UTC|[+-]\d{2}:?\d{2}))?"
DAY_FIRST = re.compile(rf"(?P<day>\d{{1,2}})\.(?P<month>\d{{1,2}})\.(?P<year>\d{{4}}){CLOCK}")
"""With points between day, month and year nobody writes the month first."""
YEAR_FIRST = re.compile(rf"(?P<year>\d{{4}})([-/.])(?P<month>\d{{1,2}})\2(?P<day>\d{{1,2}}){CLOCK}")
LIVE_MS: Final = 15 * 60 * 1000
"""A record that arrives so soon after its time is of now: the clock says which of two passes of an hour it is."""
ISO = "a time such as 2014-01-01T01:00:00+01:00"


class TimeRule:
    """How the times of a stream are written. guesses: what was not said and had to be guessed, as sentences."""

    def __init__(self, time: Time, earliest: datetime = EARLIEST, *, readings: bool = False) -> None:
        """readings: whether what comes is no record of a period yet, but what a grid makes one of."""
        self._time = time
        self._readings = readings
        self.zone = None if time.zone == "required" else ZoneInfo(time.zone)
        self._earliest = earliest
        self.may_be_iso = time.format in {None, "iso"}
        self.by_order = self.zone is not None
        """Whether the order of records may say which time is meant."""
        self._quiet = NEVER_QUIET
        """Two hands of the clock between which nothing changes, and their offset."""
        self.guesses: dict[str, str] = {}

    def milliseconds(self, column: str, value: object, before: int | None = None, received: float = 0.0) -> int:
        """before: of the record of the same key before it. received: seconds since 1970. Raises UnusableError."""
        try:
            time = datetime.fromisoformat(value) if self.may_be_iso and isinstance(value, str) else None
        except ValueError:
            time = None
        if isinstance(value, datetime):
            # Of a format that has its own way to write times.
            time = value
        if time is None:
            time = self._other(column, value)
        if time.tzinfo is None:
            if self.zone is None:
                raise UnusableError(column, value, f"{ISO}, with a zone, or a zone in the stream definition")
            time = self._in_zone(column, value, time, self.zone, before, received)
        try:
            inside = self._earliest <= time < LATEST
        except OverflowError:
            inside = False
        if not inside:
            raise self.beyond(column, value)
        return round((time - EPOCH).total_seconds() * 1000)

    def step(self, apart: int) -> int:
        """About from one time of a key to its next. apart: the two passes of an hour. All in milliseconds.

        Readings for a grid come at most a period apart, and nobody knows how often: half of it tells the passes apart
        for all that do.
        """
        period = self._time.period * 1000
        return min(period, apart) // 2 if self._readings else period

    @property
    def between(self) -> tuple[int, int]:
        """The times that are taken, in milliseconds since 1970: from the first, and before the last."""
        first, last = (round((time - EPOCH).total_seconds() * 1000) for time in (self._earliest, LATEST))
        return first, last

    def beyond(self, column: str, value: object) -> UnusableError:
        return UnusableError(column, value, f"a time between the years {self._earliest.year} and {LATEST.year}")

    def _other(self, column: str, value: object) -> datetime:
        form = self._time.format
        if form in PER_SECOND:
            return self._since_1970(column, value, form)
        if form is not None and "%" in form:
            return self._by_pattern(column, value, form)
        if form is None and isinstance(value, str) and (time := _rewritten(value.strip())) is not None:
            return time
        if form is None and (unit := self._guessed_unit(value)) is not None:
            return self._since_1970(column, value, unit)
        raise UnusableError(column, value, self._expected(value))

    def _expected(self, value: object) -> str:
        """A sentence that helps further."""
        if isinstance(value, str) and "/" in value:
            return f"{ISO}, or `time.format` in the stream definition, since day or month may come first"
        if isinstance(value, str) and any(map(str.isdigit, value)):
            return f"{ISO}, or another `time.format` in the stream definition"
        return ISO

    def _guessed_unit(self, value: object) -> str | None:
        number = _epoch_number(value)
        if number is None or number < LEAST_EPOCH:
            return None
        latest = (LATEST - EPOCH).total_seconds()
        unit = next((unit for unit, per_second in PER_SECOND.items() if number < latest * per_second), None)
        if unit is not None:
            sentence = f"times are taken for {UNITS[unit]} since 1970, since {value!r} was found"
            self.guesses.setdefault(unit, f"{sentence}; `time.format: {unit}` in the definition says so for sure")
        return unit

    def _since_1970(self, column: str, value: object, unit: str) -> datetime:
        number = _epoch_number(value)
        if number is None:
            raise UnusableError(column, value, f"{UNITS[unit]} since 1970")
        try:
            # Whole numbers are divided without a loss: nanoseconds have more digits than a float.
            microseconds = (
                number * 10**6 // PER_SECOND[unit] if isinstance(number, int) else number / PER_SECOND[unit] * 1e6
            )
            return EPOCH + timedelta(microseconds=microseconds)
        except (OverflowError, ValueError):
            raise self.beyond(column, value) from None

    def _by_pattern(self, column: str, value: object, pattern: str) -> datetime:
        if isinstance(value, int) and not isinstance(value, bool):
            # Such as 20260301 in JSON.
            value = str(value)
        try:
            if isinstance(value, str):
                return datetime.strptime(value.strip(), pattern)  # noqa: DTZ007 - zone and definition say more
        except ValueError:
            pass
        raise UnusableError(column, value, f"a time that is written as {pattern}")

    def _in_zone(
        self, column: str, value: object, naive: datetime, zone: ZoneInfo, before: int | None, received: float
    ) -> datetime:
        begin, end, offset = self._quiet
        if begin <= naive < end:
            return naive.replace(tzinfo=offset)
        try:
            self._quiet = _quiet_day(naive, zone)
            first, second = naive.replace(tzinfo=zone, fold=0), naive.replace(tzinfo=zone, fold=1)
            gained = (second.utcoffset() or timedelta()) - (first.utcoffset() or timedelta())
        except OverflowError:
            raise self.beyond(column, value) from None
        if not gained:
            return first
        if gained > timedelta():
            raise UnusableError(column, value, _sentence(first, second, zone))
        return _with_offset(second if self._is_second(first, second, before, received) else first)

    def _is_second(self, first: datetime, second: datetime, before: int | None, received: float) -> bool:
        one, other = (round((time.astimezone(UTC) - EPOCH).total_seconds() * 1000) for time in (first, second))
        return is_second_pass(one, other, before, self.step(other - one), received)


def joined(day: object, time: object) -> object:
    """One text of the fields of day and time of day; None where either is missing."""
    if day is None or time is None or day == "" or time == "":
        return None
    return f"{day} {time}"


def is_second_pass(first: int, second: int, before: int | None, step: int, received: float) -> bool:
    """Whether the later of two times is meant, all in milliseconds except `received` in seconds. step: from the time
    `before` of the key to its next, about."""
    arrived = received * 1000
    if arrived and min(abs(arrived - first), abs(arrived - second)) <= LIVE_MS:
        return abs(arrived - second) < abs(arrived - first)
    if before is None:
        return False
    # Of two that are as near, the one that is not old is meant.
    expected = before + step
    return abs(expected - second) <= abs(expected - first)


def _rewritten(text: str) -> datetime | None:
    """The time in a text whose order of day, month and year can't be mistaken."""
    match = DAY_FIRST.fullmatch(text) or YEAR_FIRST.fullmatch(text)
    if match is None:
        return None
    hour, rest, zone = match.groups()[-3:]
    date = f"{match['year']}-{int(match['month']):02}-{int(match['day']):02}"
    try:
        return datetime.fromisoformat(f"{date}T{int(hour):02}:{rest}{'Z' if zone == 'UTC' else zone or ''}")
    except ValueError:
        return None


def _quiet_day(naive: datetime, zone: ZoneInfo) -> tuple[datetime, datetime, timezone]:
    """The day of a time, by the hands of the clock, unless something changes near it; then none. Clocks change seldom
    enough for one look before the day and one after it. Raises OverflowError."""
    begin = datetime(naive.year, naive.month, naive.day)  # noqa: DTZ001 - hands of a clock
    end = begin + DAY
    before, after = ((time.replace(tzinfo=zone)).utcoffset() for time in (begin - DAY, end + DAY))
    if before != after or before is None:
        return NEVER_QUIET
    return begin, end, timezone(before)


def _with_offset(time: datetime) -> datetime:
    """Compared by its own offset: a time of a zone compares by its hands alone."""
    return time.astimezone(UTC)


def _sentence(first: datetime, second: datetime, zone: tzinfo) -> str:
    """first, second: a time in a gap, by the offset before it and by that after it."""
    minutes = ((second.utcoffset() or timedelta()) - (first.utcoffset() or timedelta())).total_seconds() / 60
    return f"a time that exists in {zone}: the clocks go over it there, {minutes:g} minutes forward on {first.date()}"


def _epoch_number(value: object) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, str) and DIGITS.fullmatch(value.strip()):
        bare = value.strip()
        return float(bare) if "." in bare else int(bare)
    return None
