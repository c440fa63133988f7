"""What the combiner knows, as metrics: read from the streams' steps when Prometheus asks, so nothing is kept twice.

By stream, horizon and row; by key only when the settings say so, and then of few, since keys may be thousands.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from driftline.members import MEMBERS
from driftline.metrics import EXPORTED
from driftline.scoring import skill
from driftline_combiner.scores import coverage, scores
from driftline_combiner.step import BlendStep
from driftline_combiner.totals import ScoreSums

ALL = "all"
"""The label `key` of the values over all series together."""
KEYS_EXPORTED = 100
"""Series of a stream with values of their own at most: the first in order."""


class ScoreExporter(Collector):
    """See above. by_key: whether KEYS_EXPORTED series have values of their own."""

    def __init__(self, stream_steps: Mapping[str, BlendStep], *, by_key: bool) -> None:
        self._stream_steps = stream_steps
        self._by_key = by_key

    def collect(self) -> Iterator[Metric]:
        series, *families = (exported.family() for exported in EXPORTED)
        for stream, stream_step in self._stream_steps.items():
            series.add_metric([stream], stream_step.series)
            if stream_step.series:
                _export([stream, ALL], stream_step.stream.horizon, stream_step.sums(), stream_step.series, families)
            for key in islice(stream_step.behind(None), KEYS_EXPORTED if self._by_key else 0):
                _export([stream, key], stream_step.stream.horizon, stream_step.sums(key), 1, families)
        yield from (series, *families)


def _export(
    whose: list[str], steps: Sequence[int], sums: ScoreSums, series: int, families: Sequence[GaugeMetricFamily]
) -> None:
    rmse, skills, weight, coverages, guarded, pinball = families
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
        if math.isfinite(covered.recent_pinball):
            pinball.add_metric(labels, covered.recent_pinball)
        guarded.add_metric(labels, held)
        for member, share in zip(MEMBERS, mean, strict=True):
            weight.add_metric([*labels, member], share)
