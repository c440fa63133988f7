"""What the manifest says of a model: its errors on the hold-out, and what was usual of each column. Pure."""

from collections.abc import Sequence

import numpy as np

from driftline.models.manifest import UsualValues
from driftline.scoring import rmse, skill
from driftline.streams.definition import StreamDefinition
from driftline.streams.rows import Rows
from driftline_trainer.datasets.dataset import Batch


def scores_of(horizon: Sequence[int], forecast: Batch, truth: Batch) -> dict[str, float]:
    """Errors and skill over all horizons and for each. forecast, truth: [n, horizons], on the hold-out."""
    naive = np.zeros_like(truth)
    error, persistence = rmse(forecast, truth), rmse(naive, truth)
    mae = float(np.abs(forecast - truth).mean())
    scores = {"rmse": error, "mae": mae, "skill": skill(error, persistence), "persistence_rmse": persistence}
    for column, h in enumerate(horizon):
        part = slice(column, column + 1)
        scores[f"rmse_{h}"] = rmse(forecast[:, part], truth[:, part])
        scores[f"skill_{h}"] = skill(scores[f"rmse_{h}"], rmse(naive[:, part], truth[:, part]))
    return scores


def usual_values(rows: Rows, stream: StreamDefinition) -> dict[str, UsualValues]:
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
