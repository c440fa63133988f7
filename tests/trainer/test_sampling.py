"""What is learned from when a history is too much: all series, all times, the same whatever order it is read in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline_trainer.days.sampling import Sample, SamplePart, Sampling, warm_up
from driftline_trainer.days.uniting import unite

HOUR_MS = 3_600_000
SPAN = 48


def stream(group: str = "") -> StreamDefinition:
    return parse(f"name: a\ntime: {{column: when, period: 1h}}\nkey: id\ntarget: y\nhorizon: [1, 3]\n{group}", "a.yaml")


def day(keys: int, number: int, groups: int = 0) -> SamplePart:
    """24 records of each key."""
    names = np.repeat([f"k{n}" for n in range(keys)], 24)
    sites = np.repeat([f"s{n % groups}" for n in range(keys)], 24) if groups else np.empty(0, np.str_)
    t = np.tile((24 * number + np.arange(24)) * HOUR_MS, keys)
    return SamplePart("", Rows(names, t, np.ones((len(t), 1)), sites), np.zeros(len(t), np.int64))


def sampled(days: list[SamplePart], room: int, sampling: Sampling) -> Sample:
    sample = Sample(room, sampling)
    for part in days:
        sample.add(part, len(part.rows))
        assert sample.count <= room
    return sample


def times(sample: Sample) -> set[tuple[str, int]]:
    return {pair for part in sample.parts for pair in zip(part.rows.keys.tolist(), part.rows.t.tolist(), strict=True)}


@settings(max_examples=20)
@given(st.permutations(range(40)), st.integers(500, 50_000))
def test_a_sample_is_the_same_whatever_order_it_is_read_in(order: list[int], room: int):
    days = [day(30, number) for number in range(40)]
    sampling = Sampling(SPAN * HOUR_MS)
    straight, mixed = sampled(days, room, sampling), sampled([days[n] for n in order], room, sampling)
    assert times(straight) == times(mixed)
    assert straight.sampled_from == mixed.sampled_from == (30 * 40 * 24 if room < 30 * 40 * 24 else None)


def test_a_sample_has_all_series_and_all_times_alike():
    keys, days = 64, 128
    sample = sampled([day(keys, number) for number in range(days)], keys * days * 24 // 8, Sampling(SPAN * HOUR_MS))
    assert sample.sampling.level in {3, 4}
    rows = np.array(sorted(times(sample)))
    _, of_each_key = np.unique(rows[:, 0], return_counts=True)
    _, of_each_span = np.unique(rows[:, 1].astype(np.int64) // (SPAN * HOUR_MS), return_counts=True)
    share = 2**sample.sampling.level
    assert len(of_each_key) == keys
    assert set(of_each_key) == {days * 24 // share}
    assert len(of_each_span) == days * 24 // SPAN
    assert of_each_span.max() <= 3 * keys * SPAN / share


def test_what_is_taken_of_a_series_is_whole_spans():
    sample = sampled([day(20, number) for number in range(60)], 5000, Sampling(SPAN * HOUR_MS))
    spans = {(key, t // (SPAN * HOUR_MS)) for key, t in times(sample)}
    assert len(times(sample)) == len(spans) * SPAN


def test_neighbours_are_taken_together():
    together = Sampling.of(stream("group: site\n"))
    assert together.grouped == "site"
    sample = sampled([day(12, number, groups=3) for number in range(400)], 20_000, together)
    by_site: dict[str, set[int]] = {}
    for key, t in times(sample):
        by_site.setdefault(key, set()).add(t)
    assert sample.sampling.level
    assert all(by_site[f"k{n}"] == by_site[f"k{n % 3}"] for n in range(12) if f"k{n}" in by_site)


def test_a_span_fills_the_memories_of_a_network_four_times():
    assert Sampling.of(stream()).span == 4 * warm_up(stream()) * HOUR_MS


def test_what_may_have_nothing_of_a_sample_has_nothing():
    sampling = Sampling(SPAN * HOUR_MS, level=4)
    for part in (day(3, number) for number in range(100)):
        t = part.rows.t
        if not sampling.takes_any(np.unique(part.rows.keys), int(t.min()), int(t.max())):
            assert not sampling.takes(part.rows).any()


@given(st.data())
def test_rows_are_united_in_any_order_and_in_any_parts(data: st.DataObject):
    count = data.draw(st.integers(1, 40))
    codes, t = (np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))) for _ in range(2))
    # Of a series and time no two have the same stamp: a window has each time once.
    stamps = np.array(data.draw(st.permutations(range(count))))
    known = np.array(data.draw(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=count, max_size=count)))
    # An edge archives each value once: what is known of a time and column is always the same.
    values = np.where(known, np.stack([10.0 * codes + t, 100.0 * codes + t], axis=1), np.nan)
    cut = data.draw(st.integers(0, count))
    order = np.array(data.draw(st.permutations(range(count))))
    whole = unite(codes, t, stamps, values)
    first, rest = order[:cut], order[cut:]
    part = unite(codes[first], t[first], stamps[first], values[first])
    places = np.concatenate([first[part.places], rest])
    again = unite(codes[places], t[places], stamps[places], np.concatenate([part.values, values[rest]]))
    np.testing.assert_array_equal(codes[places][again.places], codes[whole.places])
    np.testing.assert_array_equal(t[places][again.places], t[whole.places])
    np.testing.assert_array_equal(again.values, whole.values)


@pytest.mark.parametrize("values", [[[1.0, np.nan], [np.nan, 2.0]], [[1.0, 3.0], [np.nan, 2.0]]])
def test_a_truth_that_comes_late_takes_no_other_column_away(values: list[list[float]]):
    united = unite(np.zeros(2, np.int64), np.zeros(2, np.int64), np.array([5, 9]), np.array(values))
    np.testing.assert_array_equal(united.values, [[1.0, 2.0]])
    assert united.places.tolist() == [1]
