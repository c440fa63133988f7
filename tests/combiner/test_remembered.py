"""What is kept of a series' blends, and how small."""

from hypothesis import given
from hypothesis import strategies as st

from driftline.messages import BLENDS, Blend
from driftline_combiner.remembered_blends import BLOCK, RememberedBlends

ROOMY = 10**9


def payload(t: int) -> bytes:
    values = [t / 7, t / 11, t / 13]
    return BLENDS.encode(
        Blend("s", "k", t, t / 3, [1, 6, 36], values, "online", {"online": values}, {}, {"rls": values}, {}, 0.0)
    )


def remembered(count: int, points: int = ROOMY, size: int = ROOMY) -> RememberedBlends:
    blends = RememberedBlends()
    for t in range(count):
        blends.add(t, payload(t))
        blends.forget(points, size)
    return blends


@given(count=st.integers(0, 5 * BLOCK), after=st.integers(-1, 5 * BLOCK), points=st.integers(1, 3 * BLOCK))
def test_a_reader_gets_the_newest_after_its_time_as_they_came(count: int, after: int, points: int):
    newer = [t for t in range(count) if t > after][-points:]
    assert remembered(count, points).after(after, points) == [(t, payload(t)) for t in newer]


@given(count=st.integers(1, 5 * BLOCK), size=st.integers(0, 5 * BLOCK * 400))
def test_whatever_the_room_the_newest_are_there_without_a_gap(count: int, size: int):
    times = [t for t, _ in remembered(count, size=size).after(-1, ROOMY)]
    assert times == list(range(count))[-len(times) :]
    assert times


@given(
    count=st.integers(0, 5 * BLOCK), points=st.integers(1, 3 * BLOCK), at=st.integers(-1, 11 * BLOCK), step=st.just(2)
)
def test_the_newest_that_is_not_after_a_time_is_looked_up(count: int, points: int, at: int, step: int):
    blends = RememberedBlends()
    for n in range(count):
        blends.add(step * n, payload(step * n))
        blends.forget(points, ROOMY)
    times = [t for t, _ in blends.after(-1, ROOMY)]
    assert blends.first_t == (times[0] if times else None)
    before = [t for t in times if t <= at]
    assert blends.at(at) == (payload(before[-1]) if before else None)


def test_a_third_of_the_room_is_enough_for_as_many_blends():
    count = 20 * BLOCK
    room = sum(len(payload(t)) for t in range(count))
    assert len(remembered(count, size=room // 3).after(-1, ROOMY)) >= 0.9 * count
