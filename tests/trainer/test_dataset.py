"""What trains is what serves: the same code, record by record."""

import gc
import tracemalloc

import numpy as np
import pytest

from driftline.messages import Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.streams.features import Inputs, observe
from driftline.streams.history import History
from driftline.streams.layout import Layout
from driftline.streams.rows import Rows
from driftline_inference.step import ForecastStep
from driftline_trainer.datasets import building, pieces
from tests.watching import WatchingModel

pytestmark = pytest.mark.unit


def series(rows: Rows, key: str, count: int) -> Rows:
    return rows.by_key()[key].take(slice(0, count))


def test_inputs_are_what_the_edge_computes_and_targets_what_came(temperature: StreamDefinition, rows: Rows):
    part = series(rows, "R80711", 600)
    built = building.build(part, temperature)
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
    together = building.build(part, temperature)
    apart = [building.build(one, temperature) for one in part.by_key().values()]
    assert len(together) == sum(map(len, apart)) > 3000
    ours, theirs = (
        np.concatenate([np.concatenate([d.inputs, d.targets], axis=1) for d in part]) for part in ([together], apart)
    )
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def served_to_models(stream: StreamDefinition, rows: Rows) -> dict[tuple[str, int], np.ndarray]:
    """What a network is fed with on the edge, by key and time, where it forecasts."""
    watching = WatchingModel(1)
    step = ForecastStep(stream, lambda: {(stream.name, "batch"): watching})
    records = [
        Record(stream.name, str(key), int(t), dict(zip(stream.columns, nullable(values), strict=True)), 0.0, str(group))
        for key, t, values, group in zip(rows.keys, rows.t, rows.values, rows.groups, strict=True)
    ]
    forecasts = [message for caused in step.work(records) for _, message in caused if isinstance(message, Forecast)]
    inputs = Inputs.joined(watching.inputs)
    pairs = zip(forecasts, inputs.net, inputs.ready, strict=False)
    return {(forecast.key, forecast.t): net for forecast, net, ready in pairs if ready}


