"""Inference and combiner, one behind the other without a bus: their own steps, as fast as they go."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from driftline.arrays import Floats, Ints
from driftline.bus.port import Envelope
from driftline.messages import Alert, Blend, Forecast, Record
from driftline.streams.definition import StreamDefinition
from driftline.worker.keyed import KeyedStep
from driftline_combiner.step import BlendStep
from driftline_inference.step import ForecastStep

BATCH = 500


class StreamSteps:
    """Both lanes of a stream, with the built-in members."""

    def __init__(self, stream: StreamDefinition) -> None:
        self.stream = stream
        self.forecasting = ForecastStep(stream, dict)
        self.blending = BlendStep(stream, lambda _stream, _kind: None)
        self._inference = KeyedStep({stream.name: self.forecasting}, lambda _stream, _reason: None)
        self._combiner = KeyedStep({stream.name: self.blending}, lambda _stream, _reason: None)

    def run(self, records: Sequence[Record]) -> tuple[list[Blend], list[Alert]]:
        """What both put out, in order."""
        blends: list[Blend] = []
        alerts: list[Alert] = []
        for start in range(0, len(records), BATCH):
            first = self._inference.step(_envelopes(records[start : start + BATCH]))
            alerts += [output.message for output in first if isinstance(output.message, Alert)]
            forecasts = [output.message for output in first if isinstance(output.message, Forecast)]
            second = self._combiner.step(_envelopes(forecasts))
            blends += [output.message for output in second if isinstance(output.message, Blend)]
            alerts += [output.message for output in second if isinstance(output.message, Alert)]
        return blends, alerts


def _envelopes(messages: Iterable[Record | Forecast]) -> list[Envelope[Any]]:
    return [Envelope(0, n, 0.0, message) for n, message in enumerate(messages)]


def records(stream: StreamDefinition, t: Ints, values: Floats, key: str = "k") -> list[Record]:
    """values: [n, columns], NaN missing."""
    rows = np.where(np.isnan(values), None, values.astype(object)).tolist()
    return [
        Record(stream.name, key, int(time), dict(zip(stream.columns, row, strict=True)), 0.0)
        for time, row in zip(t.tolist(), rows, strict=True)
    ]
