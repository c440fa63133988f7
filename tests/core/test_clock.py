"""When a machine's clock is believed, and which times can be nobody's."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.clock import EARLIEST_S, STRAY_S, BelievedClock, astray, believed, shown
from driftline.errors import ClockUnset

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("now", [0.0, -5.0, EARLIEST_S - 1])
def test_a_clock_that_was_never_set_is_not_believed(now: float):
    with pytest.raises(ClockUnset, match=r"found .*, expected a time after 2025-01-01T00:00:00"):
        believed(now)
    assert believed(EARLIEST_S) == EARLIEST_S


async def test_readiness_follows_the_clock():
    now = 0.0
    clock = BelievedClock(lambda: now)
    with pytest.raises(ClockUnset):
        await clock.check()
    now = NOW
    await clock.check()
    assert clock.now() == NOW


def test_times_are_shown_in_utc_and_to_the_millisecond():
    assert shown(NOW + 0.25) == "2026-03-01T12:00:00.250Z"


@given(st.floats(EARLIEST_S, NOW), st.integers(0, 10**7), st.floats(-(10**9), 10**10))
def test_only_what_is_far_beyond_what_a_stream_allows_is_astray(arrived: float, ahead: int, later: float):
    t = round(1000 * (arrived + later))
    assert astray(t, arrived, ahead) == (t / 1000 > arrived + ahead + STRAY_S)


def test_an_arrival_by_a_clock_that_was_never_set_says_nothing():
    assert not astray(round(NOW * 1000), 5.0, 300)