def nullable(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


@pytest.mark.parametrize("together", [True, False])
def test_neighbours_are_what_the_edge_knows_of_them(temperature, rows: Rows, together: bool):  # noqa: FBT001
    """Whether a group is forecast together or in turn; records of one time come in the order of their keys."""
    stream = temperature.model_copy(update={"group": "all", "together": together})
    part = rows.take(slice(0, 2000))
    part = part.take(np.lexsort((part.keys, part.t)))
    part = part.take(np.unique(np.stack([part.keys, part.t.astype(str)]), axis=1, return_index=True)[1])
    part = part.take(np.lexsort((part.keys, part.t)))
    part = Rows(part.keys, part.t, part.values, np.full(len(part), "all"))
    served = served_to_models(stream, part)
    built = building.build(part, stream)
    assert len(built) > 1500
    by_time: dict[int, list[np.ndarray]] = {}
    for (_, t), net in served.items():
        by_time.setdefault(t, []).append(net)
    # On the edge the first record of all sees nobody yet, which the usual offset forgets slowly.
    for t, net in zip(built.t.tolist(), built.inputs, strict=True):
        assert min(np.abs(net - other).max() for other in by_time[t]) < 0.05


def test_targets_are_of_their_time_and_not_of_the_next_record(temperature: StreamDefinition, rows: Rows):
    part = series(rows, "R80711", 400)
    kept = np.random.default_rng(4).random(400) < 0.8
    holey = part.take(kept)
    truths = dict(zip(part.t.tolist(), part.values[:, 0].tolist(), strict=True))
    present = set(holey.t.tolist())
    built = building.build(holey, temperature)
    assert len(built) > 200
    for t, target in zip(built.t.tolist(), built.targets[:, 0], strict=True):
        assert t + 600_000 in present
        assert target == np.float32(truths[t + 600_000] - truths[t])


def test_a_long_series_in_pieces_is_nearly_the_same_as_in_one(temperature, rows, monkeypatch):
    part = series(rows, "R80711", 9900)
    in_pieces = building.build(part, temperature)
    monkeypatch.setattr(pieces, "PIECE", 20_000)
    whole = building.build(part, temperature)
    np.testing.assert_array_equal(in_pieces.t, whole.t)
    np.testing.assert_array_equal(in_pieces.targets, whole.targets)
    np.testing.assert_allclose(in_pieces.inputs, whole.inputs, atol=0.2)


def test_rows_are_in_order_of_time_over_all_keys(temperature: StreamDefinition, rows: Rows):
    built = building.build(rows.take(slice(0, 2000)), temperature)
    assert (np.diff(built.t) >= 0).all()


def test_a_missing_truth_is_not_learned_from(temperature: StreamDefinition, rows: Rows):
    part = series(rows, "R80711", 300)
    part.values[200, 0] = np.nan
    built = building.build(part, temperature)
    assert part.t[199] not in built.t
    assert part.t[200] not in built.t
    assert np.isfinite(built.targets).all()


def test_nothing_gives_nothing(temperature: StreamDefinition, rows: Rows):
    assert len(building.build(rows.take(slice(0, 5)), temperature)) == 0


def test_of_what_does_not_fit_a_sample_is_learned_from(temperature: StreamDefinition, rows: Rows):
    part = rows.take(slice(0, 8000))
    whole = building.build(part, temperature)
    most = 1000
    sampled = building.build(part, temperature, most * whole.inputs.shape[1] * 4)
    assert whole.sampled_from is None
    assert sampled.sampled_from == np.isfinite(part.values[:, 0]).sum()
    assert len(sampled) == pytest.approx(most, rel=0.1)
    # Each of its rows is one of the whole's.
    in_whole = {row.tobytes() for row in whole.inputs}
    assert all(row.tobytes() in in_whole for row in sampled.inputs)
    assert (np.diff(sampled.t) >= 0).all()


def test_a_sample_holds_all_of_the_newest_and_some_of_every_time():
    t = np.random.default_rng(1).permutation(100_000)
    known = t % 3 > 0
    picked = building.sample(t, known, 5000, seed=0)
    assert not (picked & ~known).any()
    assert picked.sum() == pytest.approx(5000, rel=0.05)
    newest = np.sort(t[known])[-500:]
    assert np.isin(newest, t[picked]).all()
    by_time, _ = np.histogram(t[picked], bins=10, range=(0, 99_000))
    assert by_time == pytest.approx([450] * 10, rel=0.25)


def test_a_sample_is_the_same_each_time():
    t, known = np.arange(10_000), np.ones(10_000, np.bool_)
    np.testing.assert_array_equal(building.sample(t, known, 100, 7), building.sample(t, known, 100, 7))
    assert (building.sample(t, known, 100, 7) != building.sample(t, known, 100, 8)).any()


def test_pieces_that_come_group_by_group_are_those_that_come_at_once(temperature, rows, monkeypatch):
    part = rows.take(slice(0, 4000))
    at_once = building.build(part, temperature)
    monkeypatch.setattr(pieces, "AT_ONCE", 3)
    by_group = building.build(part, temperature)
    ours, theirs = (np.concatenate([d.inputs, d.targets], axis=1) for d in (at_once, by_group))
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_records_one_after_the_other_are_those_side_by_side(temperature, rows, monkeypatch):
    part = rows.take(slice(0, 12_000))
    monkeypatch.setattr(pieces, "PIECE", 1500)
    monkeypatch.setattr(pieces, "WARM_UP", 500)
    in_sequence = building.build(part, temperature)
    monkeypatch.setattr(building, "in_sequence", lambda _layout: False)
    side_by_side = building.build(part, temperature)
    ours, theirs = (np.concatenate([d.t[:, None], d.inputs, d.targets], axis=1) for d in (in_sequence, side_by_side))
    assert len(ours) > 11_000
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


HOURLY = parse("name: a\ntime: {column: when, period: 1h}\ntarget: y\nlags: 2\nhorizon: [1]\n", "a.yaml")


def peak_bytes(count: int, stream: StreamDefinition) -> int:
    """Of building from one series of so many records."""
    groups = np.full(count, "all" if stream.group else "")
    part = Rows(np.full(count, "k"), np.arange(count) * 3_600_000, np.zeros((count, 1)), groups)
    # What other tests have left is freed while it is not counted.
    gc.collect()
    tracemalloc.start()
    try:
        assert len(building.build(part, stream)) == count - 2
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("group", [None, "all"])
def test_a_series_twice_as_long_takes_twice_the_memory(monkeypatch, group: str | None):
    """However many pieces it falls into: no piece holds anything as long as the whole series."""
    monkeypatch.setattr(pieces, "PIECE", 64)
    monkeypatch.setattr(pieces, "WARM_UP", 16)
    monkeypatch.setattr(pieces, "AT_ONCE", 10_000)
    stream = HOURLY.model_copy(update={"group": group})
    once, twice = (peak_bytes(count, stream) for count in (20_000, 40_000))
    assert twice < 2.2 * once
