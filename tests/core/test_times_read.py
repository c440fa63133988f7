"""From what a device sends as a time to milliseconds since 1970."""

from datetime import UTC, datetime

import pytest

from driftline.streams.data_sections import Time
from driftline.streams.reading.refusals import UnusableError
from driftline.streams.reading.times import TimeRule


def rule(**time: object) -> TimeRule:
    return TimeRule(Time.model_validate({"period": "10min", **time}))


def read(value: object, **time: object) -> str:
    t = rule(**time).milliseconds("when", value)
    return datetime.fromtimestamp(t / 1000, UTC).isoformat()


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-01T01:00:00+01:00",
        "20260301T000000Z",
        1772323200,
        1772323200.0,
        1772323200000,
        1772323200000000,
        1772323200000000000,
        "1772323200",
        "1772323200000",
        "1772323200.0",
        "2026-03-01 00:00:00 UTC",
        "1.3.2026 0:00Z",
        "2026/3/1 00:00:00 +00:00",
    ],
)
def test_a_time_is_known_by_its_form_and_a_number_by_its_size(value: object):
    assert read(value) == "2026-03-01T00:00:00+00:00"


def test_what_had_to_be_guessed_is_said_once_with_how_to_be_sure():
    times = rule()
    for second in range(3):
        times.milliseconds("when", 1772323200 + second)
    (guess,) = times.guesses.values()
    assert guess.startswith("times are taken for seconds since 1970, since 1772323200 was found; `time.format: s`")
    sure = rule(format="s")
    sure.milliseconds("when", 1772323200)
    assert not sure.guesses


@pytest.mark.parametrize(
    ("value", "time", "expected"),
    [
        (3600, {}, "a time such as"),
        (3600, {"format": "ms"}, None),
        ("2026-03-01T00:00:00Z", {"format": "s"}, "seconds since 1970"),
        (True, {"format": "s"}, "seconds since 1970"),
        (float("nan"), {"format": "s"}, "a time between the years 1970 and 2100"),
        (1e300, {"format": "s"}, "a time between the years 1970 and 2100"),
        (-5, {"format": "s"}, "a time between the years 1970 and 2100"),
        (1772323200, {"format": "iso"}, "a time such as"),
        ("2026-03-01", {"format": "%d.%m.%Y"}, "a time that is written as %d.%m.%Y"),
        ("01/02/2026 10:00", {}, "`time.format` in the stream definition, since day or month may come first"),
        ("31.02.2026 10:00", {}, "a time such as"),
        ("2026-03-01T00:00:00", {}, "with a zone, or a zone in the stream definition"),
        ("0001-01-01T00:00:00", {"zone": "Europe/Paris"}, "a time between the years 1970 and 2100"),
    ],
)
def test_a_time_that_can_not_be_meant_is_refused_with_a_way_on(value: object, time: dict[str, object], expected: str):
    if expected is None:
        assert read(value, **time) == "1970-01-01T00:00:03.600000+00:00"
        return
    with pytest.raises(UnusableError) as error:
        read(value, **time)
    assert expected in error.value.expected


def test_a_pattern_says_what_the_form_does_not():
    assert read("03/01/2026 01:00", format="%m/%d/%Y %H:%M", zone="Europe/Paris") == "2026-03-01T00:00:00+00:00"
    assert read(20260301, format="%Y%m%d", zone="UTC") == "2026-03-01T00:00:00+00:00"


def pass_of(hands: str, before: str | None, *, period: str = "30min", received: str | None = None) -> str:
    """By the clock of UTC, which of two passes a time of 25 October 2026 is."""
    earlier = None if before is None else round(datetime.fromisoformat(before).timestamp() * 1000)
    arrived = 0.0 if received is None else datetime.fromisoformat(received).timestamp()
    times = rule(zone="Europe/Berlin", period=period)
    t = times.milliseconds("when", f"2026-10-25T{hands}", earlier, arrived)
    return datetime.fromtimestamp(t / 1000, UTC).strftime("%H:%M")


def test_an_hour_that_comes_twice_is_told_apart_by_order():
    assert pass_of("02:00", None) == "00:00"
    assert pass_of("02:00", "2026-10-24T23:30:00Z") == "00:00"
    assert pass_of("02:00", "2026-10-25T00:30:00Z") == "01:00"
    assert pass_of("02:30", "2026-10-25T01:00:00Z") == "01:30"
    assert pass_of("02:00", "2026-10-25T00:00:00Z", period="1h") == "01:00"
    assert pass_of("02:20", "2026-10-25T00:20:00Z", period="10min") == "00:20", "a record that is sent again"
    assert pass_of("03:00", "2026-10-25T01:30:00Z") == "02:00"


def test_of_a_record_that_arrives_at_once_the_clock_says_which_pass_it_is():
    assert pass_of("02:30", None, received="2026-10-25T01:30:02Z") == "01:30"
    assert pass_of("02:30", None, received="2026-10-25T00:30:02Z") == "00:30"
    assert pass_of("02:00", "2026-10-25T00:30:00Z", received="2026-10-25T00:00:05Z") == "00:00", "sent again"


@pytest.mark.parametrize(
    ("hands", "zone", "forward"),
    [
        ("2026-03-29T02:30:00", "Europe/Berlin", "60 minutes"),
        ("2026-10-04T02:15:00", "Australia/Lord_Howe", "30 minutes"),
        ("2011-12-30T12:00:00", "Pacific/Apia", "1440 minutes"),
    ],
)
def test_a_time_that_does_not_exist_is_refused_with_a_sentence(hands: str, zone: str, forward: str):
    with pytest.raises(UnusableError) as error:
        read(hands, zone=zone)
    day = hands[:10]
    assert (
        error.value.expected == f"a time that exists in {zone}: the clocks go over it there, {forward} forward on {day}"
    )


def test_a_day_without_a_change_is_read_as_the_days_around_it():
    times = rule(zone="Europe/Berlin")
    hands = ["2026-03-28T12:00:00", "2026-03-29T12:00:00", "2026-03-30T12:00:00", "2026-03-28T12:00:00"]
    ours = [times.milliseconds("when", value) for value in hands]
    assert [datetime.fromtimestamp(t / 1000, UTC).hour for t in ours] == [11, 10, 10, 11]
