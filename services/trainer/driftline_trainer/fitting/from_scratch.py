"""Fits the networks of a batch model, which knows nothing yet."""

from collections.abc import Iterator

import numpy as np

from driftline.streams.definition import StreamDefinition
from driftline_trainer.datasets.dataset import Batch, Dataset
from driftline_trainer.fitting.calendar_use import unseen_inputs
from driftline_trainer.fitting.fitted_network import FittedNetwork
from driftline_trainer.fitting.networks import network_of
from driftline_trainer.fitting.replay import Replay
from driftline_trainer.fitting.scaling import Scaling
from driftline_trainer.fitting.schedule import AT_ONCE, Schedule


def fit_from_scratch(stream: StreamDefinition, learned: Dataset, held: Dataset) -> FittedNetwork:
    """Until the hold-out gets no better."""
    import keras  # noqa: PLC0415 - see `driftline_trainer.fit.warm`

    settings, schedule = stream.training, Schedule.of(stream.training, len(learned))
    keras.utils.set_random_seed(settings.seed)
    scaling = Scaling.of(learned, unseen_inputs(learned, held, stream))
    network = network_of(stream, learned.inputs.shape[1], schedule.units)
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
    return FittedNetwork(network, scaling, Replay.of(learned, scaling, sample))


def _batches(learned: Dataset, scaling: Scaling, size: int, seed: int) -> Iterator[tuple[Batch, Batch]]:
    """Without end, all rows in a new order for each pass; scaled one by one, since all at once take as much memory as
    the rows themselves."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(learned))
        for start in range(0, len(order) - size + 1, size):
            part = order[start : start + size]
            yield scaling.inputs(learned.inputs[part]), scaling.targets(learned.targets[part])[:, None, :]
