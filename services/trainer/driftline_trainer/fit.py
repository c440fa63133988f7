"""Fits networks and exports them; runs in the trainer's child process, the only place that imports TensorFlow.

A network learns scaled inputs and targets; what is exported scales inside, so the edge feeds raw features and gets
differences to the last value in the target's own units.
"""

import io
import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from driftline.definition import StreamDefinition
from driftline.errors import RefusedModel
from driftline.interpreter import Interpreter
from driftline.manifest import PARITY, Golden
from driftline.tables import Rows
from driftline_trainer.dataset import Batch, Dataset, build

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its order of sums varies from run to run

HOLD_OUT = 0.1
"""Share of the newest rows that is not learned from but scored on."""
LEAST_ROWS = 100
INPUT_CLIP = 6.0
TARGET_CLIP = 8.0
PATIENCE = 2
"""Epochs without progress on the hold-out after which training ends."""
TUNING_BATCH = 64
GOLDEN_ROWS = 8
PARITY_ROWS = 512
LSTM_UNITS = 40
LSTM_DENSE = 10
LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "ai-edge-litert", "numpy")


@dataclass(frozen=True)
class Task:
    """What to train. weights: the parent's weights.npz, to fine-tune from it; None trains from scratch."""

    stream: StreamDefinition
    rows: Rows
    weights: bytes | None = None


@dataclass(frozen=True)
class Trained:
    """A model that passed its checks, with all that the manifest says of it."""

    model: bytes
    weights: bytes
    golden: Golden
    metrics: dict[str, float]
    rows: int
    trained_from: int
    trained_to: int
    libraries: dict[str, str]


@dataclass(frozen=True)
class Scaling:
    """How raw inputs and targets become what the network sees. mean, deviation: [features]; target: [horizons]."""

    mean: Batch
    deviation: Batch
    target: Batch

    def inputs(self, raw: Batch) -> Batch:
        scaled: Batch = np.clip((raw - self.mean) / self.deviation, -INPUT_CLIP, INPUT_CLIP)
        return scaled

    def targets(self, raw: Batch) -> Batch:
        scaled: Batch = np.clip(raw / self.target, -TARGET_CLIP, TARGET_CLIP)
        return scaled


def warm() -> None:
    """Imports TensorFlow ahead of the first task."""
    import tensorflow as tf  # noqa: PLC0415 - seconds and gigabytes: only here

    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def train(task: Task) -> Trained:
    """Fits, exports and checks one model. Raises RefusedModel when there is too little to learn or a check fails."""
    data = build(task.rows, task.stream)
    if task.weights is not None:
        data = data.take(slice(-task.stream.retraining.records, None))
    if len(data) < LEAST_ROWS:
        raise RefusedModel("rows", f"found {len(data)} rows to learn from, expected at least {LEAST_ROWS}")
    cut = len(data) - max(1, int(len(data) * HOLD_OUT))
    learned, held = data.take(slice(0, cut)), data.take(slice(cut, None))
    if task.weights is None:
        network, scaling = _fit(task.stream, learned, held)
        parent = None
    else:
        network, scaling, parent = _tune(task.stream, learned, held, task.weights)
    exported = _export(network, scaling)
    golden, metrics = _check(exported, network, scaling, held)
    if parent is not None:
        metrics["parent_rmse"] = parent
    return Trained(
        model=exported,
        weights=_pack(network, scaling),
        golden=golden,
        metrics=metrics,
        rows=len(data),
        trained_from=int(data.t[0]),
        trained_to=int(data.t[-1]),
        libraries=_libraries(),
    )


def _network(stream: StreamDefinition, features: int) -> Any:
    """The untrained network over scaled inputs."""
    import keras  # noqa: PLC0415 - see warm

    inputs = keras.Input((features,))
    outputs = len(stream.horizon)
    if stream.training.architecture == "lstm":
        hidden = _lstm(keras, stream, inputs)
    else:
        hidden = inputs
        for units in stream.training.units:
            hidden = keras.layers.Dense(units, activation="relu")(hidden)
            hidden = keras.layers.Dropout(stream.training.dropout, seed=stream.training.seed)(hidden)
    # It begins as persistence: no difference at all.
    return keras.Model(inputs, keras.layers.Dense(outputs, kernel_initializer="zeros")(hidden))


def _lstm(keras: Any, stream: StreamDefinition, inputs: Any) -> Any:
    """The LSTM of arXiv 2205.04622 over the lag differences, oldest first; unrolled, so built-in operators do."""
    lags, columns = stream.lags - 1, len(stream.columns)
    sequence = keras.layers.Reshape((lags, columns))(inputs[:, : lags * columns])
    rest = inputs[:, lags * columns :]
    remembered = keras.layers.LSTM(LSTM_UNITS, unroll=True)(keras.ops.flip(sequence, axis=1))
    joined = keras.layers.Concatenate()([remembered, rest])
    return keras.layers.Dense(LSTM_DENSE, activation="relu")(joined)


