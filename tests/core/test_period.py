"""Records that are not as far apart as the definition says are found out, with both lengths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.arrays import Ints
from driftline.streams.definition_files import parse
from driftline.streams.period import NEWEST, LiveSteps, contradiction
from driftline.streams.rows import Rows

STREAM = parse("name: a\ntime: {column: when, period: 10min}\nkey: k\ntarget: y\n", "a")
FIVE = "found most records 5 min apart, expected the definition's period of 10 min"


def steps(minutes: np.ndarray, keys: int = 2) -> Ints:
    """As of a history whose series have records at these minutes."""
    t = np.repeat(minutes * 60_000, keys).astype(np.int64)
    return Rows(np.array([f"k{n % keys}" for n in range(len(t))]), t, np.zeros((len(t), 1))).steps()


def test_a_period_that_the_records_have_is_right_whatever_is_missing():
    minutes = np.arange(1000.0) * 10 + np.random.default_rng(0).uniform(-4, 4, 1000)
    kept = np.random.default_rng(1).random(1000) < 0.7
    assert contradiction(steps(minutes), STREAM) is None
    assert contradiction(steps(minutes[kept]), STREAM) is None


@pytest.mark.parametrize(("minutes", "length"), [(5, "5 min"), (60, "1 h"), (0.5, "30 s"), (1440, "1 d")])
def test_another_one_is_named(minutes: float, length: str):
    expected = f"found most records {length} apart, expected the definition's period of 10 min"
    assert contradiction(steps(np.arange(300) * minutes), STREAM) == expected


def test_of_a_few_records_nothing_is_said():
    assert contradiction(steps(np.arange(20) * 5.0), STREAM) is None


def judged(added: list[Ints]) -> list[str | None]:
    """The verdicts on steps as they come."""
    verdicts: list[str | None] = []
    live = LiveSteps(STREAM, verdicts.append)
    for some in added:
        live.add(some)
    return verdicts


def minutes(value: float, count: int) -> list[Ints]:
    return [np.array([round(60_000 * value)]) for _ in range(count)]


def test_live_records_are_judged_by_the_newest_ones():
    verdicts = judged([*minutes(10, 300), *minutes(5, 300), *minutes(10, 300)])
    # After 100 others half of the newest 200 are: the median lies between both lengths, which says nothing.
    assert verdicts == [*[None] * 8, *[FIVE] * 5, *[None] * 5]


def test_steps_that_are_all_different_say_nothing():
    random = np.random.default_rng(2)
    assert set(judged([np.array([round(60_000 * 10.0 ** random.uniform(0, 5))]) for _ in range(400)])) == {None}


@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=12), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_how_many_series_come_at_once_makes_no_difference(sizes: list[int], seed: int):
    """But for how often is judged. A step of 0 is that of a first record."""
    random = np.random.default_rng(seed)
    every = random.choice([0, 300_000, 600_000], sum(sizes), p=[0.2, 0.6, 0.2])
    known = every[every > 0]
    live = LiveSteps(STREAM, lambda _: None)
    for some in np.split(every, np.cumsum(sizes)[:-1]):
        live.add(some)
    newest = known[-NEWEST:]
    assert sorted(live._steps[: live._count].tolist()) == sorted(newest.tolist())
