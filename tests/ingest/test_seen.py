"""What ingest tells a client about what it sent before."""

from collections.abc import Sequence
from itertools import accumulate

from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.messages import Record
from driftline.streams.definition_files import parse
from driftline_ingest.seen import Seen

STREAM = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\npatience: 2\n", "a.yaml")


def record(t: int, y: float | None = 1.0) -> Record:
    return Record("a", "k", t, {"y": y}, 0.0)


def take(seen: Seen, *records: Record) -> tuple[int, int, int]:
    sifted = seen.sift(records)
    seen.remember(sifted.fresh)
    return len(sifted.fresh), sifted.repeated, sifted.out_of_order


def test_a_target_that_was_missing_may_be_brought_once():
    seen = Seen({"a": STREAM})
    assert take(seen, record(1, None), record(2), record(1), record(1)) == (3, 1, 0)
    assert take(seen, record(1), record(2), record(2, None)) == (0, 3, 0)


def test_only_the_newest_that_lack_it_are_waited_for():
    seen = Seen({"a": STREAM})
    assert take(seen, *(record(t, None) for t in (1, 2, 3))) == (3, 0, 0)
    assert take(seen, record(1), record(2), record(3), record(3, None)) == (2, 2, 0)


def test_what_was_not_acknowledged_may_be_sent_again():
    seen = Seen({"a": STREAM})
    seen.sift([record(1)])
    assert take(seen, record(1)) == (1, 0, 0)


HOUR = 3_600_000
STEPS = st.lists(st.sampled_from([HOUR, HOUR, HOUR, 1, 2 * HOUR, HOUR + 7]), min_size=1, max_size=60)


def told(seen: Seen, times: Sequence[int], key: str = "k") -> tuple[int, int, int, int]:
    sifted = seen.sift([Record("a", key, t, {"y": 1.0}, 0.0) for t in times])
    seen.remember(sifted.fresh)
    return len(sifted.fresh), sifted.repeated, sifted.out_of_order, sifted.forgotten


@given(STEPS, st.data())
@settings(deadline=None)
def test_whatever_was_sent_before_is_repeated_and_nothing_else_is(steps: list[int], data: st.DataObject):
    seen, times = Seen({"a": STREAM}), list(accumulate(steps))
    cut = data.draw(st.integers(0, len(times)))
    for part in (times[:cut], times[cut:]):
        assert told(seen, part) == (len(part), 0, 0, 0)
    for t in range(times[0], times[-1] + 1, HOUR // 4):
        assert told(seen, [t]) == ((0, 1, 0, 0) if t in times else (1, 0, 0, 0))
        assert told(seen, [t]) == (0, 1, 0, 0), "a late one is remembered, too"
    assert told(seen, times) == (0, len(times), 0, 0)
    assert told(seen, [times[0] - 1]) == (1, 0, 0, 0), "it is late"
    assert told(seen, [times[-1] - STREAM.longest_silence - 1]) == (0, 0, 1, 0), "it is too old"


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 3)), max_size=200), st.integers(8, 40))
@settings(deadline=None)
def test_over_all_series_only_so_much_is_remembered_and_what_is_not_is_called_so(
    sent: list[tuple[str, int]], room: int
):
    seen, clock = Seen({"a": STREAM}, largest=5, largest_runs=room), 0
    acknowledged: dict[str, list[int]] = {}
    for key, steps in sent:
        clock += 1 + steps * HOUR
        assert told(seen, [clock], key)[0] == 1
        acknowledged.setdefault(key, []).append(clock)
        assert seen.runs <= room
        told_again = seen.sift([Record("a", key, t, {"y": 1.0}, 0.0) for t in acknowledged[key]])
        # Late ones are from before their series was forgotten.
        known = told_again.repeated + told_again.forgotten
        assert known + told_again.late == len(acknowledged[key])
        assert len(told_again.fresh) == told_again.late


def test_a_body_that_holds_a_record_twice_has_it_repeated_and_one_between_is_late():
    seen = Seen({"a": STREAM})
    assert told(seen, [1, 3, 1, 2, 3, 2]) == (3, 3, 0, 0)
    assert told(seen, [1, 2, 3]) == (0, 3, 0, 0)


def test_a_late_record_without_its_target_may_get_it_later():
    seen = Seen({"a": STREAM})
    assert take(seen, record(1), record(3), record(2, None)) == (3, 0, 0)
    assert take(seen, record(2), record(2)) == (1, 1, 0)


@given(st.permutations(range(144)), st.integers(0, 144))
@settings(deadline=None, max_examples=30)
def test_the_memory_of_a_logger_is_new_in_any_order_and_then_repeated(order: list[int], cut: int):
    seen, times = Seen({"a": STREAM}), [n * HOUR for n in order]
    assert told(seen, [200 * HOUR])[0] == 1
    assert told(seen, times[:cut])[0] + told(seen, times[cut:])[0] == 144
    assert seen.runs == 2
    assert told(seen, times) == (0, 144, 0, 0)


def test_a_regular_series_is_remembered_in_full():
    seen, times = Seen({"a": STREAM}), [n * HOUR for n in range(10_000)]
    assert told(seen, times) == (10_000, 0, 0, 0)
    assert told(seen, times) == (0, 10_000, 0, 0)
    assert seen.runs == 1


def test_what_is_forgotten_is_not_called_out_of_order():
    seen = Seen({"a": STREAM}, largest_runs=8)
    told(seen, [n * (HOUR + 1) for n in range(20)])
    sifted = seen.sift([record(n * (HOUR + 1)) for n in range(20)])
    assert (sifted.repeated, sifted.out_of_order, sifted.forgotten) == (8, 12, 12)
    assert sifted.detail == (
        "nothing new: 8 repeated, 0 out of order, 12 out of order or repeated after too long to know; "
        "the newest record of 'k' is of 1970-01-01T19:00:00.019Z"
    )
