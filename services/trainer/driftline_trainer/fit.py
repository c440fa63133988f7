"""Fits networks and exports them; runs in the trainer's child process, the only place that imports TensorFlow.

A network learns scaled inputs and targets; what is exported scales inside, so the edge feeds raw features and gets
differences to the last value in the target's own units.
"""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import numpy as np

from driftline.arrays import Ints
from driftline.collector import uncollected
from driftline.errors import RefusedModel
from driftline.models.interpreter import Interpreter
from driftline.models.manifest import Golden, UsualValues
from driftline.scoring import rmse, skill
from driftline.streams.definition import StreamDefinition
from driftline.streams.period import contradiction
from driftline.streams.rows import Rows
from driftline_trainer.calendar_use import unseen_inputs
from driftline_trainer.dataset import Batch, Dataset, build
from driftline_trainer.fine_tuning import INPUT_CLIP, Replay, Scaling, pack, unpack
from driftline_trainer.gate import GateReport, judge
from driftline_trainer.hold_out import split
from driftline_trainer.schedule import AT_ONCE, Schedule, units_again

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its order of sums varies from run to run

LEAST_ROWS = 100
LEAST_LEARNED = 50
TUNED_PARTS = 10
"""One in so many of the newest rows is not fine-tuned on but scored on."""
MOMENTS_AT_ONCE = 65_536
"""Rows whose sums are formed at once."""
TUNING_BATCH = 64
GOLDEN_ROWS = 8
PARITY_ROWS = 512
RECURRENT = {"lstm": "LSTM", "gru": "GRU"}
"""Architectures with a memory, and the layers that they are made of."""
RECURRENT_UNITS = 40
RECURRENT_DENSE = 10
LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Task:
    """What to train. weights: the parent's weights.npz, to fine-tune from it; None trains from scratch.
    parent: the model.tflite that is replaced, to be scored on the same rows.
    sampled_from: records that there were, where the rows are a sample of them."""

    stream: StreamDefinition
    rows: Rows
    weights: bytes | None = None
    parent: bytes | None = None
    sampled_from: int | None = None


@dataclass(frozen=True)
class Trained:
    """A candidate with what the gate found, and all that the manifest says of it."""

    model: bytes
    weights: bytes
    golden: Golden
    report: GateReport
    metrics: dict[str, float]
    rows: int
    sampled_from: int | None
    trained_from: int
    trained_to: int
    libraries: dict[str, str]
    usual: dict[str, UsualValues] = field(default_factory=dict)


