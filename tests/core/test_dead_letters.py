"""The gauge of dead letters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import TooManyDeadLetters
from driftline.worker.dead_letters import REMEMBERED, DeadLetterGauge


def passes(notes: list[bool], share: float, minimum: int) -> bool:
    gauge = DeadLetterGauge(share, minimum)
    try:
        for dead in notes:
            gauge.note(dead=dead)
    except TooManyDeadLetters:
        return False
    return True


@given(st.lists(st.booleans(), max_size=300), st.floats(0.01, 1.0), st.integers(0, 30))
def test_it_stops_exactly_when_the_share_is_exceeded(notes: list[bool], share: float, minimum: int):
    exceeded = any(
        notes[n] and sum(notes[: n + 1]) > minimum and sum(notes[: n + 1]) > share * (n + 1) for n in range(len(notes))
    )
    assert passes(notes, share, minimum) is not exceeded


def test_what_is_long_ago_is_forgotten():
    gauge = DeadLetterGauge(0.1, 0)
    for _ in range(REMEMBERED):
        gauge.note(dead=False)
    for _ in range(3):
        for _ in range(90):
            gauge.note(dead=True)
        for _ in range(REMEMBERED):
            gauge.note(dead=False)


def test_the_error_says_how_many_of_how_many():
    gauge = DeadLetterGauge(0.5, 1)
    gauge.note(dead=True)
    with pytest.raises(TooManyDeadLetters, match="found 2 unusable messages among the last 2, expected a share of at"):
        gauge.note(dead=True)
