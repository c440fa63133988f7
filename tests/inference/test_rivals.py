"""A rival is alive and is no replica: nothing else that lies where our heartbeat was makes one."""

from hypothesis import given
from hypothesis import strategies as st

from driftline_inference.heartbeats.rivals import BOOTS_REMEMBERED, GONE_AFTER, Rivals

OWN = "own"


def test_who_is_met_with_two_numbers_is_a_rival_and_is_new_once() -> None:
    rivals = Rivals(OWN)
    assert [rivals.meet("other", number, own) for own, number in enumerate((7, 8, 9), 1)] == [False, True, False]
    assert rivals.now(3) == ["other"]


@given(st.lists(st.sampled_from(["former", "backup"])))
def test_one_heartbeat_makes_no_rival_however_often_it_is_met(boots: list[str]) -> None:
    rivals = Rivals(OWN)
    for own, boot in enumerate(boots, 1):
        assert not rivals.meet(boot, 7, own)
    assert rivals.now(len(boots)) == []


def test_a_replica_that_is_heard_on_the_bus_is_none() -> None:
    rivals = Rivals(OWN)
    rivals.hear("replica")
    for number in range(1, 5):
        assert not rivals.meet("replica", number, number)
    assert rivals.now(5) == []


def test_who_turns_out_to_be_a_replica_is_none_any_more() -> None:
    rivals = Rivals(OWN)
    for number in range(1, 3):
        rivals.meet("replica", number, number)
    rivals.hear("replica")
    assert rivals.now(3) == []


def test_who_has_gone_is_none_any_more() -> None:
    rivals = Rivals(OWN)
    for number in (1, 2):
        rivals.meet("other", number, number)
    assert rivals.now(2 + GONE_AFTER - 1) == ["other"]
    assert rivals.now(2 + GONE_AFTER) == []


def test_boots_without_end_take_no_memory_without_end() -> None:
    rivals = Rivals(OWN)
    for boot in range(3 * BOOTS_REMEMBERED):
        rivals.meet(str(boot), 1, 1)
        rivals.meet(str(boot), 2, 1)
    assert len(rivals.now(1)) == BOOTS_REMEMBERED
