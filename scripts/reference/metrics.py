"""Every metric, from the catalogue and from what combiner and trainer work out when they are asked."""

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from driftline.metrics import Metrics
from driftline_combiner.exporter import ScoreExporter
from driftline_trainer.fleet.book import FleetBook
from driftline_trainer.fleet.exporter import FleetExporter
from scripts.reference.markdown import page, sentence, table

HEAD = ("Metric", "Type", "Labels", "Meaning")
SUFFIXES = {"counter": "_total"}
INTRODUCTION = """\
`GET /metrics` of every service, for Prometheus. Names end in their unit. `observe/prometheus/rules.yaml` has the
alerts made of them, explained in the [runbook](../runbook.md); `observe/grafana/` has dashboards ([how
to](../grafana.md))."""
COMBINER = """\
By stream, horizon and `key`, which is `all` for all series together; every series by itself only with
`DRIFTLINE_METRICS_BY_KEY=true`."""

TRAINER = """\
Of the [fleet](../fleet.md). `edge` is one of the first `DRIFTLINE_FLEET_METRICS` ids, in their order."""


def render() -> str:
    catalogue = Metrics().registry._collector_to_names  # noqa: SLF001 - labels can't be had in another way
    return page(
        "Metrics",
        INTRODUCTION,
        "## All services",
        table(HEAD, _rows(catalogue)),
        "## Combiner",
        COMBINER,
        table(HEAD, _rows([ScoreExporter({}, by_key=False)])),
        "## Trainer",
        TRAINER,
        table(HEAD, _rows([FleetExporter(FleetBook(1, 0.0), lambda: 0.0, 0)])),
    )


def _rows(collectors: Iterable[Collector]) -> list[tuple[str, str, str, str]]:
    return [_row(collector, family) for collector in collectors for family in _families(collector)]


def _families(collector: Collector) -> Iterable[Metric]:
    describe = getattr(collector, "describe", None)
    return (describe and list(describe())) or collector.collect()


def _row(collector: Collector, family: Metric) -> tuple[str, str, str, str]:
    labels = getattr(family, "_labelnames", ()) or getattr(collector, "_labelnames", ())
    name = f"`{family.name}{SUFFIXES.get(family.type, '')}`"
    return name, family.type, ", ".join(f"`{label}`" for label in labels), sentence(family.documentation)
