"""Drifts: pure, seeded, the same for every key at the same time, other columns in proportion."""

import numpy as np
import pytest

from driftline.streams.definition_files import parse
from driftline.streams.rows import Rows
from driftline_cli.drift_kinds import KINDS, Kind
from driftline_cli.drifts import REGIMES, apply, marks

STREAM = parse("name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {x: level, w: angle}\n", "a")
N = 600


@pytest.fixture
def rows() -> Rows:
    random = np.random.default_rng(0)
    values = random.normal(size=(2 * N, 3)) * np.array([1.0, 3.0, 50.0])
    return Rows(np.tile(["k", "m"], N), np.repeat(np.arange(N), 2) * 3_600_000, values)


def offsets(rows: Rows, kind: Kind, seed: int = 0) -> np.ndarray:
    return apply(kind, rows, STREAM, magnitude=10.0, seed=seed).values - rows.values


def test_none_changes_nothing(rows: Rows):
    assert apply("none", rows, STREAM) is rows


def test_gradual_rises_linearly_to_its_magnitude(rows: Rows):
    np.testing.assert_allclose(offsets(rows, "gradual")[:, 0], np.repeat(np.linspace(0, 10, N), 2), atol=1e-9)


def test_step_is_one_jump_halfway(rows: Rows):
    assert np.unique(np.round(offsets(rows, "step")[:, 0], 9)).tolist() == [0.0, 10.0]
    assert marks("step", rows.t) == [N // 2 * 3_600_000]


def test_recurring_is_two_regimes_in_turn(rows: Rows):
    assert np.unique(np.round(offsets(rows, "recurring")[:, 0], 9)).tolist() == [0.0, 10.0]
    assert len(marks("recurring", rows.t)) == REGIMES


def test_noise_is_a_new_offset_in_every_row_and_seeded(rows: Rows):
    found = offsets(rows, "noise", seed=1)[:, 0]
    assert 0 <= found.min() < 0.1
    assert 9.9 < found.max() <= 10.0
    assert len(np.unique(found)) > 1000
    np.testing.assert_array_equal(found, offsets(rows, "noise", seed=1)[:, 0])
    assert (found != offsets(rows, "noise", seed=2)[:, 0]).any()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_other_columns_move_in_proportion_and_angles_stay(rows: Rows, kind: Kind):
    found = offsets(rows, kind)
    proportion = rows.values[:, 1].std() / rows.values[:, 0].std()
    np.testing.assert_allclose(found[:, 1], found[:, 0] * proportion, atol=1e-9)
    np.testing.assert_allclose(found[:, 2], 0.0, atol=1e-12)


@pytest.mark.parametrize("kind", ["gradual", "step", "recurring"])
def test_keys_drift_together(rows: Rows, kind: Kind):
    found = offsets(rows, kind)[:, 0]
    np.testing.assert_allclose(found[0::2], found[1::2], atol=1e-12)


def test_the_measure_is_what_was_usual_before(rows: Rows):
    history = Rows(rows.keys, rows.t, rows.values * 3.0)
    moved = apply("step", rows, STREAM, history=history).values - rows.values
    assert moved[:, 0].max() == pytest.approx(2.0 * 3.0 * rows.values[:, 0].std())


def test_what_was_given_is_not_changed(rows: Rows):
    before = rows.values.copy()
    apply("step", rows, STREAM)
    np.testing.assert_array_equal(before, rows.values)
