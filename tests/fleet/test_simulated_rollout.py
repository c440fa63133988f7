"""Bad versions end in the first stage and good ones reach all edges, also where all edges see the same weather."""

from collections import Counter

import pytest

from driftline.streams.model_sections import Rollout
from tests.fleet.simulated_rollout import Weather, roll_out

SEEDS = range(20)


@pytest.mark.parametrize("common", [0.0, 0.95])
def test_a_version_that_is_15_percent_worse_is_stopped_in_the_first_stage_each_time(common: float):
    ended = [roll_out(seed, 1.15, weather=Weather(common=common)) for seed in SEEDS]
    assert Counter((end.state, end.stage, end.tried) for end in ended) == {("stopped", 1, 1): len(SEEDS)}


@pytest.mark.parametrize(("ratio", "lasting"), [(1.0, 0.5), (0.97, 0.5), (0.97, 0.9)])
def test_an_equally_good_or_slightly_better_version_reaches_all_edges_each_time(ratio: float, lasting: float):
    ended = [roll_out(seed, ratio, edges=10, weather=Weather(lasting=lasting)) for seed in SEEDS]
    assert Counter(end.state for end in ended) == {"done": len(SEEDS)}


def test_where_errors_hardly_change_an_equally_good_version_may_wait_but_is_not_stopped():
    """See decisions/0038: a quarter of the first stages have not decided after 20,000 truths."""
    ended = [roll_out(seed, 1.0, edges=10, weather=Weather(lasting=0.9)) for seed in SEEDS]
    states = Counter(end.state for end in ended)
    assert states["stopped"] == 0
    assert states["done"] >= len(SEEDS) // 2


def test_a_much_worse_version_is_stopped_after_a_few_dozen_truths():
    ended = [roll_out(seed, 2.0, edges=10, weather=Weather(keys=1)) for seed in SEEDS]
    assert {(end.state, end.stage) for end in ended} == {("stopped", 1)}
    assert max(end.ticks for end in ended) < 200


def test_a_version_that_is_10_percent_worse_does_not_outlast_its_bets():
    ended = [roll_out(seed, 1.1, edges=10) for seed in range(5)]
    assert {end.state for end in ended} <= {"waits", "stopped"}


def test_a_stage_asks_for_its_own_evidence():
    hasty, thorough = (roll_out(0, 0.97, edges=10, rollout=Rollout(evidence=evidence)) for evidence in (1, 1900))
    assert hasty.ticks < thorough.ticks
