"""Saved states of named parts: with the same axes bit by bit, with others place by place."""

from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.arrays import Derived, Floats, Ints, Over, Symmetric
from driftline.worker.parts import Axes, Body, Header, Parts, Ring, SavedState, UnreadableState, checked, decoded

TICK = 1_000_003
NAMES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=5).map(tuple)
LENGTHS = st.integers(0, 7)
NOTHING_WAITS = np.zeros((0, 0), dtype=np.bool_)


@dataclass(frozen=True)
class Kinds:
    """An array of every kind."""

    tick: Annotated[Ints, Over()]
    named: Annotated[Floats, Over("names", 2)]
    past: Annotated[Floats, Over("past", "names")]
    ahead: Annotated[Floats, Over("ahead")]
    halved: Annotated[Floats, Over("names", Symmetric("terms", halved=True))]
    whole: Annotated[Floats, Over(Symmetric("terms"))]
    sums: Annotated[Floats, Derived]


class OneTable(NamedTuple):
    """Of one table."""

    kinds: Kinds


def axes(names: tuple[str, ...], terms: tuple[str, ...], past: int, ahead: int) -> Axes:
    return {"names": names, "terms": terms, "past": Ring(past), "ahead": Ring(ahead, ahead=True)}


AXES = st.builds(axes, NAMES, NAMES, LENGTHS, LENGTHS)


def blank(own: Axes, slots: int = 1) -> OneTable:
    names, terms, past, ahead = (len(own[name]) for name in ("names", "terms", "past", "ahead"))
    half = terms * (terms + 1) // 2
    shapes = [(names, 2), (past, names), (ahead,), (names, half), (terms, terms), (1,)]
    return OneTable(Kinds(np.full(slots, TICK), *(np.full((slots, *shape), -1.0) for shape in shapes)))


def filled(own: Axes, slots: int = 1) -> OneTable:
    """Every value says what is at its place."""
    tables = blank(own, slots)
    for slot in range(slots):
        for name in ("named", "past", "ahead", "halved", "whole"):
            array = getattr(tables.kinds, name)[slot]
            for place, meaning in meanings(name, own).items():
                array[place] = value_of(meaning)
    return tables


def value_of(meaning: tuple[Any, ...]) -> float:
    return float(hash(meaning) % 10**6)


def ticks(ring: Ring) -> list[int]:
    """By place."""
    held = range(TICK, TICK + len(ring)) if ring.ahead else range(TICK - len(ring) + 1, TICK + 1)
    return sorted(held, key=lambda tick: tick % len(ring))


def meanings(name: str, own: Axes) -> dict[tuple[int, ...], tuple[Any, ...]]:
    """What every place of an array is of."""
    names, terms, past, ahead = (own[axis] for axis in ("names", "terms", "past", "ahead"))
    assert isinstance(names, tuple)
    assert isinstance(terms, tuple)
    assert isinstance(past, Ring)
    assert isinstance(ahead, Ring)
    pairs = [tuple(sorted((terms[i], terms[j]))) for i in range(len(terms)) for j in range(i, len(terms))]
    by_axis: dict[str, list[list[Any]]] = {
        "named": [list(names), [0, 1]],
        "past": [ticks(past), list(names)],
        "ahead": [ticks(ahead)],
        "halved": [list(names), pairs],
        "whole": [list(terms), list(terms)],
    }
    numbered = [list(enumerate(labels)) for labels in by_axis[name]]
    chosen = [tuple(zip(*combination, strict=True)) for combination in product(*numbered)]
    known = {places: (name, *labels) for places, labels in chosen}
    if name == "whole":
        return {places: (name, *sorted(labels[1:])) for places, labels in known.items()}
    return known


def state(parts: Parts, slot: int = 0) -> SavedState:
    return SavedState(1, "d", 0, None, parts.dump(slot, [1, "more"], NOTHING_WAITS))


@given(AXES)
def test_with_the_same_axes_it_is_loaded_bit_by_bit(own: Axes):
    saved, other = filled(own, 2), blank(own, 3)
    body = checked(state(Parts(saved, own, "kinds.tick"), 1), 1, "d")
    assert body.said(list) == [1, "more"]
    assert Parts(other, own, "kinds.tick").load(body, 2)
    for name in ("tick", "named", "past", "ahead", "halved", "whole"):
        assert getattr(other.kinds, name)[2].tobytes() == getattr(saved.kinds, name)[1].tobytes()
    assert (other.kinds.sums == -1).all()


@given(AXES, AXES)
def test_with_other_axes_what_means_the_same_is_kept_and_the_rest_is_new(before: Axes, after: Axes):
    body = checked(state(Parts(filled(before), before, "kinds.tick")), 1, "d")
    target = blank(after)
    parts = Parts(target, after, "kinds.tick")
    if before == after:
        assert parts.load(body, 0)
        return
    assert not parts.load(body, 0)
    assert parts.move(body, target) == before
    for name in ("named", "past", "ahead", "halved", "whole"):
        known = set(meanings(name, before).values())
        for place, meaning in meanings(name, after).items():
            expected = value_of(meaning) if meaning in known else -1.0
            assert getattr(target.kinds, name)[0][place] == expected, (name, meaning)


OWN = axes(("a", "b"), ("a",), 3, 2)


def spoilt(change: Any) -> Body:
    body = checked(state(Parts(filled(OWN), OWN, "kinds.tick")), 1, "d")
    header = msgspec.msgpack.decode(body.header, type=Header)
    return Body(msgspec.msgpack.encode(change(header)), body.rows, body.more)


def with_part(header: Header) -> Header:
    return Header.of([*header.names, "kinds.later"], header.axes)


def with_horizon(header: Header) -> Header:
    return msgspec.structs.replace(header, axes={**header.axes, "names": ("a", "b", "c")})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_part, "found the part 'kinds.later'"),
        (with_horizon, "found rows of"),
        (lambda _header: 7, "Expected `array`"),
    ],
)
def test_what_this_release_does_not_know_can_not_be_read(change: Any, reason: str):
    parts = Parts(blank(OWN), OWN, "kinds.tick")
    with pytest.raises(UnreadableState, match=reason):
        parts.move(spoilt(change), blank(OWN))


def test_a_part_that_there_was_not_begins_as_new():
    without = spoilt(lambda header: Header.of(header.names[:-1], header.axes))
    # The last part is of one number.
    shorter, target = Body(without.header, without.rows[:-8], without.more), blank(OWN)
    parts = Parts(target, OWN, "kinds.tick")
    parts.move(shorter, target)
    assert (target.kinds.named == filled(OWN).kinds.named).all()
    assert (target.kinds.whole == -1).all()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "found a state of version 2, expected 1"),
        ({"definition": "e"}, "found a state of e, expected d"),
        ({"body": b"no"}, "Error -"),
    ],
)
def test_a_state_of_another_version_or_definition_is_refused(change: dict[str, Any], reason: str):
    saved = msgspec.structs.replace(state(Parts(filled(OWN), OWN, "kinds.tick")), **change)
    assert decoded(msgspec.msgpack.encode(saved)) == saved
    with pytest.raises(UnreadableState, match=reason):
        checked(saved, 1, "d")


def test_rows_that_are_cut_are_refused():
    tables = filled(OWN)
    parts = Parts(tables, OWN, "kinds.tick")
    body = checked(state(parts), 1, "d")
    with pytest.raises(UnreadableState, match="found rows of"):
        parts.load(msgspec.structs.replace(body, rows=body.rows[:-1]), 0)
