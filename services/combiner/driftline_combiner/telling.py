"""What the combiner knows, as metrics: read from the lanes when Prometheus asks, so nothing is kept twice.

By stream, horizon and row; by key only when the settings say so, since keys may be thousands.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from driftline.metrics import TOLD
from driftline_combiner.ledger import PUBLISHED
from driftline_combiner.step import BlendLane

ALL = "all"
"""The label `key` of what is told of all series together."""


class LaneMetrics(Collector):
    """See above. by_key: whether every series is told of, too."""

    def __init__(self, lanes: Mapping[str, BlendLane], *, by_key: bool) -> None:
        self._lanes = lanes
        self._by_key = by_key

    def collect(self) -> Iterator[Metric]:
        series, *families = (told.family() for told in TOLD)
        for stream, lane in self._lanes.items():
            keys = lane.keys()
            series.add_metric([stream], len(keys))
            groups = [(ALL, keys), *((key, [key]) for key in keys if self._by_key)]
            for name, group in groups:
                if group:
                    self._tell(stream, name, lane, group, families)
        yield from (series, *families)

    def _tell(
        self, stream: str, name: str, lane: BlendLane, keys: Sequence[str], families: Sequence[GaugeMetricFamily]
    ) -> None:
        rmse, skill, weight, coverage, guarded = families
        standings = [lane.standing(key) for key in keys]
        for index, (h, scores, covered) in enumerate(
            zip(lane.stream.horizon, lane.scores(keys), lane.coverage(keys), strict=True)
        ):
            labels = [stream, name, str(h)]
            naive = scores["persistence"].recent_rmse
            for row, score in scores.items():
                if math.isfinite(score.recent_rmse):
                    rmse.add_metric([*labels, row], score.recent_rmse)
                    if naive > 0:
                        skill.add_metric([*labels, row], 1 - score.recent_rmse / naive)
            if math.isfinite(covered.recent):
                coverage.add_metric(labels, covered.recent)
            here = [standing[index] for standing in standings]
            guarded.add_metric(labels, sum(standing.guarded for standing in here))
            for member in here[0].weights[PUBLISHED]:
                mean = sum(standing.weights[PUBLISHED][member] for standing in here) / len(here)
                weight.add_metric([*labels, member], mean)
