"""What the archive knows of the times that it has: exactly, as long as there is room, and on the safe side then."""

from hypothesis import given, settings
from hypothesis import strategies as st

from driftline_ingest.known_ticks import MOST_RUNS, KnownTicks

HOUR = 3_600_000
TICKS = st.lists(st.integers(0, 400), min_size=1, max_size=300)


@given(TICKS, st.integers(0, 300))
@settings(deadline=None)
def test_all_that_was_taken_in_is_known_and_little_else(ticks: list[int], cut: int):
    known, taken = KnownTicks.beginning(HOUR, 500 * HOUR), set[int]()
    for number, tick in enumerate(ticks):
        if number == cut:
            known = KnownTicks.restored(HOUR, known.saved(), 0)
        known.add(tick * HOUR + HOUR // 3)
        taken.add(tick)
    saved = known.saved()
    assert len(saved) <= 2 + 2 * MOST_RUNS
    forgotten = saved[1]
    for tick in range(401):
        assert known.knows(tick * HOUR) == (tick in taken or tick <= forgotten)


def test_of_a_state_from_before_late_records_all_is_known_up_to_its_time():
    known = KnownTicks.restored(HOUR, (), 10 * HOUR)
    assert [known.knows(n * HOUR) for n in (0, 9, 10, 11)] == [True, True, True, False]


def test_times_that_can_not_be_are_forgotten():
    known = KnownTicks.beginning(HOUR, 0)
    for hour in (0, 1, 500_000, 500_001):
        known.add(hour * HOUR)
    known.leave(lambda t: t > 400_000 * HOUR)
    assert [known.knows(n * HOUR) for n in (1, 2, 500_000)] == [True, False, False]
