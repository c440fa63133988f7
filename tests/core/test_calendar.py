"""A local calendar says of a time what plain datetime, zoneinfo and holidays say."""

import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.calendar import HOLIDAY, HOUR, WEEKDAY, YEAR, LocalCalendar
from driftline.streams.definition_files import parse

ZONES = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "America/Sao_Paulo"]
COUNTRIES = ["FR", "DE-BY", "US-CA", "GB-SCT", "IN"]
DAY_MS = 86_400_000
MILLISECONDS = st.integers(-2_208_988_800_000, 4_133_980_799_999)
"""1900 to 2100."""


def milliseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def plain_terms(t: int, zone: str, country: str | None) -> list[float]:
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t)).astimezone(ZoneInfo(zone))
    time = timedelta(hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    day = 2 * math.pi * (time / timedelta(days=1))
    length = (date(local.year + 1, 1, 1) - date(local.year, 1, 1)).days
    year = 2 * math.pi * (local.timetuple().tm_yday - 1) / length
    hours = [f(harmonic * day) for harmonic in (1, 2, 3) for f in (math.sin, math.cos)]
    weekdays = [float(local.weekday() == weekday) for weekday in range(7)]
    return [*hours, *weekdays, math.sin(year), math.cos(year), *plain_flags(local.date(), country)]


def plain_flags(day: date, country: str | None) -> list[float]:
    if country is None:
        return []
    code, _, subdivision = country.partition("-")
    years = range(day.year - 1, day.year + 2)
    free = holidays.country_holidays(code, subdiv=subdivision or None, years=years, expand=False)
    return [float(day + timedelta(days=shift) in free) for shift in (0, 1, -1)]


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=60, deadline=None)
@given(times=st.lists(MILLISECONDS, min_size=1, max_size=20))
def test_local_time_is_that_of_zoneinfo_at_any_time(zone: str, times: list[int]):
    terms = LocalCalendar(zone).terms(np.array(times))
    np.testing.assert_allclose(terms, [plain_terms(t, zone, None) for t in times], rtol=0, atol=1e-9)


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=20, deadline=None)
@given(year=st.integers(1970, 2037))
def test_local_time_is_that_of_zoneinfo_in_every_half_hour_of_a_year(zone: str, year: int):
    begin = milliseconds(datetime(year, 1, 1, tzinfo=UTC))
    times = np.arange(begin, begin + 366 * DAY_MS, DAY_MS // 48)
    zoned = [datetime.fromtimestamp(t / 1000, ZoneInfo(zone)) for t in times.tolist()]
    expected = [2 * math.pi * (local.hour / 24 + local.minute / 1440 + local.second / 86_400) for local in zoned]
    terms = LocalCalendar(zone).terms(times)
    np.testing.assert_allclose(terms[:, :2], np.stack([np.sin(expected), np.cos(expected)], axis=1), rtol=0, atol=1e-9)
    assert terms[:, WEEKDAY].argmax(axis=1).tolist() == [local.weekday() for local in zoned]


@pytest.mark.filterwarnings("ignore:Requested Holidays are available only")
@pytest.mark.parametrize("country", COUNTRIES)
@settings(max_examples=40, deadline=None)
@given(times=st.lists(MILLISECONDS, min_size=1, max_size=5), zone=st.sampled_from(ZONES))
def test_holidays_are_those_of_the_library_by_the_local_day(country: str, zone: str, times: list[int]):
    terms = LocalCalendar(zone, country).terms(np.array(times))
    np.testing.assert_allclose(terms, [plain_terms(t, zone, country) for t in times], rtol=0, atol=1e-9)


@pytest.mark.parametrize("country", COUNTRIES[:-1])
def test_every_day_of_some_years_is_a_holiday_or_next_to_one_as_the_library_has_it(country: str):
    days = np.arange("2020-12-28", "2023-01-05", dtype="datetime64[D]")
    flags = LocalCalendar("UTC", country).terms(days.astype("datetime64[ms]").astype(np.int64))[:, HOLIDAY]
    assert flags.tolist() == [plain_flags(day, country) for day in days.tolist()]
    assert flags.any(axis=0).all()


def hours(calendar: LocalCalendar, *times: datetime) -> list[float]:
    sine, cosine = calendar.terms(np.array([milliseconds(time) for time in times]))[:, HOUR][:, :2].T
    return (np.arctan2(sine, cosine) / (2 * np.pi) * 24 % 24).round(9).tolist()


def test_the_hour_that_comes_twice_is_the_same_hour_twice_and_the_one_that_is_skipped_does_not_occur():
    paris = LocalCalendar("Europe/Paris")
    autumn = [datetime(2024, 10, 27, hour, 30, tzinfo=UTC) for hour in (0, 1, 2)]
    spring = [datetime(2024, 3, 31, hour, 59, 59, 999_000, tzinfo=UTC) for hour in (0, 1)]
    assert hours(paris, *autumn) == [2.5, 2.5, 3.5]
    assert hours(paris, spring[0], spring[0] + timedelta(milliseconds=1), spring[1]) == [1.999999722, 3.0, 3.999999722]


def test_lord_howes_half_hour_is_half_an_hour():
    assert hours(
        LocalCalendar("Australia/Lord_Howe"),
        datetime(2024, 10, 5, 15, 29, tzinfo=UTC),
        datetime(2024, 10, 5, 15, 30, tzinfo=UTC),
    ) == [round(1 + 59 / 60, 9), 2.5]


def test_weekday_and_holiday_are_those_of_the_local_day():
    # Midnight of the 14th of July 2024, a Sunday, is still the 13th in UTC.
    t = np.array([milliseconds(datetime(2024, 7, 13, hour, tzinfo=UTC)) for hour in (21, 22)])
    terms = LocalCalendar("Europe/Paris", "FR").terms(t)
    assert terms[:, WEEKDAY].argmax(axis=1).tolist() == [5, 6]
    assert terms[:, HOLIDAY].tolist() == [[0, 1, 0], [1, 0, 0]]


def test_new_years_day_counts_on_the_days_around_it_in_other_years():
    days = [datetime(2023, 12, 31, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC)]
    terms = [LocalCalendar("UTC", "FR").terms(np.array([milliseconds(day)]))[0, HOLIDAY].tolist() for day in days]
    assert terms == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("holidays_of", [None, "FR"])
def test_the_parts_fill_the_width_one_after_the_other(holidays_of: str | None):
    calendar = LocalCalendar("UTC", holidays_of)
    parts = [HOUR, WEEKDAY, YEAR, *([HOLIDAY] if holidays_of else [])]
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(calendar.width))
    assert calendar.terms(np.array([0])).shape == (1, calendar.width)


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3), (2, 0)])
def test_times_come_in_any_shape(shape: tuple[int, ...]):
    calendar = LocalCalendar("Europe/Paris", "FR")
    times = 1_700_000_000_000 + 3_600_000 * np.arange(math.prod(shape)).reshape(shape)
    terms = calendar.terms(times)
    assert terms.shape == (*shape, calendar.width)
    assert terms.reshape(-1, calendar.width).tolist() == [
        calendar.terms(np.array(t)).tolist() for t in times.ravel().tolist()
    ]


@settings(max_examples=20, deadline=None)
@given(times=st.lists(MILLISECONDS, min_size=1, max_size=20))
def test_what_was_asked_before_changes_nothing(times: list[int]):
    asked = LocalCalendar("America/New_York", "US")
    one_by_one = [asked.terms(np.array(t)).tolist() for t in times]
    assert one_by_one == LocalCalendar("America/New_York", "US").terms(np.array(times)).tolist()


def test_streams_of_one_zone_and_country_share_a_calendar():
    text = "name: a\ntime: {column: when, period: 1h}\ntarget: y\n"
    french = parse(f"{text}calendar: {{zone: Europe/Paris, holidays: FR}}\n", "a.yaml")
    plain = parse(text, "a.yaml")
    assert LocalCalendar.of(french) is LocalCalendar.of(french.model_copy(update={"name": "b"}))
    assert LocalCalendar.of(french) is not LocalCalendar.of(plain)
    noon = np.array(12 * 3_600_000)
    np.testing.assert_allclose(LocalCalendar.of(plain).terms(noon), plain_terms(int(noon), "UTC", None), atol=1e-9)
