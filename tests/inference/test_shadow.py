"""The comparison with the version before: it finds what is worse, and seldom anything else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.arrays import Floats
from driftline_inference.shadow import ALPHA, LOOKS, SHADOW_RECORDS, Shadow, SignTest


def compare(seed: int, ratio: float, *, keys: int = 3, records: int = SHADOW_RECORDS, steps: int = 2) -> Shadow:
    """A new version whose errors are `ratio` times as large as the old one's."""
    random = np.random.default_rng(seed)
    shadow = Shadow("v2", "v1", steps)
    names = [f"k{key}" for key in range(keys)]
    truth = random.normal(size=(records // keys + 4 * steps, keys)).cumsum(axis=0)
    for now in range(len(truth) - steps):
        errors = random.normal(size=(2, keys))
        new, old = truth[now + steps] + ratio * errors[0], truth[now + steps] + errors[1]
        shadow.add(names, [now] * keys, truth[now].tolist(), list(zip(new.tolist(), old.tolist(), strict=True)))
        if shadow.over:
            break
    return shadow


def test_a_much_worse_version_is_found_soon():
    shadow = compare(0, 3.0)
    assert shadow.test.certain
    assert shadow.seen < 450


def test_a_better_or_equal_version_is_left_alone():
    assert not any(compare(seed, ratio).test.certain for seed in range(40) for ratio in (0.5, 1.0))


def test_it_ends_after_its_records():
    shadow = compare(1, 0.5)
    assert (shadow.over, SHADOW_RECORDS <= shadow.seen < SHADOW_RECORDS + 10) == (True, True)


@pytest.mark.parametrize(("steps", "looks"), [(1, LOOKS), (2, LOOKS), (36, 9)])
def test_one_bet_is_about_several_looks_at_all_series_more_where_forecasts_overlap(steps: int, looks: int):
    shadow = Shadow("v2", "v1", steps)
    bets = []
    for tick in range(steps + 3 * looks):
        shadow.add(["a", "b"], [tick] * 2, [0.0] * 2, [(2.0, 1.0)] * 2)
        bets.append(shadow.test.evidence)
    changed = [tick for tick in range(1, len(bets)) if bets[tick] != bets[tick - 1]]
    assert changed == [steps + n * looks - 1 for n in (1, 2, 3)]


def lasting(random: np.random.Generator, count: int, correlation: float) -> Floats:
    """Errors, each of which has this correlation with the one before."""
    errors = random.normal(size=count)
    for tick in range(1, count):
        errors[tick] = correlation * errors[tick - 1] + np.sqrt(1 - correlation**2) * errors[tick]
    return errors


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_where_errors_last_an_equally_good_version_is_left_alone(correlation: float):
    stopped = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        common, *own = (lasting(random, 2000, correlation) for _ in range(3))
        new, old = (0.95 * common + 0.3 * one for one in own)
        shadow = Shadow("v2", "v1", 1)
        for tick in range(len(new)):
            shadow.add(["a"], [tick], [0.0], [(float(new[tick]), float(old[tick]))])
        stopped += shadow.test.certain
    assert stopped <= 1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_wealth_against_a_fair_coin_has_the_mean_of_a_fair_game(seed: int):
    """At any time the mean over all continuations is what it was: one coin more changes nothing on average."""
    coins = np.random.default_rng(seed).random(30) < 0.5

    def evidence(*more: bool) -> float:
        test = SignTest()
        for coin in [*coins, *more]:
            test.add(worse=bool(coin))
        return test.evidence

    assert np.isclose((evidence(True) + evidence(False)) / 2, evidence())


def test_false_alarms_are_as_rare_as_promised():
    random = np.random.default_rng(5)
    alarms = 0
    for _ in range(1000):
        test = SignTest()
        for coin in random.random(500) < 0.5:
            test.add(worse=bool(coin))
            if test.certain:
                alarms += 1
                break
    assert alarms <= 1000 * ALPHA * 5


def test_missing_truths_and_members_that_sit_out_are_not_compared():
    shadow = Shadow("v2", "v1", 1)
    shadow.add(["a"] * 3, [0, 1, 2], [0.0, None, 1.0], [(9.0, 0.0), (float("nan"), 0.0), (9.0, 0.0)])
    assert shadow.seen == 0
