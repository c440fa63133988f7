"""The catalogue of metrics: every name, help and label in one place, the same in all services."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from driftline.batch_histogram import BatchHistogram

LATENCY_BUCKETS: Final = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0),
)
SENSOR_BUCKETS: Final = (*LATENCY_BUCKETS, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0)
"""A sensor may send what it measured much later."""
JOB_BUCKETS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True)
class ComputedGauge:
    """A gauge that is worked out when Prometheus asks."""

    name: str
    text: str
    labels: tuple[str, ...]

    def family(self) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"driftline_{self.name}", self.text, labels=self.labels)


class CollectedMetrics(Collector):
    """What was collected already."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


KEYED: Final = ("stream", "key", "horizon")
"""`key` is `all`; single ones are exported only where the settings say so, and few, since they may be thousands."""
SERIES: Final = ComputedGauge("series", "Series that are owned here.", ("stream",))
RMSE: Final = ComputedGauge("rmse", "RMSE over about the last 100 records, in the target's unit.", (*KEYED, "row"))
SKILL: Final = ComputedGauge(
    "skill_ratio", "1 - RMSE / RMSE(persistence) over about the last 100 records, as a share.", (*KEYED, "row")
)
WEIGHT: Final = ComputedGauge("weight_ratio", "Current weight, as a share.", (*KEYED, "member"))
COVERAGE: Final = ComputedGauge("coverage_ratio", "Share of the last 500 or so truths in the 90 % interval.", KEYED)
PINBALL: Final = ComputedGauge(
    "pinball_loss", "Mean pinball loss of the quantiles over the last 500 or so truths, in the target's unit.", KEYED
)
GUARDED: Final = ComputedGauge("guarded", "Series whose blend is persistence.", KEYED)
EXPORTED: Final = (SERIES, RMSE, SKILL, WEIGHT, COVERAGE, GUARDED, PINBALL)
FLEET_EDGES: Final = ComputedGauge(
    "fleet_edges", "Edges that are live, late or silent, without those that were revoked.", ("state",)
)
FLEET_CLONED: Final = ComputedGauge("fleet_cloned_edges", "Ids under which more than one device writes.", ())
FLEET_HEARD: Final = ComputedGauge(
    "fleet_edge_last_heard_timestamp_seconds", "When an edge was heard last, since the epoch.", ("edge",)
)
FLEET_COMPARED: Final = ComputedGauge(
    "fleet_version_compared_edges", "Edges that compare the newest version with the former.", ("stream", "member")
)
FLEET_WORSE: Final = ComputedGauge(
    "fleet_version_worse_edges", "Edges on which the newest version is worse than the former.", ("stream", "member")
)
FLEET: Final = (FLEET_EDGES, FLEET_CLONED, FLEET_HEARD, FLEET_COMPARED, FLEET_WORSE)


def from_zero(counter: Counter, *values: Iterable[str]) -> None:
    """Shows every combination of a counter's labels at once: one that appears with its first event has no increase."""
    for labels in product(*values):
        counter.labels(*labels)


