"""Models that were made elsewhere: for one row only, on raw lags, scaled outside; wrapped, signed and served."""

import warnings
from functools import partial

import msgspec
import numpy as np
import pytest

from driftline.bus.port import Envelope
from driftline.errors import RefusedModel
from driftline.messages import Forecast, Record
from driftline.models.interpreter import Interpreter
from driftline.models.manifest import ColumnScaling
from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import parse
from driftline.versions.importing import Meaning, import_model
from driftline.worker.keyed import KeyedStep
from driftline_inference.step import ForecastStep
from tests.inference.conftest import SIGNER, kept, new_models
from tests.models import Models
from tests.shared import Shared

LAGS, COLUMNS = 3, ("y", "x")
SCALING = ColumnScaling(offset=[10.0, 0.0], scale=[4.0, 2.0], target_offset=10.0, target_scale=4.0)
STREAM = parse(
    "name: a\ntime: {column: when, period: 1h}\nkey: id\ntarget: y\nfeatures: {x: level}\nlags: 4\nhorizon: [1]\n",
    "a.yaml",
)


class Foreign(msgspec.Struct):
    """A model with rows and the outputs that Keras gave for each by itself."""

    model: bytes
    rows: list[list[float]]
    outputs: list[float]


def make_while_lstm() -> Foreign:
    """As the research prototype's are: an LSTM of fixed shape, whose loop stays a WHILE."""
    import keras  # noqa: PLC0415 - only where TensorFlow is
    import tensorflow as tf  # noqa: PLC0415

    keras.utils.set_random_seed(0)
    inputs = keras.Input(batch_shape=(1, LAGS, len(COLUMNS)))
    hidden = keras.layers.Dense(4)(keras.layers.LSTM(8)(inputs))
    network = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    model = tf.lite.TFLiteConverter.from_keras_model(network).convert()
    rows = np.random.default_rng(1).normal(size=(20, LAGS, len(COLUMNS))).astype(np.float32)
    outputs = [float(network(row[None])[0, 0]) for row in rows]
    return Foreign(bytes(model), rows.reshape(len(rows), -1).tolist(), outputs)


@pytest.fixture(scope="module")
def foreign(shared: Shared) -> Foreign:
    return kept(shared, "while-lstm", make_while_lstm, Foreign)


def make_int8() -> Foreign:
    """Quantised at both ends, as microcontrollers want it."""
    import keras  # noqa: PLC0415 - see above
    import tensorflow as tf  # noqa: PLC0415

    inputs = keras.Input(batch_shape=(1, LAGS * len(COLUMNS)))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, keras.layers.Dense(1)(inputs)))
    rows = np.random.default_rng(1).normal(size=(20, LAGS * len(COLUMNS))).astype(np.float32)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in rows)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        # TensorFlow's, of statistics that it then takes from the rows.
        warnings.simplefilter("ignore", UserWarning)
        return Foreign(bytes(converter.convert()), [], [])


@pytest.mark.training
async def test_a_model_of_small_integers_is_refused_for_its_type(shared: Shared, store):
    foreign = kept(shared, "int8", make_int8, Foreign)
    with pytest.raises(RefusedModel) as refused:
        await import_model(store, STREAM, "batch", foreign.model, Meaning(), signer=SIGNER, now=0.0)
    sentence = "type: found an input of int8 and an output of int8, expected float32 for both"
    assert str(refused.value) == sentence


def test_a_model_for_one_row_gives_every_row_its_own_output(foreign: Foreign):
    interpreter = Interpreter(foreign.model)
    assert interpreter.input_shape == (1, LAGS, len(COLUMNS))
    found = interpreter.run(np.array(foreign.rows, dtype=np.float32))
    np.testing.assert_allclose(found[:, 0], foreign.outputs, atol=1e-5)
    assert len(set(foreign.outputs)) == len(foreign.outputs)
    assert interpreter.run(np.empty((0, LAGS * len(COLUMNS)), np.float32)).shape == (0, 1)


