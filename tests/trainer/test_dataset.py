"""What trains is what serves: the same code, record by record."""

import numpy as np
import pytest

from driftline.streams.definition import StreamDefinition
from driftline.streams.features import History, Layout, observe
from driftline.streams.tables import Rows
from driftline_trainer import dataset

pytestmark = pytest.mark.unit


def series(rows: Rows, key: str, count: int) -> Rows:
    return rows.by_key()[key].take(slice(0, count))


def test_inputs_are_what_the_edge_computes_and_targets_what_came(temperature: StreamDefinition, rows: Rows):
    part = series(rows, "R80711", 600)
    built = dataset.build(part, temperature)
    layout = Layout.of(temperature)
    history = History.empty(1, layout)
    slot = np.array([0])
    row = 0
    for n in range(len(part)):
        served = observe(history, layout, slot, part.t[n : n + 1], part.values[n : n + 1])
        if row < len(built) and built.t[row] == part.t[n]:
            np.testing.assert_array_equal(built.inputs[row], served.net[0])
            assert built.targets[row, 0] == np.float32(part.values[n + 1, 0] - part.values[n, 0])
            row += 1
    assert row == len(built) > 550


def test_all_keys_at_once_give_what_each_gives_alone(temperature: StreamDefinition, rows: Rows):
    part = rows.take(slice(0, 4000))
    together = dataset.build(part, temperature)
    apart = [dataset.build(one, temperature) for one in part.by_key().values()]
    assert len(together) == sum(map(len, apart)) > 3000
    ours, theirs = (
        np.concatenate([np.concatenate([d.inputs, d.targets], axis=1) for d in part]) for part in ([together], apart)
    )
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_a_long_series_in_pieces_is_nearly_the_same_as_in_one(temperature, rows, monkeypatch):
    part = series(rows, "R80711", 9900)
    pieces = dataset.build(part, temperature)
    monkeypatch.setattr(dataset, "PIECE", 20_000)
    whole = dataset.build(part, temperature)
    np.testing.assert_array_equal(pieces.t, whole.t)
    np.testing.assert_array_equal(pieces.targets, whole.targets)
    np.testing.assert_allclose(pieces.inputs, whole.inputs, atol=0.2)


def test_rows_are_in_order_of_time_over_all_keys(temperature: StreamDefinition, rows: Rows):
    built = dataset.build(rows.take(slice(0, 2000)), temperature)
    assert (np.diff(built.t) >= 0).all()


def test_a_missing_truth_is_not_learned_from(temperature: StreamDefinition, rows: Rows):
    part = series(rows, "R80711", 300)
    part.values[200, 0] = np.nan
    built = dataset.build(part, temperature)
    assert part.t[199] not in built.t
    assert part.t[200] not in built.t
    assert np.isfinite(built.targets).all()


def test_nothing_gives_nothing(temperature: StreamDefinition, rows: Rows):
    assert len(dataset.build(rows.take(slice(0, 5)), temperature)) == 0