def _fit(stream: StreamDefinition, learned: Dataset, held: Dataset) -> tuple[Any, Scaling]:
    import keras  # noqa: PLC0415 - see warm

    settings = stream.training
    keras.utils.set_random_seed(settings.seed)
    deviation = np.maximum(learned.inputs.std(axis=0), 1e-6)
    target = np.maximum(learned.targets.std(axis=0), 1e-6)
    scaling = Scaling(learned.inputs.mean(axis=0), deviation, target)
    network = _network(stream, learned.inputs.shape[1])
    steps = max(1, len(learned) // settings.batch_size) * settings.epochs
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    network.compile(keras.optimizers.Adam(rate), settings.loss, steps_per_execution=16)
    network.fit(
        scaling.inputs(learned.inputs),
        scaling.targets(learned.targets),
        validation_data=(scaling.inputs(held.inputs), scaling.targets(held.targets)),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        callbacks=[keras.callbacks.EarlyStopping(patience=PATIENCE, restore_best_weights=True)],
        verbose=0,
    )
    return network, scaling


def _tune(stream: StreamDefinition, learned: Dataset, held: Dataset, weights: bytes) -> tuple[Any, Scaling, float]:
    """Goes on from the parent; also gives the parent's RMSE on the hold-out."""
    import keras  # noqa: PLC0415 - see warm

    keras.utils.set_random_seed(stream.training.seed)
    network = _tuned_network(stream, learned.inputs.shape[1])
    arrays, scaling = _unpack(weights)
    network.set_weights(arrays)
    for variable in network.optimizer.variables:
        if variable is not network.optimizer.learning_rate:
            variable.assign(np.zeros(variable.shape))
    parent = _rmse(_predict(network, scaling, held.inputs), held.targets)
    network.fit(
        scaling.inputs(learned.inputs),
        scaling.targets(learned.targets),
        epochs=stream.retraining.epochs,
        batch_size=TUNING_BATCH,
        verbose=0,
    )
    return network, scaling, parent


_TUNED: dict[str, Any] = {}
"""By definition the network that is tuned again and again: compiling takes longer than tuning."""


def _tuned_network(stream: StreamDefinition, features: int) -> Any:
    import keras  # noqa: PLC0415 - see warm

    definition = stream.model_dump_json()
    if definition not in _TUNED:
        network = _network(stream, features)
        network.compile(keras.optimizers.Adam(stream.retraining.learning_rate), stream.training.loss)
        network.optimizer.build(network.trainable_variables)
        _TUNED[definition] = network
    return _TUNED[definition]


def _predict(network: Any, scaling: Scaling, inputs: Batch) -> Batch:
    predicted: Batch = np.asarray(network(scaling.inputs(inputs), training=False)) * scaling.target
    return predicted


def _export(network: Any, scaling: Scaling) -> bytes:
    """A .tflite with built-in operators only and any number of rows."""
    import keras  # noqa: PLC0415 - see warm
    import tensorflow as tf  # noqa: PLC0415 - see warm

    raw = keras.Input((len(scaling.mean),))
    scaled = keras.ops.clip((raw - scaling.mean) / scaling.deviation, -INPUT_CLIP, INPUT_CLIP)
    whole = keras.Model(raw, network(scaled) * scaling.target)
    archive = keras.export.ExportArchive()
    archive.track(whole)
    signature = [tf.TensorSpec((None, len(scaling.mean)), tf.float32)]
    archive.add_endpoint("serve", lambda x: whole(x, training=False), input_signature=signature)
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        return bytes(converter.convert())


def _check(exported: bytes, network: Any, scaling: Scaling, held: Dataset) -> tuple[Golden, dict[str, float]]:
    """Runs the export in the edge's own runtime. Raises RefusedModel when it isn't what was trained."""
    interpreter = Interpreter(exported)
    forecast = interpreter.run(held.inputs)
    if not np.isfinite(forecast).all():
        raise RefusedModel("finite", "found forecasts that are not finite on the hold-out")
    part = slice(-PARITY_ROWS, None)
    parity = float(np.abs(forecast[part] - _predict(network, scaling, held.inputs[part])).max() / scaling.target.max())
    if parity > PARITY:
        raise RefusedModel("parity", f"found a relative difference of {parity:g} to Keras, expected at most {PARITY:g}")
    rmse = _rmse(forecast, held.targets)
    naive = _rmse(np.zeros_like(held.targets), held.targets)
    rows = held.inputs[:GOLDEN_ROWS]
    golden = Golden(rows.tolist(), interpreter.run(rows).tolist())
    mae = float(np.abs(forecast - held.targets).mean())
    skill = 1 - rmse / naive if naive else 0.0
    return golden, {"rmse": rmse, "mae": mae, "skill": skill, "persistence_rmse": naive, "parity": parity}


def _rmse(forecast: Batch, truth: Batch) -> float:
    return float(np.sqrt(np.mean((forecast - truth) ** 2)))


def _pack(network: Any, scaling: Scaling) -> bytes:
    sink = io.BytesIO()
    arrays = {f"weight_{n:03d}": array for n, array in enumerate(network.get_weights())}
    np.savez(sink, mean=scaling.mean, deviation=scaling.deviation, target=scaling.target, **arrays)
    return sink.getvalue()


def _unpack(weights: bytes) -> tuple[list[Any], Scaling]:
    with np.load(io.BytesIO(weights), allow_pickle=False) as saved:
        arrays = [saved[name] for name in sorted(saved.files) if name.startswith("weight_")]
        return arrays, Scaling(saved["mean"], saved["deviation"], saved["target"])


def _libraries() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
