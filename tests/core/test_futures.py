"""What is known ahead: the newest issue by a time counts, whether one by one or looked up in a table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import InvalidDefinition
from driftline.streams.definition_files import parse
from driftline.streams.futures import Foreseen, Issues

pytestmark = pytest.mark.unit

LEAST = "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\n"


def ring() -> Foreseen:
    return Foreseen.empty(2, 5, 1)


def known(foreseen: Foreseen, tick: int, t: int) -> float:
    return float(foreseen.at(np.array([1]), np.array([[tick]]), np.array([t]))[0, 0, 0])


def test_the_newest_issue_counts_and_an_older_one_that_comes_later_does_not():
    foreseen = ring()
    foreseen.add(1, 7, 20, np.array([2.0]))
    foreseen.add(1, 7, 10, np.array([1.0]))
    assert known(foreseen, 7, 30) == 2.0


def test_of_two_of_one_issue_the_later_counts():
    foreseen = ring()
    foreseen.add(1, 7, 20, np.array([2.0]))
    foreseen.add(1, 7, 20, np.array([3.0]))
    assert known(foreseen, 7, 30) == 3.0


def test_an_issue_that_is_newer_than_the_record_does_not_count_and_the_one_before_it_does():
    foreseen = ring()
    foreseen.add(1, 7, 10, np.array([1.0]))
    foreseen.add(1, 7, 20, np.array([2.0]))
    assert known(foreseen, 7, 19) == 1.0
    assert known(foreseen, 7, 20) == 2.0
    assert np.isnan(known(foreseen, 7, 9))


def test_a_missing_value_leaves_what_was_issued_before():
    foreseen = Foreseen.empty(1, 5, 2)
    foreseen.add(0, 3, 10, np.array([1.0, 5.0]))
    foreseen.add(0, 3, 20, np.array([np.nan, 6.0]))
    at = foreseen.at(np.array([0]), np.array([[3]]), np.array([30]))
    assert at[0, 0].tolist() == [1.0, 6.0]


def test_a_place_in_the_ring_belongs_to_one_tick():
    foreseen = ring()
    foreseen.add(1, 2, 10, np.array([1.0]))
    assert np.isnan(known(foreseen, 7, 30))
    foreseen.add(1, 7, 20, np.array([2.0]))
    assert np.isnan(known(foreseen, 2, 30))
    assert known(foreseen, 7, 30) == 2.0


ISSUES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 9), st.one_of(st.just(np.nan), st.integers(-5, 5).map(float))),
    max_size=30,
)


@given(ISSUES)
def test_a_table_says_what_the_ring_says_at_every_time(issues):
    in_order = sorted(issues, key=lambda issue: issue[1])
    table = Issues.of(
        np.array([tick for tick, _, _ in issues], dtype=np.int64),
        np.array([issued for _, issued, _ in issues], dtype=np.int64),
        np.array([[value] for _, _, value in issues]).reshape(-1, 1),
    )
    foreseen = Foreseen.empty(1, 7, 1)
    ticks = np.arange(8)[None]
    for t in range(10):
        for tick, issued, value in in_order:
            if issued == t:
                foreseen.add(0, tick, issued, np.array([value]))
        at = foreseen.at(np.array([0]), ticks[:, :7], np.array([t]))
        np.testing.assert_array_equal(table.at(ticks[:, :7], np.array([t])), at)


def test_futures_change_the_fingerprint_only_where_there_are_any():
    plain = parse(LEAST, "a.yaml").fingerprint
    assert parse(f"{LEAST}futures: {{}}\n", "a.yaml").fingerprint == plain
    level = parse(f"{LEAST}futures: {{f: level}}\n", "a.yaml").fingerprint
    angle = parse(f"{LEAST}futures: {{f: angle}}\n", "a.yaml").fingerprint
    assert len({plain, level, angle}) == 3


def test_a_plan_is_kept_a_day_beyond_the_longest_horizon_within_bounds():
    assert parse(LEAST, "a.yaml").kept_ahead == 0
    assert parse(f"{LEAST}horizon: [1, 6]\nfutures: {{f: level}}\n", "a.yaml").kept_ahead == 6 + 24 + 1
    fast = LEAST.replace("1h", "1s")
    assert parse(f"{fast}horizon: [1000]\nfutures: {{f: level}}\n", "a.yaml").kept_ahead == 2000


@pytest.mark.parametrize(
    ("futures", "problem"),
    [
        ("{y: level}", "found 'y' as more than one of"),
        ("{id: level}", "found 'id' as more than one of"),
        ("{issued: level}", "found 'issued' as a column, expected another name"),
        ("{f: number}", "expected: Input should be 'level' or 'angle'"),
    ],
)
def test_a_future_with_a_name_or_kind_that_can_not_be_is_refused(futures: str, problem: str):
    with pytest.raises(InvalidDefinition, match=problem):
        parse(f"{LEAST}futures: {futures}\n", "a.yaml")
