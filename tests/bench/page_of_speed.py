"""docs/performance.md as `make bench` writes it, with every number as it was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.bench.measure import Latency, Usage

WHICH = ("p50", "p99")
CHAIN_BARS = {"throughput": 0.6, "p50": 2.0, "p99": 2.0}
EDGE_BARS = {"throughput": 0.5, "p50": 1.0, "p99": 1.5}
EDGE_RATES = (100.0, 500.0)
"""Records a second at which the edge has bars."""
EDGE_MEMORY = 200.0
WRITTEN = {"chain": 3000.0, "edge": 6000.0}
"""Bytes a record at most: of the chain in all topics, of the edge by the system's count."""


@dataclass(frozen=True)
class Measured:
    """One side. throughput: records a second, the median of the rounds; latencies: one a rate."""

    throughput: float
    latencies: Sequence[Latency]


@dataclass(frozen=True)
class Writes:
    """Bytes a record: by layer, in the archive, and all that the system counts for the processes."""

    layers: Mapping[str, float]
    archive: float
    system: float


@dataclass(frozen=True)
class Figures:
    """By side; used: by side and process."""

    measured: Mapping[str, Measured]
    used: Mapping[str, Mapping[str, Usage]]
    writes: Mapping[str, Writes]


INTRODUCTION = """\
# How fast it is

Written by `make bench`, in one run, everything on one machine, one side after the other:

- **chain**: ingest over HTTP, inference with all its members, the combiner with three strategies, as processes on
  Kafka; the archive at work, no trainer.
- **relay**: three bare aiokafka processes on the same Kafka that only forward messages of the same size.
- **Quix**: the same three hops by [Quix Streams](https://quix.io), each with one counter of state per key, and no
  model.
- **edge**: `driftline edge`, all in one process on the embedded bus, where acknowledged means on the disk.

In the latency rows each record of chain and edge is one HTTP request; at saturation a body holds 500. The sender of the
others speaks to Kafka directly. Blends of the chain are read from their topic, those of the edge over HTTP as
server-sent events, of some of its series.

{machine}; 100 series, {horizons}; a record is {sizes[0]}, a forecast {sizes[1]}, a blend {sizes[2]}
bytes; medians of three rounds of 20,000 records; latency without the first tenth of each run.

| | chain | relay | chain / relay | bar | Quix | edge | edge / relay | edge's bar |
|---|---|---|---|---|---|---|---|---|
"""
USED = """
## Processor and memory

| side | process | CPU seconds for all rounds | resident, MB | its own share, MB |
|---|---|---|---|---|
{rows}

Of the chain ingest, inference and combiner together have {chain:.0f} MB when shared memory is counted once. The edge
has {edge:.0f} MB (bar: at most {bar:.0f}).
"""
WRITING = """
## Bytes written

Per record, at one record of each series a second, while every state is written once:

| | chain | edge |
|---|---|---|
{rows}

The archive is that of full windows. The system counts the pages that a process has caused to be written, for the chain
those of the broker and the store, too: a page that is synced half full is written again when it is full.
"""


def render(figures: Figures, sizes: Sequence[int], machine: str, horizons: Sequence[int]) -> str:
    return (
        INTRODUCTION.format(machine=machine, sizes=sizes, horizons=_horizons(horizons))
        + "".join(_compared(figures.measured))
        + _used(figures.used)
        + _writing(figures.writes)
    )


def _horizons(horizons: Sequence[int]) -> str:
    steps = ", ".join(map(str, horizons))
    return f"horizons {steps}" if len(horizons) > 1 else f"horizon {steps}"


def _compared(measured: Mapping[str, Measured]) -> list[str]:
    full = {side: found.throughput for side, found in measured.items()}
    rows = [_row("records a second at saturation", full, ",.0f", "throughput", "at least", edge_has_bar=True)]
    for index, rate in enumerate(latency.rate for latency in measured["relay"].latencies):
        for which in WHICH:
            values = {side: getattr(found.latencies[index], which) * 1e3 for side, found in measured.items()}
            what = f"{which} at {rate:.0f}/s, sent to readable, ms"
            rows.append(_row(what, values, ".1f", which, "at most", edge_has_bar=rate in EDGE_RATES))
    return rows


def _row(what: str, values: Mapping[str, float], form: str, bar: str, side_of: str, *, edge_has_bar: bool) -> str:
    cells = [
        format(values["chain"], form),
        format(values["relay"], form),
        f"{values['chain'] / values['relay']:.2f}",
        f"{side_of} {CHAIN_BARS[bar]}",
        format(values["Quix"], form),
        format(values["edge"], form),
        f"{values['edge'] / values['relay']:.2f}",
        f"{side_of} {EDGE_BARS[bar]}" if edge_has_bar else "",
    ]
    return f"| {what} | {' | '.join(cells)} |\n"


def _used(used: Mapping[str, Mapping[str, Usage]]) -> str:
    rows = [
        f"| {side} | {name} | {usage.cpu:.1f} | {usage.rss:.0f} | {usage.pss:.0f} |"
        for side, by_process in used.items()
        for name, usage in by_process.items()
    ]
    chain = sum(used["chain"][name].pss for name in ("ingest", "inference", "combiner"))
    edge = sum(usage.pss for usage in used["edge"].values())
    return USED.format(rows="\n".join(rows), chain=chain, edge=edge, bar=EDGE_MEMORY)


def _writing(writes: Mapping[str, Writes]) -> str:
    chain, edge = writes["chain"], writes["edge"]
    names = list(dict.fromkeys([*chain.layers, *edge.layers]))
    rows = [(name, _bytes(chain.layers.get(name)), _bytes(edge.layers.get(name))) for name in names]
    rows += [
        (f"all topics (the chain's bar: {WRITTEN['chain']:,.0f})", _all(chain), _all(edge)),
        ("the archive", _bytes(chain.archive), _bytes(edge.archive)),
        (f"as the system counts (the edge's bar: {WRITTEN['edge']:,.0f})", _bytes(chain.system), _bytes(edge.system)),
    ]
    return WRITING.format(rows="\n".join(f"| {' | '.join(row)} |" for row in rows))


def _bytes(count: float | None) -> str:
    return "" if count is None else f"{count:,.0f}"


def _all(writes: Writes) -> str:
    return _bytes(sum(writes.layers.values()))
