"""Whose messages the bus dropped: never more than it dropped in all, and each series once."""

from hypothesis import given
from hypothesis import strategies as st

from driftline.messages import Gap
from driftline_ingest.missed import MissedMessages

HOUR_MS = 3_600_000
SERIES = ("a", "k")


def test_a_series_lacks_the_periods_in_between() -> None:
    missed = MissedMessages()
    missed.add(100, [SERIES])
    gap = missed.explain(SERIES, "windows", 2 * HOUR_MS, 6 * HOUR_MS, HOUR_MS)
    assert gap == Gap(stream="a", what="windows", since=3 * HOUR_MS, until=5 * HOUR_MS, count=3)
    assert missed.explain(SERIES, "windows", 6 * HOUR_MS, 60 * HOUR_MS, HOUR_MS) is None


def test_a_series_that_goes_on_without_a_hole_lacks_nothing() -> None:
    missed = MissedMessages()
    missed.add(100, [SERIES])
    assert missed.explain(SERIES, "windows", 2 * HOUR_MS, 3 * HOUR_MS, HOUR_MS) is None


def test_an_older_message_explains_nothing_yet() -> None:
    missed = MissedMessages()
    missed.add(100, [SERIES])
    assert missed.explain(SERIES, "windows", 2 * HOUR_MS, HOUR_MS, HOUR_MS) is None
    assert missed.explain(SERIES, "windows", 2 * HOUR_MS, 9 * HOUR_MS, HOUR_MS) is not None


@given(st.integers(1, 50), st.lists(st.integers(1, 30), max_size=20))
def test_never_more_than_the_bus_dropped(dropped: int, jumps: list[int]) -> None:
    missed = MissedMessages()
    missed.add(dropped, [("a", str(n)) for n in range(len(jumps))])
    gaps = [missed.explain(("a", str(n)), "windows", 0, jump * HOUR_MS, HOUR_MS) for n, jump in enumerate(jumps)]
    assert sum(gap.count for gap in gaps if gap) == min(dropped, sum(jump - 1 for jump in jumps))
