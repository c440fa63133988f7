"""The comparison with the version before: it finds what is worse, and seldom anything else."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline_inference.shadow import ALPHA, SHADOW_RECORDS, Shadow, SignTest


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
    assert shadow.seen < 150


def test_a_better_or_equal_version_is_left_alone():
    assert not any(compare(seed, ratio).test.certain for seed in range(40) for ratio in (0.5, 1.0))


def test_it_ends_after_its_records():
    shadow = compare(1, 0.5)
    assert (shadow.over, SHADOW_RECORDS <= shadow.seen < SHADOW_RECORDS + 10) == (True, True)


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
