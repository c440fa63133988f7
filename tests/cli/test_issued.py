"""What is known ahead is sent among the records as it would have been when they were measured."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.streams.rows import FutureRows, Rows
from driftline_cli.issued import IssuedFutures


def rows(records: list[tuple[str, int]], futures: list[tuple[str, int, int]]) -> Rows:
    """records: key and time. futures: key, issue and time."""
    keys, t = np.array([key for key, _ in records], np.str_), np.array([t for _, t in records], np.int64)
    known = FutureRows(
        np.array([key for key, _, _ in futures], np.str_),
        np.array([issued for _, issued, _ in futures], np.int64),
        np.array([t for _, _, t in futures], np.int64),
        np.arange(len(futures), dtype=np.float64)[:, None],
    )
    return Rows(keys, t, np.zeros((len(t), 1)), futures=known)


def sent(table: Rows, window: int) -> list[tuple[str, int] | float]:
    """Records by key and time, and futures by their values, as they are sent."""
    issued, said = IssuedFutures.of(table), list[tuple[str, int] | float]()
    for first in range(0, len(table), window):
        for futures, records in issued.turns(first, table.take(slice(first, first + window))):
            assert len(records)
            said += futures.values[:, 0].tolist()
            said += zip(records.keys.tolist(), records.t.tolist(), strict=True)
    return said


def test_an_issue_is_sent_before_the_first_record_that_comes_after_it():
    table = rows([("a", 0), ("a", 10), ("a", 20), ("a", 30)], [("a", 15, 40), ("a", 10, 40), ("a", 11, 30)])
    assert sent(table, 2) == [("a", 0), 1.0, ("a", 10), 2.0, 0.0, ("a", 20), ("a", 30)]


def test_what_was_issued_before_the_records_is_sent_when_its_series_is_known():
    table = rows([("a", 10), ("b", 10), ("a", 20), ("b", 20)], [("b", 3, 20), ("a", 5, 20)])
    assert sent(table, 9) == [("a", 10), ("b", 10), 1.0, ("a", 20), 0.0, ("b", 20)]


def test_what_no_record_can_use_is_not_sent():
    table = rows([("a", 10), ("a", 20)], [("a", 5, 9), ("a", 21, 30), ("x", 5, 20)])
    assert sent(table, 9) == [("a", 10), ("a", 20)]


def test_a_table_by_series_sends_each_series_its_own():
    table = rows([("a", 10), ("a", 20), ("b", 10), ("b", 20)], [("b", 12, 30), ("a", 12, 30)])
    assert sent(table, 3) == [("a", 10), 1.0, ("a", 20), ("b", 10), 0.0, ("b", 20)]


def test_without_futures_records_are_sent_as_they_are():
    assert sent(rows([("a", 10), ("a", 20)], []), 1) == [("a", 10), ("a", 20)]
    assert sent(rows([], [("a", 1, 2)]), 1) == []


TIMES = st.integers(0, 12)


@given(
    records=st.lists(st.tuples(st.sampled_from("ab"), TIMES), max_size=12),
    futures=st.lists(st.tuples(st.sampled_from("abc"), TIMES, TIMES), max_size=12),
    window=st.integers(1, 5),
)
def test_no_record_is_lost_and_no_future_comes_late_or_twice(
    records: list[tuple[str, int]], futures: list[tuple[str, int, int]], window: int
):
    said = sent(rows(records, futures), window)
    assert [one for one in said if isinstance(one, tuple)] == records
    numbers = [int(one) for one in said if not isinstance(one, tuple)]
    assert len(numbers) == len(set(numbers))
    for number in numbers:
        key, issued, _ = futures[number]
        place = said.index(float(number))
        before = [one[1] for one in said[:place] if isinstance(one, tuple) and one[0] == key]
        assert before
        assert all(t < issued for t in before[1:])
