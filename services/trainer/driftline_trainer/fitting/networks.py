"""The networks that are trained, untrained: made of a definition, over scaled inputs."""

from collections.abc import Sequence
from typing import Any

from driftline.streams.definition import StreamDefinition

RECURRENT = {"lstm": "LSTM", "gru": "GRU"}
"""Architectures with a memory, and the layers that they are made of."""
RECURRENT_UNITS = 40
RECURRENT_DENSE = 10


def network_of(stream: StreamDefinition, features: int, units: Sequence[int]) -> Any:
    """The untrained networks over scaled inputs, side by side: outputs [n, networks, horizons], to be averaged."""
    import keras  # noqa: PLC0415 - see `driftline_trainer.fit.warm`

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
