"""What neighbours say: the mean of the others, whoever and however many they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.streams.neighbours import MOVES, Peers, moves_within, others

LAGS = 8


def ring(values: np.ndarray, newest: np.ndarray) -> np.ndarray:
    """[slots, LAGS, 1]: values[slot] are those of the ticks up to the newest one."""
    recent = np.full((len(values), LAGS, 1), np.nan)
    for slot, (row, last) in enumerate(zip(values, newest, strict=True)):
        for age, value in enumerate(row[::-1][:LAGS]):
            recent[slot, (last - age) % LAGS, 0] = value
    return recent


def everyone(count: int) -> Peers:
    slots = np.arange(count)
    return Peers.of(slots, [0] * count, [slots])


def test_the_mean_of_the_others_their_moves_and_their_spread():
    values = np.random.default_rng(0).normal(size=(4, LAGS))
    newest = np.full(4, 100)
    around = others(ring(values, newest), newest, newest, values[:, -1], everyone(4))
    for slot in range(4):
        rest = np.delete(values, slot, axis=0)
        assert around.difference[slot] == pytest.approx(rest[:, -1].mean() - values[slot, -1])
        assert around.spread[slot] == pytest.approx(rest[:, -1].std())
        assert around.moves[slot] == pytest.approx([(rest[:, -1] - rest[:, -1 - move]).mean() for move in MOVES])


@given(st.permutations(range(5)), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_their_order_makes_no_difference(order: list[int], seed: int):
    values = np.random.default_rng(seed).normal(size=(5, LAGS))
    newest = np.full(5, 100)
    recent, slots = ring(values, newest), np.arange(5)
    straight = others(recent, newest, newest, values[:, -1], Peers.of(slots, [0] * 5, [slots]))
    shuffled = others(recent, newest, newest, values[:, -1], Peers.of(slots, [0] * 5, [np.array(order)]))
    np.testing.assert_allclose(straight.difference, shuffled.difference, atol=1e-12)
    np.testing.assert_allclose(straight.moves, shuffled.moves, atol=1e-12)


def test_groups_do_not_see_each_other():
    values = np.random.default_rng(1).normal(size=(5, LAGS))
    newest = np.full(5, 100)
    recent, slots = ring(values, newest), np.array([4, 0, 2])
    peers = Peers.of(slots, [1, 0, 1], [np.array([0, 1]), np.array([2, 3, 4])])
    around = others(recent, newest, newest[slots], values[slots, -1], peers)
    expected = [values[[2, 3], -1].mean(), values[1, -1], values[[3, 4], -1].mean()]
    np.testing.assert_allclose(around.difference, expected - values[slots, -1])


def test_who_is_behind_counts_with_the_newest_value_and_who_is_long_gone_not_at_all():
    values = np.arange(3.0 * LAGS).reshape(3, LAGS)
    newest = np.array([100, 99, 100 - LAGS])
    around = others(ring(values, newest), newest, np.full(3, 100), values[:, -1], everyone(3))
    assert around.difference[0] == values[1, -1] - values[0, -1]
    # Of a tick that others are ahead of, what they had then is looked at.
    late = others(ring(values, newest), newest, np.array([98, 98, 98]), values[:, -1], everyone(3))
    assert late.difference[0] == (values[1, -2] + values[2, -1]) / 2 - values[0, -1]


def test_a_series_that_is_alone_knows_nothing():
    values = np.ones((1, LAGS))
    around = others(ring(values, np.array([9])), np.array([9]), np.array([9]), values[:, -1], everyone(1))
    assert np.isnan(around.difference).all()
    assert np.isnan(around.moves).all()


def test_moves_are_looked_at_as_far_as_there_are_lags():
    assert moves_within(3).tolist() == [1, 2]
    assert moves_within(12).tolist() == list(MOVES)