@cache
def warm(device: Literal["auto", "cpu"] = "cpu") -> None:
    """Imports TensorFlow ahead of the first task. device: `auto` lets it use a GPU where it finds one."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    with uncollected():
        import tensorflow as tf  # noqa: PLC0415 - seconds and gigabytes: only here

    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for gpu in tf.config.list_physical_devices("GPU"):
        # Otherwise the first process takes all of its memory.
        tf.config.experimental.set_memory_growth(gpu, enable=True)


def train(task: Task) -> Trained:
    """Fits, exports and judges one model. Raises RefusedModel when there is too little to learn from."""
    if task.weights is None and (problem := contradiction(task.rows.steps(), task.stream)) is not None:
        raise RefusedModel("rows", problem)
    data = build(task.rows, task.stream)
    if task.weights is not None:
        data = data.take(slice(-task.stream.retraining.records, None))
    if len(data) < LEAST_ROWS:
        raise RefusedModel("rows", f"found {len(data)} rows to learn from, expected at least {LEAST_ROWS}")
    if task.weights is None:
        learned, held = split(data, task.stream)
        if len(learned) < LEAST_LEARNED:
            problem = f"found {len(learned)} rows whose truth comes before the hold-out"
            raise RefusedModel("rows", f"{problem}, expected at least {LEAST_LEARNED}")
        network, scaling, replay = _fit(task.stream, learned, held)
    else:
        cut = len(data) - max(1, len(data) // TUNED_PARTS)
        learned, held = data.take(slice(0, cut)), data.take(slice(cut, None))
        network, scaling, replay = _tune(task.stream, learned, task.weights)
    exported = _export(network, scaling)
    interpreter = Interpreter(exported)
    forecast = interpreter.run(held.inputs)
    parity = _parity(forecast, network, scaling, held)
    parent = Interpreter(task.parent).run(held.inputs) if task.parent is not None else None
    report = judge(task.stream.gate, task.stream.horizon, forecast, held.targets, parity=parity, parent=parent)
    metrics = {**_score(task.stream, forecast, held), "parity": parity}
    if parent is not None:
        metrics["parent_rmse"] = rmse(parent, held.targets)
    golden = held.inputs[:GOLDEN_ROWS]
    return Trained(
        model=exported,
        weights=pack(network.get_weights(), scaling, replay),
        golden=Golden(golden.tolist(), interpreter.run(golden).tolist()),
        report=report,
        metrics=metrics,
        rows=len(data),
        sampled_from=task.sampled_from or data.sampled_from,
        trained_from=int(data.t[0]),
        trained_to=int(data.t[-1]),
        usual=_usual(task.rows, task.stream),
        libraries=_libraries(),
    )


def _usual(rows: Rows, stream: StreamDefinition) -> dict[str, UsualValues]:
    """By column; without those that had no value. One after the other: a long history lies in memory once."""
    usual: dict[str, UsualValues] = {}
    for index, name in enumerate(stream.columns):
        values = rows.values[:, index]
        values = values[np.isfinite(values)]
        if len(values):
            level = float(values.mean())
            distances = np.abs(values - level)
            deviation = float(np.sqrt(np.mean(distances**2)))
            usual[name] = UsualValues(level, deviation, float(distances.max()))
    return usual


def _network(stream: StreamDefinition, features: int, units: Sequence[int]) -> Any:
    """The untrained networks over scaled inputs, side by side: outputs [n, networks, horizons], to be averaged."""
    import keras  # noqa: PLC0415 - see warm

    inputs = keras.Input((features,))
    branches = [_branch(keras, stream, inputs, units, seed) for seed in range(stream.training.networks)]
    return keras.Model(inputs, keras.ops.stack(branches, axis=1))


def _branch(keras: Any, stream: StreamDefinition, inputs: Any, units: Sequence[int], seed: int) -> Any:
    """One of the networks that are averaged. They learn side by side: no loss, and no step of Adam, spans two."""
    if stream.training.architecture in RECURRENT:
        hidden = _recurrent(keras, stream, inputs)
    else:
        hidden = inputs
        for width in units:
            hidden = keras.layers.Dense(width, activation="relu")(hidden)
            hidden = keras.layers.Dropout(stream.training.dropout, seed=stream.training.seed + seed)(hidden)
    # It begins as persistence: no difference at all.
    return keras.layers.Dense(len(stream.horizon), kernel_initializer="zeros")(hidden)


def _recurrent(keras: Any, stream: StreamDefinition, inputs: Any) -> Any:
    """The LSTM of arXiv 2205.04622, or a GRU in its place, over the lag differences, oldest first; unrolled, so
    built-in operators do."""
    lags, columns = stream.lags - 1, len(stream.columns)
    sequence = keras.layers.Reshape((lags, columns))(inputs[:, : lags * columns])
    rest = inputs[:, lags * columns :]
    layer = getattr(keras.layers, RECURRENT[stream.training.architecture])
    remembered = layer(RECURRENT_UNITS, unroll=True)(keras.ops.flip(sequence, axis=1))
    joined = keras.layers.Concatenate()([remembered, rest])
    return keras.layers.Dense(RECURRENT_DENSE, activation="relu")(joined)


def _fit(stream: StreamDefinition, learned: Dataset, held: Dataset) -> tuple[Any, Scaling, Replay]:
    """From scratch, until the hold-out gets no better."""
    import keras  # noqa: PLC0415 - see warm

    settings, schedule = stream.training, Schedule.of(stream.training, len(learned))
    keras.utils.set_random_seed(settings.seed)
    unseen = unseen_inputs(learned, held, stream)
    scaling = _scaling(learned, unseen)
    network = _network(stream, learned.inputs.shape[1], schedule.units)
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, schedule.steps)
    network.compile(keras.optimizers.Adam(rate), settings.loss, steps_per_execution=AT_ONCE)
    # Ahead: TensorFlow compiles a step that makes variables twice, which takes seconds.
    network.optimizer.build(network.trainable_variables)
    network.fit(
        _batches(learned, scaling, schedule.batch, settings.seed),
        steps_per_epoch=schedule.stride,
        epochs=schedule.looks,
        shuffle=False,
        validation_data=(scaling.inputs(held.inputs), scaling.targets(held.targets)[:, None, :]),
        validation_batch_size=len(held),
        callbacks=[keras.callbacks.EarlyStopping(patience=settings.patience, restore_best_weights=True)],
        verbose=0,
    )
    sample = np.random.default_rng(settings.seed).permutation(len(learned))[: stream.retraining.replay]
    return network, scaling, Replay.of(learned, scaling, sample)


def _batches(learned: Dataset, scaling: Scaling, size: int, seed: int) -> Iterator[tuple[Batch, Batch]]:
    """Without end, all rows in a new order for each pass; scaled one by one, since all at once take as much memory as
    the rows themselves."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(learned))
        for start in range(0, len(order) - size + 1, size):
            part = order[start : start + size]
            yield scaling.inputs(learned.inputs[part]), scaling.targets(learned.targets[part])[:, None, :]


