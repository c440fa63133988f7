"""Models of a fleet's stream that are trained once: one that serves, one that is no worse, and one that learned from a
sensor whose values scatter."""

from dataclasses import dataclass

import numpy as np

from driftline.streams.definition import StreamDefinition
from driftline.streams.definition_files import load
from driftline.streams.rows import Rows
from driftline.streams.tables import read_file
from driftline_trainer.fit import Task
from tests.conftest import ROOT

SCATTER = 1.0
"""Degrees Celsius that its training data scatter by."""
LEARNED = 8000
"""Records of each series."""


@dataclass(frozen=True)
class FleetTasks:
    """What to train, and by series the records that come after what was learned from."""

    serving: Task
    good: Task
    bad: Task
    later: dict[str, Rows]


def fleet_stream() -> StreamDefinition:
    """Its stages last no longer than their evidence takes; no speed model is trained."""
    stream = load(ROOT / "streams" / "outdoor-temperature.yaml")
    return stream.model_copy(
        update={
            "window": 40,
            "training": stream.training.model_copy(update={"epochs": 3, "units": (16,), "networks": 1}),
            "retraining": stream.retraining.model_copy(update={"every": 1_000_000}),
            "rollout": stream.rollout.model_copy(update={"hold": 0, "evidence": 200}),
        }
    )


def tasks(stream: StreamDefinition) -> FleetTasks:
    by_key = read_file(ROOT / "data" / "la-haute-borne.parquet", stream).by_key()
    learned = _joined([rows.take(slice(0, LEARNED)) for rows in by_key.values()])
    again = stream.model_copy(update={"training": stream.training.model_copy(update={"seed": 1})})
    random = np.random.default_rng(0)
    values = learned.values.copy()
    values[:, stream.columns.index(stream.target)] += random.normal(scale=SCATTER, size=len(learned))
    return FleetTasks(
        serving=Task(stream, learned),
        good=Task(again, learned),
        bad=Task(stream, Rows(learned.keys, learned.t, values)),
        later={key: rows.take(slice(LEARNED, None)) for key, rows in by_key.items()},
    )


def _joined(parts: list[Rows]) -> Rows:
    return Rows(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([part.t for part in parts]),
        np.concatenate([part.values for part in parts]),
    )