class Metrics:
    """One service's metrics, on a registry of its own: two services in one process must not share one."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Under the names that every dashboard of processes knows.
        ProcessCollector(registry=self.registry)
        self._export_disk()
        self.connections = self._gauge("connections", "Connections that clients hold open.")
        self.connections_ended = self._counter(
            "connections_ended",
            "Connections that were ended: head, body or idle came too late, an answer was not read, it was full.",
            "reason",
        )
        self.streams = self._gauge("streams", "Streams that this service works on.")
        self.streams_refused = self._gauge("streams_refused", "Files of stream definitions that can't be used.")
        self.records = self._counter("records", "Records taken in.", "stream")
        self.last_record = self._gauge(
            "last_record_timestamp_seconds", "When a record was taken in last, since the epoch.", "stream"
        )
        self.stream_period = self._gauge("stream_period_seconds", "Time between two records of a series.", "stream")
        self.period_contradicted = self._gauge(
            "period_contradicted",
            "1 while most records are further apart or closer than the stream's period.",
            "stream",
        )
        self.futures = self._counter("futures", "Futures taken in at the door.", "stream")
        self.records_refused = self._counter("records_refused", "Records refused at the door.", "stream")
        self.readings_beyond_range = self._counter(
            "readings_beyond_range",
            "Readings of the target, taken in beyond the `range` of the definition; they count as its end.",
            "stream",
        )
        self.records_set_aside = self._counter(
            "records_set_aside",
            "Rows without a time set aside: retained or in a burst, so older than they look, or the clock is not set.",
            *("stream", "reason"),
        )
        self.fields_ignored = self._counter(
            "fields_ignored", "Fields in rows that the stream's definition does not name.", "stream"
        )
        self.keys_refused = self._counter(
            "keys_refused", "Records refused since their stream has as many keys as it may have.", "stream"
        )
        self.keys = self._gauge("keys", "Keys that ingest knows of.", "stream")
        self.keys_limit = self._gauge("keys_limit", "Keys that the stream may have.", "stream")
        self.requests_limited = self._counter(
            "requests_limited", "Requests refused at the door since their sender had sent more than it may."
        )
        self.requests_unauthorised = self._counter(
            "requests_unauthorised",
            "Requests refused for want of a role: no token, a wrong one, one of a lesser role, too many wrong ones.",
            "reason",
        )
        self.records_dropped = self._counter(
            "records_dropped",
            "Records dropped as already seen, and observations that came too late for their period of the grid.",
            *("stream", "reason"),
        )
        self.states_left_behind = self._counter(
            "states_left_behind",
            "Saved states that could not be taken up: their series began again.",
            "stream",
        )
        self.dead_letters = self._counter("dead_letters", "Messages that could not be used.", "group", "topic")
        self.messages_read = self._counter("messages_read", "Messages read from a topic.", "group", "topic")
        self.messages_sent = self._counter("messages_sent", "Messages put out and acknowledged.", "group")
        self.sessions_restarted = self._counter("sessions_restarted", "Times a worker joined its group again.", "group")
        self.messages_lost = self._counter(
            "messages_lost", "Messages that retention or compaction dropped before they were read.", "group", "topic"
        )
        self.messages_replayed = self._counter(
            "messages_replayed",
            "Answered messages read again after a crash, for states that were not written yet.",
            "group",
            "topic",
        )
        self.messages_unlearned = self._counter(
            "messages_unlearned",
            "Answered messages that retention dropped before all states that have learned from them were written.",
            "group",
            "topic",
        )
        self.messages_passed_over = self._counter(
            "messages_passed_over",
            "Times messages did not reach a worker although they are there; it restarts from its checkpoint.",
            "group",
            "topic",
        )
        self.topics_rewound = self._counter(
            "topics_rewound",
            "Times a topic ended before the saved position and was read from its beginning.",
            "group",
            "topic",
        )
        self.stage_latency = self._batch_histogram(
            "stage_latency_seconds", "From a message's arrival on the topic to its output.", LATENCY_BUCKETS, "group"
        )
        self.record_latency = self._batch_histogram(
            "record_latency_seconds", "From ingest's door to here.", LATENCY_BUCKETS, "group"
        )
        self.sensor_latency = self._batch_histogram(
            "sensor_latency_seconds", "From the time that the sensor gave to here.", SENSOR_BUCKETS, "group"
        )
        self.checkpoint_seconds = self._histogram(
            "checkpoint_seconds", "Time to write a checkpoint.", LATENCY_BUCKETS, "group"
        )
        self.model_info = self._gauge("model_info", "1 for the version that serves.", "stream", "member", "version")
        self.model_swaps = self._counter("model_swaps", "Models swapped in.", "stream", "member", "reason")
        self.models_refused = self._counter("models_refused", "Model versions refused.", "stream", "member", "reason")
        self.alerts = self._counter(
            "alerts",
            "Alerts: drift, negative-skill, anomaly, stuck, missing, scale, gap, rollback, lost; and identity.",
            *("stream", "kind"),
        )
        self.model_created = self._gauge(
            "model_created_seconds", "When the version that serves was made, since the epoch.", "stream", "member"
        )
        self.lag = self._gauge(
            "lag_messages", "Messages that the group has not worked off yet.", "group", "topic", "partition"
        )
        self.store_seconds = self._histogram(
            "store_seconds", "Time of a call to the object store.", LATENCY_BUCKETS, "operation", "outcome"
        )
        self.states_kept_at = self._gauge(
            "states_kept_timestamp_seconds", "When the store was last known to have the newest states, since the epoch."
        )
        self.states_kept_bytes = self._counter("states_kept_bytes", "Bytes of states that were left in the store.")
        self.sink_failing = self._gauge(
            "sink_failing", "1 while the other side of a sink does not answer, or refuses what it is sent.", "sink"
        )
        self.sink_set_aside = self._counter(
            "sink_set_aside", "Messages that the other side of a sink will never take.", "sink"
        )
        self._add_trainers()

    def _add_trainers(self) -> None:
        """What the trainer alone counts."""
        self.training_jobs = self._counter("training_jobs", "Training jobs ended.", "stream", "member", "outcome")
        self.files_set_aside = self._counter(
            "files_set_aside", "Windows and history files that can't be used.", "stream", "kind"
        )
        self.windows_small = self._gauge("windows_small", "Windows in the store that are in no day file yet.", "stream")
        self.windows_compacted = self._counter("windows_compacted", "Windows taken into day files.", "stream")
        self.day_files = self._counter(
            "day_files", "Day files: written, full (a further one was started), removed by age.", "stream", "outcome"
        )
        self.windows_foreign = self._gauge(
            "windows_foreign", "Objects among the windows that no archive named.", "stream"
        )
        self.fleet_heartbeats_refused = self._counter(
            "fleet_heartbeats_refused", "Heartbeats of edges that were not believed.", "reason"
        )
        self.training_seconds = self._histogram(
            "training_seconds", "Time of a training job.", JOB_BUCKETS, "stream", "member"
        )
        self.rollout_stage = self._gauge(
            "rollout_stage", "Stage of the roll-out that runs, counted from 1; 0 without one.", "stream", "member"
        )
        self.rollout_paused = self._gauge(
            "rollout_paused", "1 while the roll-out that runs moves forward by hand alone.", "stream", "member"
        )
        self.rollout_undecided = self._gauge(
            "rollout_undecided",
            "1 while the edges have nothing more to compare, so that a person has to advance or abort the roll-out.",
            *("stream", "member"),
        )
        self.rollouts_ended = self._counter(
            "rollouts_ended",
            "Roll-outs that ended: done, stopped (worse), aborted (by hand), superseded (by a newer version).",
            *("stream", "member", "outcome"),
        )
        self._add_archive()

    def _export_disk(self) -> None:
        disk = self._gauge("disk_free_bytes", "Free space on the disk that this service works on.")
        disk.set_function(lambda: shutil.disk_usage(Path.cwd()).free)
        disk = self._gauge("disk_size_bytes", "Size of the disk that this service works on.")
        disk.set_function(lambda: shutil.disk_usage(Path.cwd()).total)

    def _add_archive(self) -> None:
        """What is archived, what waits for the store, and which edge that is."""
        self.windows_archived = self._counter("windows_archived", "Windows written to the store.", "stream", "kind")
        self.windows_left_out = self._counter(
            "windows_left_out",
            "Windows not written to the store: repeated (it has one of that name), never (it will never take it).",
            *("stream", "kind", "reason"),
        )
        self.edge_info = self._gauge("edge_info", "1 for the edge that this is.", "edge", "name")
        self.backlog_windows = self._gauge("backlog_windows", "Windows on this disk that wait for the store.")
        self.backlog_bytes = self._gauge("backlog_bytes", "Bytes of the windows that wait for the store.")
        self.rows_lost = self._counter(
            "rows_lost", "Rows of windows that had to be dropped before they reached the store.", "stream", "kind"
        )

    def export_streams(self, streams: Callable[[], int], refused: Callable[[], int]) -> None:
        """Reads the two gauges when Prometheus asks."""
        self.streams.set_function(streams)
        self.streams_refused.set_function(refused)

    def export_keys(self, stream: str, limit: int, keys: Callable[[], int]) -> None:
        """Reads the number of keys when Prometheus asks."""
        self.keys_limit.labels(stream).set(limit)
        self.keys.labels(stream).set_function(keys)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"driftline_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"driftline_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"driftline_{name}", text, labels, registry=self.registry, buckets=buckets)

    def _batch_histogram(self, name: str, text: str, buckets: tuple[float, ...], label: str) -> BatchHistogram:
        return BatchHistogram(self.registry, f"driftline_{name}", text, buckets, label)