def _scaling(learned: Dataset, unseen: Ints) -> Scaling:
    """unseen: inputs that the network gets as 0, whatever they are."""
    mean, deviation = _moments(learned.inputs)
    deviation = np.maximum(deviation, 1e-6)
    deviation[unseen] = np.inf
    return Scaling(mean, deviation, np.maximum(_moments(learned.targets)[1], 1e-6))


def _moments(rows: Batch) -> tuple[Batch, Batch]:
    """Mean and deviation of each column, without a copy of all rows."""
    parts = [rows[start : start + MOMENTS_AT_ONCE] for start in range(0, len(rows), MOMENTS_AT_ONCE)]
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / len(rows)
    square = sum(((part - mean) ** 2).sum(axis=0) for part in parts) / len(rows)
    return mean.astype(np.float32), np.sqrt(square).astype(np.float32)


def _tune(stream: StreamDefinition, learned: Dataset, weights: bytes) -> tuple[Any, Scaling, Replay]:
    """Goes on from the parent, with the parent's scaling, on the newest rows and what it learned from before.

    Raises RefusedModel when it is another network's.
    """
    arrays, scaling, before = unpack(weights)
    network = _tuned_network(stream, learned.inputs.shape[1], units_again(stream.training, arrays[0].shape[-1]))
    _load(network, arrays, scaling)
    newest = Replay.of(learned, scaling, np.arange(len(learned)))
    inputs = np.concatenate([newest.inputs, before.inputs])
    targets = np.concatenate([newest.targets, before.targets])[:, None, :]
    random = np.random.default_rng(stream.training.seed)
    # Batch by batch: `fit` spends longer on its set-up than on a thousand rows.
    ends = time.monotonic() + stream.retraining.seconds
    for _ in range(stream.retraining.epochs):
        if time.monotonic() > ends:
            break
        order = random.permutation(len(inputs))
        for start in range(0, len(order), TUNING_BATCH):
            part = order[start : start + TUNING_BATCH]
            network.train_on_batch(inputs[part], targets[part])
    return network, scaling, before.renewed(newest, random)


