"""What the cloud knows of an edge: when it was heard, whether it lives, whether it is one."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.fleet.heartbeat import Heartbeat, ModelHealth
from driftline.fleet.registration import Registration
from driftline_trainer.fleet.edge_record import (
    BOOTS,
    CLONE_S,
    HAPPENED,
    POINTS,
    EdgeRecord,
    received,
    troubles,
    unchanged,
)
from driftline_trainer.fleet.lies import RefusedHeartbeat
from driftline_trainer.fleet.states import counted, state_of
from tests.fleet.simulated import NEW, NOW, OLD, beat

YEAR = 365.25 * 86_400


def heard(*beats: tuple[Heartbeat, float]) -> EdgeRecord:
    """After heartbeats, each looked at when it is given."""
    record = EdgeRecord("a1")
    for heartbeat, now in beats:
        record = received(record, heartbeat, now)
    return record


@pytest.mark.parametrize(
    ("silent_for", "state"),
    [(0, "live"), (120, "live"), (121, "late"), (300, "late"), (301, "silent"), (YEAR, "silent"), (-5, "live")],
)
def test_an_edge_is_live_then_late_then_silent(silent_for: float, state: str):
    assert state_of(NOW, 60.0, NOW + silent_for) == state


def test_no_edges_are_counted():
    assert counted([]) == {"live": 0, "late": 0, "silent": 0}


def test_an_edge_that_was_never_heard_is_silent_since_it_joined():
    registration = Registration(edge="a1", name="pi", public_key="", joined=NOW - 50)
    record = EdgeRecord("a1", registration=registration)
    assert (record.state(NOW), record.since(NOW), record.name) == ("silent", NOW - 50, "pi")
    assert [trouble.kind for trouble in troubles(record, NOW)] == ["not_heard"]


def test_after_a_restart_of_the_trainer_the_heartbeat_says_when_it_was_written():
    record = heard((beat(at=NOW - 1000), NOW))
    assert (record.last, record.state(NOW), record.since(NOW)) == (NOW - 1000, "silent", NOW - 1000)


def test_a_heartbeat_was_written_between_two_looks():
    record = unchanged(heard((beat(), NOW)), NOW + 30)
    # Its clock lags by ten seconds, so it seems to be older than the look that did not find it.
    assert received(record, beat(number=2, at=NOW + 20), NOW + 60).last == NOW + 30
    assert received(record, beat(number=2, at=NOW + 50), NOW + 60).last == NOW + 50
    assert received(record, beat(number=2, at=NOW + 65), NOW + 60).last == NOW + 60


@pytest.mark.parametrize(
    ("offset", "shown"),
    [(3 * YEAR, "3 years ahead"), (-30 * YEAR, "30 years behind"), (-3 * 86_400, "3 days behind"), (400, "7 minutes")],
)
def test_a_clock_that_is_off_is_shown_and_not_believed(offset: float, shown: str):
    record = unchanged(heard((beat(at=NOW + offset), NOW)), NOW + 30)
    record = received(record, beat(number=2, at=NOW + 60 + offset), NOW + 60)
    assert (record.last, record.state(NOW + 60)) == (NOW + 60, "live")
    assert record.clock_offset == pytest.approx(offset)
    (trouble,) = troubles(record, NOW + 60)
    assert trouble.kind == "clock"
    assert shown in trouble.detail


def test_what_an_edge_says_of_its_clock_is_shown():
    record = heard((beat(clock_offset=-90.0, at=NOW - 50), NOW))
    assert record.clock_offset == -90.0
    assert [trouble.detail for trouble in troubles(record, NOW)] == ["its clock is 90 seconds behind"]


@pytest.mark.parametrize("number", [1, 4, 5])
def test_a_number_that_goes_back_within_a_boot_is_refused(number: int):
    record = heard((beat(number=5), NOW))
    with pytest.raises(RefusedHeartbeat, match="expected one after 5") as refusal:
        received(record, beat(number=number), NOW + 60)
    assert refusal.value.reason == "order"
    assert received(record, beat(boot="b2"), NOW + 60).heartbeat.boot == "b2"


def turns(boots: str) -> EdgeRecord:
    """After a heartbeat of each of these boots, one a minute."""
    return heard(*((beat(boot=b, number=n + 1, at=NOW + 60 * n), NOW + 60 * n) for n, b in enumerate(boots)))


@pytest.mark.parametrize("boots", ["ababa", "abcabcab", "aabbaabbaa"])
def test_boots_that_take_turns_are_a_cloned_card(boots: str):
    record, now = turns(boots), NOW + 60 * len(boots)
    assert record.is_cloned(now)
    assert [trouble.kind for trouble in troubles(record, now)] == ["cloned"]
    assert record.events[-1].kind == "return"
    # The other one was switched off.
    assert not record.is_cloned(now + CLONE_S)


@pytest.mark.parametrize(
    "boots", ["aaabbb", "abcdefgh", "abab", "aaba"], ids=["a restart", "restarts", "a late heartbeat", "replicas"]
)
def test_other_changes_of_boots_are_none(boots: str):
    assert not turns(boots).is_cloned(NOW + 60 * len(boots))


def test_a_clone_that_sends_what_the_other_boot_has_said_is_refused():
    record = heard((beat(boot="a", number=3), NOW), (beat(boot="b"), NOW + 60))
    with pytest.raises(RefusedHeartbeat, match="expected one after 3"):
        received(record, beat(boot="a", number=2), NOW + 120)


def test_rivals_that_an_edge_has_seen_are_shown():
    record = heard((beat(rivals=["b9"]), NOW))
    assert [(trouble.kind, trouble.detail[0]) for trouble in troubles(record, NOW)] == [("cloned", "2")]


def test_a_swap_a_rollback_and_a_return_are_remembered():
    first = beat(models={"s.batch": ModelHealth(version=NEW)})
    back = {"s.batch": ModelHealth(version=OLD, rolled_back={NEW: "errors worse by 9 %"})}
    record = heard((first, NOW), (beat(number=2, at=NOW + 900, models=back, software="0.3.0"), NOW + 900))
    assert [event.kind for event in record.events] == ["back", "software", "swap", "rollback"]
    assert [trouble.kind for trouble in troubles(record, NOW + 900)] == ["rolled_back"]


def test_little_is_remembered():
    record = EdgeRecord("a1")
    for n in range(200):
        record = received(record, beat(boot=f"b{n}", at=NOW + 60 * n), NOW + 60 * n)
    assert (len(record.boots), len(record.history), len(record.events)) == (BOOTS, POINTS, HAPPENED)


@given(st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 1e11)), min_size=1, max_size=20))
def test_when_an_edge_was_heard_never_lies_ahead_and_never_goes_back(looks: list[tuple[float, float]]):
    record, now, lasts = EdgeRecord("a1"), NOW, []
    for number, (passed, at) in enumerate(looks, start=1):
        now += passed
        record = received(record, replace_at(number, at), now)
        assert record.last <= now
        lasts.append(record.last)
    assert all(earlier <= later for earlier, later in pairwise(lasts))


def replace_at(number: int, at: float) -> Heartbeat:
    return beat(number=number, at=at)


def test_a_record_is_a_value():
    record = heard((beat(), NOW))
    assert replace(record) == record
