"""How much a sender may send, by a clock that is given."""

from hypothesis import given
from hypothesis import strategies as st

from driftline_ingest.rate import SENDERS, Rate


def test_a_burst_is_free_and_then_the_rate_counts():
    rate = Rate(10, 100)
    for _ in range(100):
        assert rate.wait("a", 0.0) == 0
        rate.count("a", 1, 0.0)
    assert rate.wait("a", 0.0) == 0
    rate.count("a", 1, 0.0)
    assert round(rate.wait("a", 0.0), 6) == 0.1
    assert rate.wait("a", 0.1 + 1e-9) == 0


def test_a_large_body_is_taken_whole_and_owed():
    rate = Rate(10, 100)
    rate.count("a", 1100, 50.0)
    assert rate.wait("a", 50.0) == 100
    assert rate.wait("a", 150.0) == 0


def test_senders_do_not_pay_for_each_other():
    rate = Rate(1, 1)
    rate.count("a", 1000, 0.0)
    assert rate.wait("b", 0.0) == 0


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 20)), max_size=60))
def test_never_more_than_the_rate_the_burst_and_one_body(sent: list[tuple[float, int]]):
    rate, now, taken = Rate(5, 10), 0.0, 0
    for pause, rows in sent:
        now += pause
        if rate.wait("a", now) == 0:
            rate.count("a", rows, now)
            taken += rows
        assert taken <= 5 * now + 10 + 20 + 1e-6


def test_memory_is_bounded_whoever_comes():
    rate = Rate(1, 1)
    for sender in range(2 * SENDERS):
        rate.count(str(sender), 5, 0.0)
    assert len(rate._paid) == SENDERS
    assert rate.wait(str(2 * SENDERS - 1), 0.0) > 0