def _load(network: Any, arrays: list[Any], scaling: Scaling) -> None:
    """Sets the parent's weights."""
    shapes = [array.shape for array in arrays]
    expected = [tuple(array.shape) for array in network.get_weights()]
    if shapes != expected or scaling.mean.shape != network.input_shape[1:]:
        raise RefusedModel("parent", f"found weights of the shapes {shapes}, expected {expected}: train a batch model")
    network.set_weights(arrays)


@dataclass(frozen=True)
class _Tunable:
    """A compiled network with the state that it was made in: moments, steps and dropout's seeds."""

    network: Any
    state: list[tuple[Any, Any]]


_TUNED: dict[tuple[str, tuple[int, ...]], _Tunable] = {}
"""By definition and units the network that is tuned again and again: compiling takes longer than tuning."""


def _tuned_network(stream: StreamDefinition, features: int, units: tuple[int, ...]) -> Any:
    """As if it were new: what it tuned before must not show."""
    import keras  # noqa: PLC0415 - see warm

    definition = stream.model_dump_json(), units
    if definition not in _TUNED:
        network = _network(stream, features, units)
        network.compile(keras.optimizers.Adam(stream.retraining.learning_rate), stream.training.loss)
        network.optimizer.build(network.trainable_variables)
        variables = [*network.optimizer.variables, *network.non_trainable_variables]
        _TUNED[definition] = _Tunable(network, [(variable, variable.numpy()) for variable in variables])
    tunable = _TUNED[definition]
    for variable, value in tunable.state:
        variable.assign(value)
    return tunable.network


def _predict(network: Any, scaling: Scaling, inputs: Batch) -> Batch:
    by_network = np.asarray(network(scaling.inputs(inputs), training=False))
    predicted: Batch = by_network.mean(axis=1) * scaling.target
    return predicted


def _export(network: Any, scaling: Scaling) -> bytes:
    """A .tflite with built-in operators only and any number of rows.

    The weights become constants of the function, so that no variable is left for the converter to freeze: from a
    function with variables it makes a model that fails, or gives NaN, without a word.
    """
    import tensorflow as tf  # noqa: PLC0415 - see warm

    trained = [[variable.numpy() for variable in network.trainable_variables]]
    trained += [[variable.numpy() for variable in network.non_trainable_variables]]

    def serve(raw: Any) -> Any:
        scaled = tf.clip_by_value((raw - scaling.mean) / scaling.deviation, -INPUT_CLIP, INPUT_CLIP)
        constants = [[tf.constant(array) for array in arrays] for arrays in trained]
        outputs, _ = network.stateless_call(*constants, scaled, training=False)
        return tf.reduce_mean(outputs, axis=1) * scaling.target

    signature = [tf.TensorSpec((None, len(scaling.mean)), tf.float32)]
    function = tf.function(serve, input_signature=signature, autograph=False).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())


def _parity(forecast: Batch, network: Any, scaling: Scaling, held: Dataset) -> float:
    """The largest difference of the export, run in the edge's own runtime, to Keras, relative to the target's scale."""
    part = slice(-PARITY_ROWS, None)
    return float(np.abs(forecast[part] - _predict(network, scaling, held.inputs[part])).max() / scaling.target.max())


def _score(stream: StreamDefinition, forecast: Batch, held: Dataset) -> dict[str, float]:
    """Errors and skill on the hold-out, over all horizons and for each."""
    naive = np.zeros_like(held.targets)
    error, persistence = rmse(forecast, held.targets), rmse(naive, held.targets)
    mae = float(np.abs(forecast - held.targets).mean())
    scores = {"rmse": error, "mae": mae, "skill": skill(error, persistence), "persistence_rmse": persistence}
    for column, h in enumerate(stream.horizon):
        horizon = slice(column, column + 1)
        scores[f"rmse_{h}"] = rmse(forecast[:, horizon], held.targets[:, horizon])
        scores[f"skill_{h}"] = skill(scores[f"rmse_{h}"], rmse(naive[:, horizon], held.targets[:, horizon]))
    return scores


def _libraries() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
