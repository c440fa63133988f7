"""The fleet's gauges, worked out when Prometheus asks."""

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from driftline import metrics
from driftline_trainer.fleet.book import FleetBook
from driftline_trainer.fleet.states import counted


class FleetExporter(Collector):
    """by_edge: edges that have a series of their own; those whose ids sort first."""

    def __init__(self, book: FleetBook, clock: Callable[[], float], by_edge: int) -> None:
        self._book = book
        self._clock = clock
        self._by_edge = by_edge

    def describe(self) -> Iterator[Metric]:
        yield from (gauge.family() for gauge in metrics.FLEET)

    def collect(self) -> Iterator[Metric]:
        now = self._clock()
        yield self._edges(now)
        yield self._cloned(now)
        yield self._last_heard()
        yield from self._versions()

    def _edges(self, now: float) -> Metric:
        family, states = metrics.FLEET_EDGES.family(), self._book.look(now)
        # One that was cut off is silent for good, and nobody needs to look at it.
        kept = [state for edge, state in states.items() if not self._book[edge].is_revoked]
        for state, count in counted(kept).items():
            family.add_metric([state], count)
        return family

    def _cloned(self, now: float) -> Metric:
        family = metrics.FLEET_CLONED.family()
        family.add_metric([], sum(record.is_cloned(now) for record in self._book.since(-1)))
        return family

    def _last_heard(self) -> Metric:
        family = metrics.FLEET_HEARD.family()
        for number, record in enumerate(self._book.since(-1)):
            if number >= self._by_edge:
                break
            if record.last is not None:
                family.add_metric([record.edge], record.last)
        return family

    def _versions(self) -> Iterator[Metric]:
        compared, worse = metrics.FLEET_COMPARED.family(), metrics.FLEET_WORSE.family()
        for name in self._book.model_names():
            newest = self._book.newest_version(name)
            stream, _, member = name.rpartition(".")
            if newest is not None:
                compared.add_metric([stream, member], newest.compared)
                worse.add_metric([stream, member], newest.worse)
        yield from (compared, worse)