async def served(store, foreign: Foreign, meaning: Meaning) -> Models:
    await import_model(store, STREAM, "batch", foreign.model, meaning, signer=SIGNER, now=0.0)
    models = new_models(store, STREAM)
    await models.reconcile()
    assert models.registry.state("a", "batch").refused == {}
    return models


async def forecasts(models: Models, values: list[tuple[float | None, float | None]]) -> list[float]:
    """What the step forecasts by the model from records of these values of y and x."""
    step = KeyedStep({"a": ForecastStep(STREAM, models.serving)}, lambda _stream, _reason: None)
    records = [Record("a", "k", n * 3_600_000, {"y": y, "x": x}, 0.0) for n, (y, x) in enumerate(values)]
    outputs = step.step([Envelope(0, n, 0.0, record) for n, record in enumerate(records)])
    return [output.message.members["batch"][0] for output in outputs if isinstance(output.message, Forecast)]


@pytest.mark.parametrize("output", ["value", "difference"])
async def test_it_is_fed_with_scaled_lags_and_its_output_is_scaled_back(store, foreign: Foreign, output):
    meaning = Meaning(columns=COLUMNS, output=output, scaling=SCALING)
    models = await served(store, foreign, meaning)
    values = np.random.default_rng(2).normal(size=(9, 2)) * [4.0, 2.0] + [10.0, 0.0]
    found = await forecasts(models, [tuple(row) for row in values.tolist()])
    scaled = ((values - SCALING.offset) / SCALING.scale).astype(np.float32)
    interpreter = Interpreter(foreign.model)
    for n in range(4, len(values)):
        expected = float(interpreter.run(scaled[n - 2 : n + 1].reshape(1, -1))[0, 0]) * 4.0 + 10.0
        assert found[n] == pytest.approx(expected + (values[n, 0] if output == "difference" else 0.0), abs=1e-4)


async def test_it_sits_out_while_one_of_its_lags_is_missing(store, foreign: Foreign):
    models = await served(store, foreign, Meaning(columns=COLUMNS))
    values = [(float(n), None if n == 5 else 1.0) for n in range(12)]
    found = await forecasts(models, values)
    assert [n for n, value in enumerate(found) if np.isfinite(value)] == [3, 4, 8, 9, 10, 11]


@pytest.mark.parametrize(
    ("meaning", "reason"),
    [
        (Meaning(inputs="features"), "shape: found input width 6"),
        (Meaning(columns=("y", "z")), "shape: found columns"),
        (Meaning(columns=("y",)), "shape: found 6 lags of 1 columns, expected 1 to 4"),
        (Meaning(scaling=ColumnScaling([0.0], [1.0], 0.0, 1.0)), "manifest: found scaling"),
        (Meaning(scaling=ColumnScaling([0.0, 0.0], [1.0, 0.0], 0.0, 1.0)), "manifest: found scaling"),
    ],
)
async def test_what_no_edge_could_serve_is_not_imported(store, foreign: Foreign, meaning: Meaning, reason: str):
    with pytest.raises(RefusedModel) as refused:
        await import_model(store, STREAM, "batch", foreign.model, meaning, signer=SIGNER, now=0.0)
    assert str(refused.value).startswith(reason)
    assert [listed async for listed in store.list("models/")] == []


async def test_what_is_no_model_is_not_imported(store):
    with pytest.raises(RefusedModel, match="load"):
        await import_model(store, STREAM, "batch", b"nonsense", Meaning(), signer=SIGNER, now=0.0)


async def test_a_model_of_another_horizon_is_not_imported(store, foreign: Foreign, stream: StreamDefinition):
    both = partial(import_model, store, STREAM.model_copy(update={"horizon": (1, 2)}), "batch", foreign.model)
    with pytest.raises(RefusedModel, match="output width"):
        await both(Meaning(columns=COLUMNS), signer=SIGNER, now=0.0)
