"""Which columns of a batch's records have shifted, and the alerts of gaps, runs and absurd values. Pure."""

from collections.abc import Sequence

import numpy as np

from driftline.messages import Alert, Record
from driftline.streams.definition import StreamDefinition
from driftline_inference.plausibility import scale_alerts
from driftline_inference.record_intake import ObservedBatch
from driftline_inference.sensor_health import health_alerts

Shifts = dict[str, tuple[float, float]]
"""By column how many usual deviations it has shifted, and how far."""


class DataQuality:
    """Of the levels among a stream's columns: an angle turns round."""

    def __init__(self, stream: StreamDefinition) -> None:
        self._names = stream.columns
        self._levels = [column for column, angle in enumerate(stream.angles) if not angle]

    def judge(self, records: Sequence[Record], observed: ObservedBatch) -> tuple[list[Shifts], list[list[Alert]]]:
        """Per record the columns that have shifted, and the alerts of gaps, runs and absurd values."""
        shifts: list[Shifts] = [{} for _ in records]
        alerts: list[list[Alert]] = [[] for _ in records]
        names, levels = self._names, self._levels
        for turn, condition, far in zip(observed.turns, observed.conditions, observed.distances, strict=True):
            for row, level in zip(*np.nonzero(condition.shift[:, levels]), strict=True):
                column = levels[level]
                size, moved = float(condition.shift[row, column]), float(condition.moved[row, column])
                shifts[turn.rows.start + row][names[column]] = (round(size, 3), float(f"{moved:.4g}"))
            for row in condition.alerting:
                index = turn.rows.start + row
                alerts[index] = health_alerts(names, levels, records[index], condition, row)
            for row in far.alerting:
                index = turn.rows.start + row
                alerts[index] += scale_alerts(names, levels, records[index], far, row)
        return shifts, alerts
