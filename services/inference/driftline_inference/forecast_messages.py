"""The messages of forecasts, with no more digits than they have, and of truths that come by themselves. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from driftline.arrays import Floats, shortened
from driftline.members import PERSISTENCE, WEEKLY
from driftline.messages import Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline_inference.data_quality import Shifts
from driftline_inference.record_intake import ObservedBatch
from driftline_inference.serving import Model


def forecast_messages(
    stream: StreamDefinition,
    records: Sequence[Record],
    observed: ObservedBatch,
    on_grid: Sequence[int],
    members: Mapping[str, Floats],
    models: Mapping[str, Model],
    shifts: Sequence[Shifts],
) -> list[Forecast]:
    """One for each of n records. on_grid: the times of their ticks. members: [n, horizons] each. models: those that
    have forecast."""
    # Persistence stays what was observed, to the last digit: it is what others are compared with.
    others = [name for name in members if name != PERSISTENCE]
    short = shortened(np.stack([members[name] for name in others]), observed.inputs.scale[:, None])
    rows = {PERSISTENCE: members[PERSISTENCE].tolist(), **dict(zip(others, short.tolist(), strict=True))}
    horizon, target = list(stream.horizon), stream.target
    versions, skills = {name: model.version for name, model in models.items()}, _skills(observed, models)
    # Most young series have no week behind them: their messages are shorter without it.
    weekly = members.get(WEEKLY, np.empty((0, 1)))
    with_week = set(np.flatnonzero(np.isfinite(weekly).any(axis=1)).tolist())
    return [
        Forecast(
            stream=record.stream,
            key=record.key,
            t=record.t,
            observed=record.values[target],
            horizon=horizon,
            members={name: row[index] for name, row in rows.items() if name != WEEKLY or index in with_week},
            versions=versions,
            received=record.received,
            shifts=shifts[index],
            grid_t=on_grid[index],
            skills=skills[index],
            traceparent=record.traceparent,
        )
        for index, record in enumerate(records)
    ]


def _skills(observed: ObservedBatch, models: Mapping[str, Model]) -> list[dict[str, list[float]]]:
    """Per record what the models' hold-outs reported, where it is its turn to say so."""
    reported = {name: model.skills for name, model in models.items() if model.skills}
    reporting = np.concatenate([turn.reporting for turn in observed.turns]).tolist()
    return [reported if reports else {} for reports in reporting]


def truth_message(stream: StreamDefinition, record: Record, grid_t: int) -> Forecast:
    """What was observed, and no forecast. grid_t: the time of the record's tick."""
    return Forecast(
        stream=record.stream,
        key=record.key,
        t=record.t,
        observed=record.values[stream.target],
        horizon=list(stream.horizon),
        members={},
        versions={},
        received=record.received,
        traceparent=record.traceparent,
        grid_t=grid_t,
    )
