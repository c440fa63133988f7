"""Fits a speed model: goes on from its parent's weights with the newest rows."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from driftline.errors import RefusedModel
from driftline.streams.definition import StreamDefinition
from driftline_trainer.datasets.dataset import Dataset
from driftline_trainer.fitting.fitted_network import FittedNetwork
from driftline_trainer.fitting.networks import network_of
from driftline_trainer.fitting.replay import Replay
from driftline_trainer.fitting.scaling import Scaling
from driftline_trainer.fitting.schedule import units_again
from driftline_trainer.fitting.weights_file import unpack

TUNING_BATCH = 64


def fine_tune(stream: StreamDefinition, learned: Dataset, weights: bytes) -> FittedNetwork:
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
    return FittedNetwork(network, scaling, before.renewed(newest, random))


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
    import keras  # noqa: PLC0415 - see `driftline_trainer.fit.warm`

    definition = stream.model_dump_json(), units
    if definition not in _TUNED:
        network = network_of(stream, features, units)
        network.compile(keras.optimizers.Adam(stream.retraining.learning_rate), stream.training.loss)
        network.optimizer.build(network.trainable_variables)
        variables = [*network.optimizer.variables, *network.non_trainable_variables]
        _TUNED[definition] = _Tunable(network, [(variable, variable.numpy()) for variable in variables])
    tunable = _TUNED[definition]
    for variable, value in tunable.state:
        variable.assign(value)
    return tunable.network
