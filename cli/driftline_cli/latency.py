"""Quantiles of the stages' latency, from the same histograms that Prometheus reads."""

from dataclasses import dataclass

from prometheus_client import CollectorRegistry


@dataclass(frozen=True)
class Stage:
    """A stage's latency in seconds."""

    name: str
    p50: float
    p99: float


def stages(registry: CollectorRegistry, metric: str = "driftline_stage_latency_seconds") -> list[Stage]:
    """One stage for each consumer group that has worked something off."""
    counts: dict[str, list[tuple[float, float]]] = {}
    for family in registry.collect():
        if family.name != metric:
            continue
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                bucket = (float(sample.labels["le"]), sample.value)
                counts.setdefault(sample.labels["group"], []).append(bucket)
    by_group = {name: sorted(buckets) for name, buckets in counts.items()}
    return [
        Stage(name, quantile(buckets, 0.5), quantile(buckets, 0.99))
        for name, buckets in by_group.items()
        if buckets[-1][1]
    ]


def quantile(buckets: list[tuple[float, float]], q: float) -> float:
    """As Prometheus' histogram_quantile: linear within the bucket. buckets: (upper bound, cumulative count)."""
    rank = q * buckets[-1][1]
    lower, below = 0.0, 0.0
    for upper, count in buckets:
        if count >= rank:
            inside = count - below
            return lower if upper == float("inf") else lower + (upper - lower) * (rank - below) / max(inside, 1e-12)
        lower, below = upper, count
    return lower
