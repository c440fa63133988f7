"""Fits, exports and judges a model; runs in the trainer's child process, the only place that imports TensorFlow."""

import os
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from driftline.collector import uncollected
from driftline.errors import RefusedModel
from driftline.models.interpreter import Interpreter
from driftline.models.manifest import Golden, UsualValues
from driftline.scoring import rmse
from driftline.streams.definition import StreamDefinition
from driftline.streams.period import contradiction
from driftline.streams.rows import Rows
from driftline_trainer.datasets.building import build
from driftline_trainer.datasets.dataset import Dataset
from driftline_trainer.fitting.evaluation import scores_of, usual_values
from driftline_trainer.fitting.export import to_tflite
from driftline_trainer.fitting.fine_tuning import fine_tune
from driftline_trainer.fitting.fitted_network import FittedNetwork
from driftline_trainer.fitting.from_scratch import fit_from_scratch
from driftline_trainer.gate import GateReport, judge
from driftline_trainer.hold_out import split

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its order of sums varies from run to run

LEAST_ROWS = 100
LEAST_LEARNED = 50
TUNED_PARTS = 10
"""One in so many of the newest rows is not fine-tuned on but scored on."""
GOLDEN_ROWS = 8
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
    data = _data(task)
    fitted, held = _fit(task.stream, data) if task.weights is None else _tune(task.stream, data, task.weights)
    exported = to_tflite(fitted.network, fitted.scaling)
    interpreter = Interpreter(exported)
    forecast = interpreter.run(held.inputs)
    parity = fitted.parity(forecast, held.inputs)
    parent = Interpreter(task.parent).run(held.inputs) if task.parent is not None else None
    report = judge(task.stream.gate, task.stream.horizon, forecast, held.targets, parity=parity, parent=parent)
    metrics = {**scores_of(task.stream.horizon, forecast, held.targets), "parity": parity}
    if parent is not None:
        metrics["parent_rmse"] = rmse(parent, held.targets)
    golden = held.inputs[:GOLDEN_ROWS]
    return Trained(
        model=exported,
        weights=fitted.weights,
        golden=Golden(golden.tolist(), interpreter.run(golden).tolist()),
        report=report,
        metrics=metrics,
        rows=len(data),
        sampled_from=task.sampled_from or data.sampled_from,
        trained_from=int(data.t[0]),
        trained_to=int(data.t[-1]),
        usual=usual_values(task.rows, task.stream),
        libraries=_libraries(),
    )


def _data(task: Task) -> Dataset:
    """What is learned from and held out; a fine-tuning has the newest of it alone."""
    if task.weights is None and (problem := contradiction(task.rows.steps(), task.stream)) is not None:
        raise RefusedModel("rows", problem)
    data = build(task.rows, task.stream)
    if task.weights is not None:
        data = data.take(slice(-task.stream.retraining.records, None))
    if len(data) < LEAST_ROWS:
        raise RefusedModel("rows", f"found {len(data)} rows to learn from, expected at least {LEAST_ROWS}")
    return data


def _fit(stream: StreamDefinition, data: Dataset) -> tuple[FittedNetwork, Dataset]:
    """The network, and what was held out."""
    learned, held = split(data, stream)
    if len(learned) < LEAST_LEARNED:
        problem = f"found {len(learned)} rows whose truth comes before the hold-out"
        raise RefusedModel("rows", f"{problem}, expected at least {LEAST_LEARNED}")
    return fit_from_scratch(stream, learned, held), held


def _tune(stream: StreamDefinition, data: Dataset, weights: bytes) -> tuple[FittedNetwork, Dataset]:
    """The network, and what was held out."""
    cut = len(data) - max(1, len(data) // TUNED_PARTS)
    return fine_tune(stream, data.take(slice(0, cut)), weights), data.take(slice(cut, None))


def _libraries() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
