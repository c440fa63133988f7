"""A histogram that is fed with a whole batch at once: for what is measured of every message."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class BatchHistogram(Collector):
    """Like prometheus-client's histogram, whose `observe` costs more than the work that it measures: several locks for
    each value. This one counts values in one loop of the event loop's thread, and has no lock.

    buckets: upper bounds in seconds, ascending.
    """

    def __init__(self, registry: CollectorRegistry, name: str, text: str, buckets: Sequence[float], label: str) -> None:
        self._name, self._text, self._label = name, text, label
        self._bounds = (*buckets, float("inf"))
        self._children: dict[str, BucketCounts] = {}
        registry.register(self)

    def labels(self, value: str) -> "BucketCounts":
        return self._children.setdefault(value, BucketCounts(self._bounds))

    def describe(self) -> Iterator[HistogramMetricFamily]:
        yield self._family()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        family = self._family()
        for value, child in self._children.items():
            family.add_metric([value], child.cumulative(), child.sum)
        yield family

    def _family(self) -> HistogramMetricFamily:
        return HistogramMetricFamily(self._name, self._text, labels=[self._label])


class BucketCounts:
    """How many values fell into each bucket, and their sum in seconds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.sum = 0.0
        self._bounds = bounds
        self._counts = [0] * len(bounds)

    def observe(self, values: Iterable[float]) -> None:
        counts, bounds, total = self._counts, self._bounds, 0.0
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            total += value
        self.sum += total

    def cumulative(self) -> list[tuple[str, float]]:
        """By upper bound, as Prometheus writes it, how many values are at most that."""
        names = map(floatToGoString, self._bounds)
        return [(name, float(count)) for name, count in zip(names, accumulate(self._counts), strict=True)]
