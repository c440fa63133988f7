"""The acts are drawn up front, the same for the same seed, and are over in time."""

from collections import Counter
from itertools import pairwise

import pytest

from tests.chaos.fleet import DISTURBED
from tests.chaos.plan import SETTLE_S, draw
from tests.chaos.settings import read


def test_the_same_seed_draws_the_same_acts_and_another_draws_others():
    assert draw("1", 60, DISTURBED) == draw("1", 60, DISTURBED)
    assert draw("1", 60, DISTURBED) != draw("2", 60, DISTURBED)


@pytest.mark.parametrize("seed", range(20))
def test_every_target_has_its_turns_none_twice_at_once_and_all_are_over_at_the_end(seed: int):
    acts = draw(str(seed), 300, DISTURBED)
    assert all(0 <= act.at <= act.end <= 300 for act in acts)
    assert {(act.target, act.kind) for act in acts} >= {
        (name, kind) for name in DISTURBED for kind in ("kill", "pause")
    }
    for name in DISTURBED:
        mine = [act for act in acts if act.target == name and act.kind != "train"]
        assert all(after.at >= before.end + SETTLE_S for before, after in pairwise(mine))


def test_on_a_slow_machine_the_same_acts_come_more_slowly():
    quick, slow = draw("1", 300, DISTURBED), draw("1", 300, DISTURBED, pace=3.0)
    assert 2 * len(slow) < len(quick)
    first = [[(act.target, act.kind, act.seconds) for act in acts if act.kind != "train"][:5] for acts in (quick, slow)]
    assert sorted(first[0]) == sorted(first[1])


@pytest.mark.parametrize("seed", range(20))
def test_half_a_minute_is_enough_to_disturb_nearly_everything(seed: int):
    assert len(Counter(act.target for act in draw(str(seed), 30, DISTURBED))) >= len(DISTURBED) - 2


def test_settings_come_from_the_environment_and_a_seed_is_drawn_where_none_is_given():
    told = read({"CHAOS_S": "30", "CHAOS_SEED": "7", "CHAOS_DELIVERY": "exactly_once"})
    assert told.phases == [("exactly_once", 30.0)]
    assert told.seed == 7
    assert read({}).phases == [("at_least_once", 150.0), ("exactly_once", 150.0)]
    assert len({read({}).seed for _ in range(5)}) > 1
    with pytest.raises(ValueError, match=r"CHAOS_DELIVERY: found .*sometimes.*, expected one or both"):
        read({"CHAOS_DELIVERY": "sometimes"})
