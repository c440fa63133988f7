"""Networks: exported, checked in the edge's own runtime, and the same when made again."""

from dataclasses import replace

import numpy as np
import pytest

from driftline.errors import RefusedModel
from driftline.models.interpreter import Interpreter, check_golden
from driftline.models.manifest import PARITY, Golden
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer.fit import Task, Trained, train
from driftline_trainer.fitting.replay import RENEWED, Replay
from driftline_trainer.fitting.weights_file import pack, unpack


@pytest.fixture(scope="module")
def trained(quick: StreamDefinition, rows: Rows) -> Trained:
    return train(Task(quick, rows.take(slice(0, 12_000))))


@pytest.fixture(scope="module")
def tuned(trained: Trained, quick: StreamDefinition, rows: Rows) -> Trained:
    """What was learned on goes on with newer rows, scored beside its parent."""
    return train(Task(quick, rows.take(slice(12_000, 16_000)), trained.weights, trained.model))


@pytest.mark.parametrize("architecture", ["mlp", "lstm", "gru"])
def test_every_architecture_runs_on_the_edge_and_several_horizons_at_once(quick, rows: Rows, architecture: str):
    training = quick.training.model_copy(update={"architecture": architecture, "epochs": 1})
    # What has a memory is unrolled: few lags, since the converter takes seconds for each.
    stream = quick.model_copy(update={"training": training, "horizon": (1, 6), "lags": 4})
    found = train(Task(stream, rows.take(slice(0, 3000))))
    interpreter = Interpreter(found.model)
    assert interpreter.outputs == 2
    assert found.metrics["parity"] < PARITY
    check_golden(interpreter, found.golden)


def test_it_beats_persistence_on_what_it_has_not_seen(trained: Trained):
    assert trained.metrics["skill"] > 0
    assert trained.metrics["rmse"] < trained.metrics["persistence_rmse"]


def test_it_says_what_was_usual_of_every_column(trained: Trained, quick: StreamDefinition, rows: Rows):
    values = rows.take(slice(0, 12_000)).values
    assert list(trained.usual) == list(quick.columns)
    for name, column in zip(quick.columns, values.T, strict=True):
        usual = trained.usual[name]
        assert (usual.level, usual.deviation) == pytest.approx((np.nanmean(column), np.nanstd(column)))
        assert usual.furthest == pytest.approx(np.nanmax(np.abs(column - usual.level)))


def test_made_again_it_is_the_same(trained: Trained, quick: StreamDefinition, rows: Rows):
    again = train(Task(quick, rows.take(slice(0, 12_000))))
    assert again.metrics == trained.metrics
    assert again.weights == trained.weights


def test_fine_tuning_goes_on_from_the_parent_and_is_scored_beside_it(trained: Trained, tuned: Trained, quick):
    assert tuned.metrics["parent_rmse"] != tuned.metrics["rmse"]
    assert tuned.metrics["parent_rmse"] == pytest.approx(tuned.metrics["rmse"], rel=0.2)
    assert tuned.weights != trained.weights
    assert tuned.rows == quick.retraining.records


def test_a_sample_of_what_was_learned_goes_along_and_is_renewed_a_tenth(trained: Trained, tuned: Trained, quick):
    before, after = (unpack(found.weights)[2] for found in (trained, tuned))
    assert before.inputs.shape == after.inputs.shape == (quick.retraining.replay, before.inputs.shape[1])
    new = (before.inputs != after.inputs).any(axis=1).mean()
    assert new == pytest.approx(RENEWED, abs=0.01)


def test_what_was_learned_before_is_learned_from_again(trained: Trained, quick: StreamDefinition, rows: Rows):
    task = Task(quick, rows.take(slice(12_000, 16_000)), trained.weights)
    arrays, scaling, replay = unpack(trained.weights)
    without = pack(arrays, scaling, Replay(replay.inputs[:0], replay.targets[:0]))
    found, forgetful = train(task), train(replace(task, weights=without))
    assert unpack(found.weights)[0][0].tolist() != unpack(forgetful.weights)[0][0].tolist()


def test_what_was_tuned_before_does_not_show(trained: Trained, quick: StreamDefinition, rows: Rows):
    task = Task(quick, rows.take(slice(12_000, 16_000)), trained.weights)
    first = train(task)
    other = train(Task(quick, rows.take(slice(16_000, 20_000)), trained.weights))
    assert other.weights != first.weights
    assert train(task).weights == first.weights


def test_the_parent_of_a_batch_model_is_scored_on_the_same_rows(trained: Trained, quick: StreamDefinition, rows: Rows):
    again = train(Task(quick, rows.take(slice(0, 12_000)), parent=trained.model))
    assert again.metrics["parent_rmse"] == again.metrics["rmse"]


def test_every_horizon_is_scored_for_itself(quick: StreamDefinition, rows: Rows):
    found = train(Task(quick.model_copy(update={"horizon": (1, 6)}), rows.take(slice(0, 3000)))).metrics
    assert found["rmse_1"] < found["rmse"] < found["rmse_6"]
    assert {"skill_1", "skill_6"} <= found.keys()


def test_weights_of_another_network_are_refused(trained: Trained, quick: StreamDefinition, rows: Rows):
    wider = quick.model_copy(update={"training": quick.training.model_copy(update={"units": (32,)})})
    with pytest.raises(RefusedModel, match=r"parent: found weights of the shapes .*expected .*train a batch model"):
        train(Task(wider, rows.take(slice(0, 2000)), trained.weights))


@pytest.mark.parametrize("broken", [b"", b"garbage", b"PK\x03\x04"])
def test_weights_that_can_not_be_read_are_refused(quick: StreamDefinition, rows: Rows, broken: bytes):
    with pytest.raises(RefusedModel, match="parent: found weights that can't be read"):
        train(Task(quick, rows.take(slice(0, 2000)), broken))


def test_a_network_that_learned_nonsense_is_refused(quick: StreamDefinition, rows: Rows):
    wild = quick.model_copy(update={"training": quick.training.model_copy(update={"learning_rate": 1e30})})
    with np.errstate(all="ignore"):
        report = train(Task(wild, rows.take(slice(0, 2000)))).report
    assert not report.passed
    assert report.reason.startswith(("forecasts that are not finite", "worse than persistence"))


def test_a_batch_is_the_same_as_its_rows_one_by_one(trained: Trained, rows: Rows):
    interpreter = Interpreter(trained.model)
    inputs = np.random.default_rng(0).normal(size=(300, interpreter.width)).astype(np.float32)
    single = np.concatenate([interpreter.run(row[None]) for row in inputs])
    np.testing.assert_allclose(interpreter.run(inputs), single, atol=1e-6)


def test_too_little_is_not_learned_from(quick: StreamDefinition, rows: Rows):
    with pytest.raises(RefusedModel, match=r"rows: found \d+ rows to learn from, expected at least 100"):
        train(Task(quick, rows.take(slice(0, 100))))


def test_garbage_is_refused_by_the_runtime():
    with pytest.raises(RefusedModel, match="load: the runtime can't load it"):
        Interpreter(b"garbage" * 100)


def test_other_outputs_than_the_golden_ones_are_refused(trained: Trained):
    wrong = Golden(trained.golden.inputs, [[value + 1 for value in row] for row in trained.golden.outputs])
    with pytest.raises(RefusedModel, match="golden: golden outputs differ by 1"):
        check_golden(Interpreter(trained.model), wrong)
