"""What the combiner knows, as metrics: read from the lanes when Prometheus asks, so nothing is kept twice.

By stream, horizon and row; by key only when the settings say so, and then of few, since keys may be thousands.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from driftline.members import MEMBERS
from driftline.metrics import TOLD
from driftline.scoring import skill
from driftline_combiner.scores import coverage, scores
from driftline_combiner.step import BlendLane
from driftline_combiner.totals import Sums

ALL = "all"
"""The label `key` of what is told of all series together."""
KEYS_TOLD = 100
"""Series of a stream that are told of by themselves at most: the first in order."""


class LaneMetrics(Collector):
    """See above. by_key: whether KEYS_TOLD series are told of, too."""

    def __init__(self, lanes: Mapping[str, BlendLane], *, by_key: bool) -> None:
        self._lanes = lanes
        self._by_key = by_key

    def collect(self) -> Iterator[Metric]:
        series, *families = (told.family() for told in TOLD)
        for stream, lane in self._lanes.items():
            series.add_metric([stream], lane.series)
            if lane.series:
                _tell([stream, ALL], lane.stream.horizon, lane.sums(), lane.series, families)
            for key in islice(lane.behind(None), KEYS_TOLD if self._by_key else 0):
                _tell([stream, key], lane.stream.horizon, lane.sums(key), 1, families)
        yield from (series, *families)


def _tell(
    whose: list[str], steps: Sequence[int], sums: Sums, series: int, families: Sequence[GaugeMetricFamily]
) -> None:
    rmse, skills, weight, coverages, guarded = families
    means = (sums.weights / series).tolist()
    for h, rows, covered, held, mean in zip(
        steps, scores(sums), coverage(sums), sums.guarded.tolist(), means, strict=True
    ):
        labels = [*whose, str(h)]
        naive = rows["persistence"].recent_rmse
        for row, score in rows.items():
            if math.isfinite(score.recent_rmse):
                rmse.add_metric([*labels, row], score.recent_rmse)
                if naive > 0:
                    skills.add_metric([*labels, row], skill(score.recent_rmse, naive))
        if math.isfinite(covered.recent):
            coverages.add_metric(labels, covered.recent)
        guarded.add_metric(labels, held)
        for member, share in zip(MEMBERS, mean, strict=True):
            weight.add_metric([*labels, member], share)
