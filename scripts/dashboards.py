"""Writes the Grafana dashboards: `python scripts/dashboards.py` after every change here; a test compares."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "observe" / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
WIDTH, HEIGHT = 24, 8

Panel = tuple[str, str, str, list[tuple[str, str]]]
"""Title, unit, what it says, and queries with their legends."""

FLEET: list[Panel] = [
    ("Services", "short", "1 answers, 0 does not.", [("up", "{{job}}")]),
    ("Records a second", "short", "Taken in at ingest's door.", [("driftline:records:rate5m", "{{stream}}")]),
    (
        "From ingest's door, 99 %",
        "s",
        "Until inference, the combiner and the archive had worked a record off.",
        [("driftline:record_latency_seconds:p99_5m", "{{group}}")],
    ),
    (
        "From the sensor's time, 99 %",
        "s",
        "Until inference, the combiner (the blend) and the archive had worked a record off.",
        [("driftline:sensor_latency_seconds:p99_5m", "{{group}}")],
    ),
    (
        "By stage, 99 %",
        "s",
        "From a message's arrival on its topic to what was made of it.",
        [("driftline:stage_latency_seconds:p99_5m", "{{group}}")],
    ),
    ("Lag", "short", "Messages that a group has not worked off yet.", [("driftline:lag_messages:sum", "{{group}}")]),
    (
        "Refused and dropped",
        "short",
        "Rows refused at the door; readings beyond the range; messages seen before; messages nobody could use.",
        [
            ("sum by (stream) (rate(driftline_records_refused_total[5m]))", "refused {{stream}}"),
            ("sum by (stream) (rate(driftline_readings_beyond_range_total[5m]))", "beyond the range {{stream}}"),
            ("sum by (stream, reason) (rate(driftline_records_dropped_total[5m]))", "{{reason}} {{stream}}"),
            ("sum by (group) (rate(driftline_dead_letters_total[5m]))", "dead letters {{group}}"),
        ],
    ),
    (
        "Memory",
        "bytes",
        "Resident.",
        [("process_resident_memory_bytes", "{{job}}")],
    ),
    ("Processor", "percentunit", "Cores.", [("rate(process_cpu_seconds_total[5m])", "{{job}}")]),
    (
        "Object store, 95 %",
        "s",
        "Time of a call.",
        [
            (
                "histogram_quantile(0.95, sum by (le, job, operation) (rate(driftline_store_seconds_bucket[5m])))",
                "{{job}} {{operation}}",
            )
        ],
    ),
    (
        "Disk that is free",
        "percentunit",
        "Of the disk that a service works on.",
        [("driftline_disk_free_bytes / driftline_disk_size_bytes", "{{job}}")],
    ),
]
FLEET += [
    (
        "Edges",
        "short",
        "Live: heard within two of their intervals; late: within five; silent: not any more.",
        [("max by (state) (driftline_fleet_edges)", "{{state}}"), ("max(driftline_fleet_cloned_edges)", "cloned ids")],
    ),
    (
        "Newest versions",
        "short",
        "Edges that compare the newest version with the former, and those on which it is worse.",
        [
            ("max by (stream, member) (driftline_fleet_version_compared_edges)", "compared {{stream}} {{member}}"),
            ("max by (stream, member) (driftline_fleet_version_worse_edges)", "worse {{stream}} {{member}}"),
        ],
    ),
    (
        "Silence of edges",
        "s",
        "Since an edge was heard; the ten longest of those with a metric of their own.",
        [("topk(10, time() - max by (edge) (driftline_fleet_edge_last_heard_timestamp_seconds))", "{{edge}}")],
    ),
    (
        "Heartbeats not believed",
        "short",
        "In an hour, by reason.",
        [("sum by (reason) (increase(driftline_fleet_heartbeats_refused_total[1h]))", "{{reason}}")],
    ),
]
CHOSEN = 'stream="$stream", horizon="$horizon", key="all"'
STREAM: list[Panel] = [
    (
        "Skill",
        "percentunit",
        "1 - RMSE / RMSE(persistence), lately; below 0 is worse than repeating the last value.",
        [(f"driftline_skill_ratio{{{CHOSEN}}}", "{{row}}")],
    ),
    ("Error", "short", "RMSE lately, in the target's units.", [(f"driftline_rmse{{{CHOSEN}}}", "{{row}}")]),
    ("Weights", "percentunit", "Of what is published.", [(f"driftline_weight_ratio{{{CHOSEN}}}", "{{member}}")]),
    (
        "Coverage",
        "percentunit",
        "Truths in the 90 % interval; 0.9 is right.",
        [(f"driftline_coverage_ratio{{{CHOSEN}}}", "{{horizon}} ahead")],
    ),
    (
        "Guard",
        "short",
        "Series whose blend is persistence, since the strategy has fallen behind it.",
        [(f"driftline_guarded{{{CHOSEN}}}", "guarded"), ('driftline_series{stream="$stream"}', "series")],
    ),
    (
        "Alerts",
        "short",
        "Drift, anomalies, stuck sensors and the rest, in an hour.",
        [('sum by (kind) (increase(driftline_alerts_total{stream="$stream"}[1h]))', "{{kind}}")],
    ),
]
MODELS: list[Panel] = [
    ("Versions", "short", "What serves.", [("driftline_model_info", "{{stream}} {{member}} {{version}}")]),
    ("Age", "s", "Since a serving version was made.", [("driftline:model_age_seconds:max", "{{stream}} {{member}}")]),
    (
        "Swaps and refusals",
        "short",
        "In an hour.",
        [
            (
                "sum by (stream, member, reason) (increase(driftline_model_swaps_total[1h]))",
                "swapped {{stream}} {{member}}: {{reason}}",
            ),
            (
                "sum by (stream, member, reason) (increase(driftline_models_refused_total[1h]))",
                "refused {{stream}} {{member}}: {{reason}}",
            ),
        ],
    ),
    (
        "Training jobs",
        "short",
        "Ended in an hour, by outcome.",
        [("sum by (stream, outcome) (increase(driftline_training_jobs_total[1h]))", "{{stream}} {{outcome}}")],
    ),
    (
        "Time of a training",
        "s",
        "Half of them take less, and nine of ten.",
        [
            (
                f"histogram_quantile({share}, sum by (le, member) (rate(driftline_training_seconds_bucket[1h])))",
                f"{{{{member}}}} {share}",
            )
            for share in ("0.5", "0.9")
        ],
    ),
    (
        "Windows archived",
        "short",
        "In an hour.",
        [("sum by (stream, kind) (increase(driftline_windows_archived_total[1h]))", "{{stream}} {{kind}}")],
    ),
]

OF_SINKS = 'group=~"combiner-sink-.+"'
PASSED_ON = "driftline_stage_latency_seconds_count"
SINK_OF_GROUP = '"sink", "$1", "group", "combiner-sink-(.+)"'
SINKS: list[Panel] = [
    (
        "Failing",
        "short",
        "1 while the other side does not answer, or refuses what it is sent; the page says which, and what to do.",
        [("max by (sink) (driftline_sink_failing)", "{{sink}}")],
    ),
    (
        "Waiting",
        "short",
        "Messages that the other side does not have yet; they are sent once it is back.",
        [(f"label_replace(driftline:lag_messages:sum{{{OF_SINKS}}}, {SINK_OF_GROUP})", "{{sink}}")],
    ),
    (
        "Messages a second",
        "short",
        "Passed on.",
        [
            (
                f"label_replace(sum by (group) (rate({PASSED_ON}{{{OF_SINKS}}}[5m])), {SINK_OF_GROUP})",
                "{{sink}}",
            )
        ],
    ),
    (
        "Until it is there, 99 %",
        "s",
        "From a message's arrival on its topic until the other side has it.",
        [(f"label_replace(driftline:stage_latency_seconds:p99_5m{{{OF_SINKS}}}, {SINK_OF_GROUP})", "{{sink}}")],
    ),
    (
        "From the sensor's time, 99 %",
        "s",
        "Until the other side has the forecast.",
        [(f"label_replace(driftline:sensor_latency_seconds:p99_5m{{{OF_SINKS}}}, {SINK_OF_GROUP})", "{{sink}}")],
    ),
    (
        "Set aside",
        "short",
        "In an hour: messages that the other side will never take.",
        [("sum by (sink) (increase(driftline_sink_set_aside_total[1h]))", "{{sink}}")],
    ),
]


def panel(number: int, described: Panel, across: int) -> dict[str, Any]:
    title, unit, text, queries = described
    width = WIDTH // across
    grid = {"x": number % across * width, "y": number // across * HEIGHT, "w": width, "h": HEIGHT}
    stacked = {"stacking": {"mode": "normal"}, "fillOpacity": 60} if title == "Weights" else {}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "description": text,
        "datasource": SOURCE,
        "gridPos": grid,
        "fieldConfig": {"defaults": {"unit": unit, "custom": stacked}, "overrides": []},
        "targets": [
            {"refId": chr(65 + n), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for n, (expression, legend) in enumerate(queries)
        ],
    }


def variable(name: str, query: str) -> dict[str, Any]:
    return {"name": name, "type": "query", "datasource": SOURCE, "query": query, "refresh": 2, "sort": 3}


def dashboard(
    uid: str, title: str, panels: list[Panel], variables: list[dict[str, Any]], across: int
) -> dict[str, Any]:
    return {
        "uid": f"driftline-{uid}",
        "title": f"Driftline: {title}",
        "tags": ["driftline"],
        "schemaVersion": 41,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables},
        "panels": [panel(number, described, across) for number, described in enumerate(panels)],
    }


def dashboards() -> dict[str, str]:
    """By file name its content."""
    chosen = [
        variable("stream", "label_values(driftline_series, stream)"),
        variable("horizon", 'label_values(driftline_rmse{stream="$stream"}, horizon)'),
    ]
    boards = {
        "fleet.json": dashboard("fleet", "fleet", FLEET, [], 3),
        "stream.json": dashboard("stream", "one stream", STREAM, chosen, 2),
        "models.json": dashboard("models", "models and training", MODELS, [], 2),
        "sinks.json": dashboard("sinks", "sinks", SINKS, [], 2),
    }
    return {name: json.dumps(content, indent=1) + "\n" for name, content in boards.items()}


if __name__ == "__main__":
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text)
