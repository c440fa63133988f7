"""State in arrays, a slot a series."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.worker import slots as tables
from driftline.worker.slots import LARGEST_STEP, Slots, rounds


@dataclass(frozen=True)
class Pair:
    a: np.ndarray
    b: np.ndarray


def pair(slots: int) -> Pair:
    return Pair(np.zeros(slots, dtype=np.int64), np.full((slots, 2), np.nan))


def test_growing_keeps_what_is_there_and_begins_the_rest_anew():
    table = pair(2)
    table.a[:] = [1, 2]
    tables.grow(table, pair(2))
    assert table.a.tolist() == [1, 2, 0, 0]
    assert np.isnan(table.b).all()
    assert len(table.b) == 4


def test_a_step_is_bounded_and_no_slot_is_given_twice():
    slots = Slots()
    given, capacities = [], [0]
    for n in range(3000):
        given.append(slots.add(str(n)))
        capacities += [slots.capacity] if slots.capacity != capacities[-1] else []
    assert sorted(given) == list(range(3000))
    assert capacities[:6] == [0, 8, 16, 32, 64, 128]
    assert max(b - a for a, b in pairwise(capacities)) == LARGEST_STEP


def test_a_free_slot_is_given_again():
    slots = Slots()
    first = slots.add("a")
    slots.remove("a")
    assert slots.add("b") == first
    assert "a" not in slots


@given(st.lists(st.sampled_from("abcd")))
def test_rounds_hold_each_key_once_and_keep_its_order(keys: list[str]):
    found = list(rounds(keys))
    assert sorted(place for part in found for place in part) == list(range(len(keys)))
    for part in found:
        assert len({keys[place] for place in part}) == len(part)
    for key in set(keys):
        places = [place for part in found for place in part if keys[place] == key]
        assert places == sorted(places)
